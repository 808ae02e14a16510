"""What settings are made of: sections, and types of values, each with the words for a value that does not fit."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from monitoring.text.durations import MAX_DURATION, Duration, format_duration

_POSITIVE = timedelta(seconds=1)
_MAX_PORT = 65_535
#: The lock is not renewed while a check waits for exporters.
_MAX_WAIT = timedelta(seconds=30)


def _at_least_one_second(span: timedelta) -> timedelta:
    if span < _POSITIVE:
        raise ValueError("expected a duration of at least 1s")
    if span > MAX_DURATION:
        raise ValueError(f"expected a duration of at most {format_duration(MAX_DURATION)}")
    return span


def _none_or_at_least_one_second(span: timedelta) -> timedelta:
    return span if span == timedelta(0) else _at_least_one_second(span)


def _short(wait: timedelta) -> timedelta:
    if wait > _MAX_WAIT:
        raise ValueError(f"expected at most {format_duration(_MAX_WAIT)}: every check may have to wait so long")
    return wait


def _no_truth(value: Any) -> Any:
    # pydantic reads true as 1: right for a flag in a form, wrong for `critical_after: yes`.
    if isinstance(value, bool):
        raise ValueError("expected a whole number")
    return value


def _form(pattern: str, expected: str) -> AfterValidator:
    """Let only printable text of a form pass; a group in the pattern is a port."""

    def check(text: str) -> str:
        found = re.fullmatch(pattern, text)
        if not found or not text.isprintable() or any(int(port or 0) > _MAX_PORT for port in found.groups()):
            raise ValueError(f"expected {expected}")
        return text

    return AfterValidator(check)


def _no_credentials(text: str) -> str:
    if "@" in text:
        raise ValueError("expected an address without a user and password: it is shown, and is no place for secrets")
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("expected an IANA time zone such as Europe/Berlin or UTC") from None
    return name


def _regex(pattern: str) -> str:
    # Only where somebody has patterns, since it takes 15 ms.
    import regex

    try:
        compiled = regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"expected a regular expression as Python's re and regex modules read it: {error}") from None
    if compiled.search(""):
        raise ValueError("expected a regular expression that does not match empty text: it would match everywhere")
    return pattern


_HOST_PORT = r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):(\d{1,5})"

Span = Annotated[Duration, AfterValidator(_at_least_one_second)]
Wait = Annotated[Span, AfterValidator(_short)]
Hold = Annotated[Duration, AfterValidator(_none_or_at_least_one_second)]
Count = Annotated[int, BeforeValidator(_no_truth)]
Mention = Annotated[
    str,
    _form(
        r"[UWS][A-Z0-9]{2,20}|here|channel|everyone",
        "the id of a Slack user (U...) or user group (S...), here, channel or everyone",
    ),
]
TargetName = Annotated[
    str,
    _form(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
        "1 to 63 letters, digits, dots, dashes and underscores, of which the first is a letter or digit",
    ),
]
RouteName = Annotated[
    str,
    _form(
        r"[a-z0-9][a-z0-9-]{0,38}",
        "1 to 39 lower case letters, digits and dashes, of which the first is a letter or digit",
    ),
]
SlackAddress = Annotated[str, _form(r"https?://.+", "an address such as https://slack.com/api/")]
TimeOfDay = Annotated[str, _form(r"(?:[01]\d|2[0-3]):[0-5]\d", 'a time of day in quotes, from "00:00" to "23:59"')]
TimeZoneName = Annotated[str, AfterValidator(_zone)]
Pattern = Annotated[str, AfterValidator(_regex)]
BlockName = Annotated[
    str,
    _form(r"[a-z0-9-]+", "the name of a Secret block (lower case, digits, dashes), never the secret itself"),
]
BlockReference = Annotated[
    str,
    _form(r"[a-z0-9-]+/[a-z0-9-]+", "type and name of a notification block, such as `ms-teams-webhook/data-team`"),
]
HostPort = Annotated[str, _form(_HOST_PORT, "a host and a port, such as 127.0.0.1:9464")]
WebAddress = Annotated[
    str,
    AfterValidator(_no_credentials),
    _form(
        r"https?://(?:\[[0-9A-Fa-f:]+\]|[^\s/?#:]+)(?::(\d{1,5}))?(?:/[^\s?#]*)?",
        "an address such as http://pushgateway:9091",
    ),
]
StatsdAddress = Annotated[
    str,
    _form(
        rf"unix:///\S+|{_HOST_PORT}", "a host and a port, such as 127.0.0.1:8125, or unix:///var/run/datadog/dsd.socket"
    ),
]
TextfilePath = Annotated[
    str,
    _form(r"/.+\.prom", "a path from / on that ends in .prom, such as /var/lib/node_exporter/watchdog.prom"),
]


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors: a misspelt one must not go unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckSettings(Section):
    """The settings that every check has."""

    enabled: bool = Field(True, description="Whether the check runs.")
    hold: Hold = Field(
        timedelta(0), description="How long a finding must last before it is an incident that sends notifications."
    )
