from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from monitoring.text.durations import MAX_DURATION, Duration, format_duration, humanized, parse_duration

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0s", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2H", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("1w", timedelta(weeks=1)),
        ("1h30m", timedelta(minutes=90)),
        ("  1h  30m ", timedelta(minutes=90)),
        ("1w1d1h1m1s", timedelta(weeks=1, days=1, hours=1, minutes=1, seconds=1)),
        ("36500d", MAX_DURATION),
    ],
)
def test_reads(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "15",
        "m",
        "15 m",
        "1 5m",
        "5m1h",
        "1h1h",
        "-5m",
        "1.5h",
        "15min",
        "PT15M",
        "٣m",
        "15m\x00",
        "1" * 5000 + "s",
    ],
)
def test_refuses_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a duration such as 90s, .*, with its unit"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36501d", "999999999999w"])
def test_refuses_what_leaves_the_calendar(text: str) -> None:
    with pytest.raises(ValueError, match="at most 36500d"):
        parse_duration(text)


def test_refuses_long_rubbish_at_once() -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration("1h" + " " * 1_000_000 + "x")


@given(st.integers(0, int(MAX_DURATION.total_seconds())).map(lambda seconds: timedelta(seconds=seconds)))
def test_what_is_written_reads_back(span: timedelta) -> None:
    written = format_duration(span)

    assert parse_duration(written) == span
    assert DURATION.validate_json(DURATION.dump_json(span)) == span
    assert re.search(DURATION.json_schema()["pattern"], written)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(0), "0s"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=8), "8d"),
        (timedelta(seconds=86_401), "1d1s"),
        (timedelta(milliseconds=1_400), "1s"),
    ],
)
def test_writes(span: timedelta, expected: str) -> None:
    assert format_duration(span) == expected


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=45), "45 s"),
        (timedelta(hours=2, minutes=5, seconds=9), "2 h 5 min"),
        (timedelta(days=3, minutes=5), "3 d"),
        (timedelta(days=3, hours=1, minutes=5), "3 d 1 h"),
    ],
)
def test_speaks_in_two_units(span: timedelta, expected: str) -> None:
    assert humanized(span) == expected


@pytest.mark.parametrize("value", [15, 15.0, True, None, ["15m"], {"m": 15}])
def test_a_number_without_a_unit_is_no_configured_duration(value: Any) -> None:
    with pytest.raises(ValidationError, match="with its unit"):
        DURATION.validate_python(value)
