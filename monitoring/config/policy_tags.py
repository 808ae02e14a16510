"""The policy that teams set on their own deployments with tags: ``watchdog:max-run-time=2h``.

Tags are stronger than the file and its rules, and weaker than the environment and the flow's parameters. They can set
only the fields below, no routes and no secrets. A tag that cannot be read changes nothing, and is reported by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from monitoring.config.problems import nearest, problems, quoted, secret_like
from monitoring.config.settings import Config

PREFIX = "watchdog:"

#: The field of the policy that each key sets.
_KEYS = {
    "owner": "owner",
    "max-run-time": "slow.limit",
    "fresh-within": "stale.within",
    "severity": "severity",
    "expect": "expect",
}
_OFF = "off"
_CONTRADICTED = object()


class TagProblem(NamedTuple):
    """A tag that cannot be read, and why."""

    tag: str
    why: str


class TagPolicy(NamedTuple):
    """The policy in a deployment's tags: the value and tag of each field by dotted name, and the unreadable tags."""

    values: Mapping[str, tuple[Any, str]]
    problems: tuple[TagProblem, ...]


def is_policy_tag(tag: str) -> bool:
    """Whether a tag belongs to the watchdog."""
    return tag.strip().lower().startswith(PREFIX)


@lru_cache(maxsize=4096)
def read_tags(tags: tuple[str, ...]) -> TagPolicy:
    """Read the policy in a deployment's tags. If two tags contradict each other, neither counts."""
    values: dict[str, tuple[Any, str]] = {}
    wrong: list[TagProblem] = []
    for tag in dict.fromkeys(tag for tag in tags if is_policy_tag(tag)):
        try:
            field, value = _read(tag)
        except ValueError as error:
            wrong.append(TagProblem(tag, str(error)))
            continue
        if field in values and values[field][0] != value:
            wrong.append(TagProblem(tag, f"contradicts {shown(values[field][1])}; neither counts"))
            values[field] = (_CONTRADICTED, values[field][1])
            continue
        values[field] = (value, tag)
    kept = {field: found for field, found in values.items() if found[0] is not _CONTRADICTED}
    return TagPolicy(kept, tuple(wrong))


def shown(tag: str) -> str:
    """Quote a tag on one line, shortened. If it looks like a secret, show at most the key."""
    if not secret_like(tag):
        return quoted(tag)
    key = tag.partition("=")[0]
    return f"{PREFIX}... (not shown)" if secret_like(key) else f"{quoted(key + '=...')} (value not shown)"


def _read(tag: str) -> tuple[str, Any]:
    """Read one tag.

    Raises:
        ValueError: The tag cannot be read; the message states what was expected.
    """
    key, equals, text = tag.strip()[len(PREFIX) :].partition("=")
    key, text = key.strip().lower(), text.strip()
    if key == _OFF:
        if equals:
            raise ValueError(f"expected {PREFIX}{_OFF} without a value")
        return "watch", False
    if key not in _KEYS:
        near = nearest(key, (*_KEYS, _OFF))
        known = ", ".join(f"{PREFIX}{name}" for name in (_OFF, *_KEYS))
        raise ValueError(f"did you mean {PREFIX}{near}?" if near else f"expected one of {known}")
    if not text:
        raise ValueError(f"expected a value: {PREFIX}{key}=...")
    field = _KEYS[key]
    if secret_like(text):
        raise ValueError("looks like a secret; never put secrets into tags")
    section, dot, name = field.partition(".")
    given = {section: {name: text}} if dot else {section: text}
    try:
        config = Config.model_validate(given)
    except ValidationError as error:
        raise ValueError(next(problems(error)).words) from None
    value: Any = config
    for part in field.split("."):
        value = getattr(value, part)
    return field, value
