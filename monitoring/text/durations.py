"""Durations as people write them: ``90s``, ``15m``, ``2h``, ``1d``, ``1w``, and sums such as ``1h30m``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
# The number of digits is bounded, because Python rejects very long numbers with an error of its own.
_PARTS = re.compile("".join(rf"(?:([0-9]{{1,12}}){unit})?" for unit in _SECONDS), re.IGNORECASE)
_SPACE_BETWEEN = re.compile(r"(?<=[a-z])\s+(?=[0-9])", re.IGNORECASE)
_SCHEMA_PATTERN = "^" + "".join(rf"(\d+{unit})?" for unit in _SECONDS) + "$"
EXPECTED = "a duration such as 90s, 15m, 2h, 1d or 1h30m, with its unit"
#: Longer durations are typing errors, and would leave the calendar when subtracted from a date.
MAX_DURATION = timedelta(days=36_500)


def parse_duration(text: str) -> timedelta:
    """Parse a duration; the units are w, d, h, m and s, largest first, each with a whole number.

    Raises:
        ValueError: The text is not such a duration.
    """
    parts = _PARTS.fullmatch(_SPACE_BETWEEN.sub("", text.strip()))
    if parts is None or not any(parts.groups()):
        raise ValueError(f"expected {EXPECTED}")
    seconds = sum(int(count or 0) * unit for count, unit in zip(parts.groups(), _SECONDS.values(), strict=True))
    if seconds > MAX_DURATION.total_seconds():
        raise ValueError(f"expected a duration of at most {format_duration(MAX_DURATION)}")
    return timedelta(seconds=seconds)


def format_duration(span: timedelta) -> str:
    """Format a duration so that ``parse_duration`` reads it back to the second: ``1d``, ``1h30m``, ``0s``."""
    return "".join(f"{count}{unit}" for unit, count in _split(span) if count) or "0s"


def humanized(span: timedelta) -> str:
    """Format a duration for people, in its two largest units: ``2 h 5 min``, ``3 d``, ``45 s``."""
    counts = _split(max(span, timedelta(0)))
    first = next((index for index, (_, count) in enumerate(counts) if count), len(counts) - 1)
    shown = counts[first : first + 2]
    return " ".join(f"{count} {'min' if unit == 'm' else unit}" for unit, count in shown if count) or "0 s"


def _split(span: timedelta) -> list[tuple[str, int]]:
    """The days, hours, minutes and seconds of a duration."""
    rest, counts = round(span.total_seconds()), []
    for unit in "dhms":
        count, rest = divmod(rest, _SECONDS[unit])
        counts.append((unit, count))
    return counts


def _validate(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f"expected {EXPECTED}")


#: A configured duration: a string with a unit. A bare number is rejected, because its unit would be a guess.
Duration = Annotated[
    timedelta,
    BeforeValidator(_validate),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 2, "pattern": _SCHEMA_PATTERN, "examples": ["15m", "2h", "1d"]}),
]
