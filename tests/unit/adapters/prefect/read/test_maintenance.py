"""Maintenance windows: when they are open, in their own time zone, and what they match."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.adapters.prefect.read.maintenance import next_windows, open_windows
from monitoring.config.alert_settings import Maintenance

BERLIN = "Europe/Berlin"
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)


def window(cron: str, lasts: str, zone: str = "UTC", **fields: Any) -> Maintenance:
    match = fields.pop("match", {"pool": "k8s"})
    return Maintenance.model_validate({"match": match, "cron": cron, "lasts": lasts, "time_zone": zone, **fields})


@pytest.mark.parametrize(
    ("cron", "lasts", "zone", "now", "open_from"),
    [
        pytest.param("0 2 * * SAT", "4h", "UTC", "2026-03-14 01:59:59", None, id="a second before"),
        pytest.param("0 2 * * SAT", "4h", "UTC", "2026-03-14 02:00:00", "2026-03-14 02:00:00", id="as it begins"),
        pytest.param("0 2 * * SAT", "4h", "UTC", "2026-03-14 05:59:59", "2026-03-14 02:00:00", id="a second to go"),
        pytest.param("0 2 * * SAT", "4h", "UTC", "2026-03-14 06:00:00", None, id="as it ends"),
        pytest.param("0 2 * * SAT", "4h", "UTC", "2026-03-15 03:00:00", None, id="the day after"),
        pytest.param("0 22 * * *", "4h", "UTC", "2026-03-15 01:00:00", "2026-03-14 22:00:00", id="over midnight"),
        pytest.param("0 4 * * *", "1h", BERLIN, "2026-03-28 03:00:00", "2026-03-28 03:00:00", id="in winter"),
        pytest.param("0 4 * * *", "1h", BERLIN, "2026-03-29 02:00:00", "2026-03-29 02:00:00", id="in summer"),
        pytest.param("0 4 * * *", "1h", BERLIN, "2026-03-29 03:00:00", None, id="no longer by the winter's hour"),
        pytest.param("0 4 * * *", "1h", BERLIN, "2026-10-25 03:30:00", "2026-10-25 03:00:00", id="in winter again"),
        pytest.param("0 1 * * *", "4h", BERLIN, "2026-10-25 02:59:00", "2026-10-24 23:00:00", id="as long as it lasts"),
        pytest.param("0 0 1 * *", "40d", "UTC", "2026-03-31 00:00:00", "2026-03-01 00:00:00", id="one that never ends"),
        pytest.param("0 0 29 2 *", "1d", "UTC", "2028-02-29 12:00:00", "2028-02-29 00:00:00", id="a leap day"),
        pytest.param("0 0 30 2 *", "1d", "UTC", "2028-02-29 12:00:00", None, id="a day that never comes"),
        pytest.param("@daily", "1h", "UTC", "2026-03-14 00:30:00", "2026-03-14 00:00:00", id="a name for a line"),
    ],
)
def test_a_window_is_open_from_each_beginning_for_as_long_as_it_lasts(
    cron: str, lasts: str, zone: str, now: str, open_from: str | None
) -> None:
    windows = open_windows([window(cron, lasts, zone)], utc(now))
    assert [window.starts_at for window in windows] == ([utc(open_from)] if open_from else [])


def test_a_window_silences_what_it_matches_and_says_why() -> None:
    match = {"deployment": "etl/*", "tag": "gold", "check": "late", "severity": "warning", "owner": "data"}
    [silence] = open_windows([window("0 2 * * *", "4h", match=match, reason="backup")], utc("2026-03-14 03:00:00"))
    assert {name: getattr(silence, name) for name in match} == match
    assert (silence.pool, silence.id, silence.author, silence.reason) == (None, "", "maintenance", "backup")
    assert (silence.starts_at, silence.ends_at) == (utc("2026-03-14 02:00:00"), utc("2026-03-14 06:00:00"))


def test_each_window_counts_for_itself() -> None:
    windows = [window("0 2 * * *", "4h"), window("0 5 * * *", "1h"), window("0 3 * * *", "30m")]
    assert [window.starts_at.hour for window in open_windows(windows, utc("2026-03-14 05:30:00"))] == [2, 5]
    assert [window.starts_at.day for window in next_windows(windows, utc("2026-03-14 02:30:00"))] == [14, 14, 15]
    assert [window.starts_at.hour for window in next_windows(windows, utc("2026-03-14 02:30:00"))] == [3, 5, 2]
    assert next_windows([window("0 0 30 2 *", "1d")], utc("2026-03-14 02:30:00")) == ()


@given(
    # None of the hours that a clock skips or shows twice, as Prefect's arithmetic is its own business there.
    hour=st.integers(4, 23),
    hours=st.integers(1, 23),
    now=st.integers(0, 2 * 365 * 86_400).map(lambda second: BEGIN + timedelta(seconds=second)),
)
def test_a_daily_window_is_open_when_the_clock_on_the_wall_says_so(hour: int, hours: int, now: datetime) -> None:
    today = now.astimezone(ZoneInfo(BERLIN)).replace(hour=hour, minute=0, second=0, microsecond=0)
    begun = [(today - timedelta(days=back)).astimezone(timezone.utc) for back in (0, 1)]
    newest = max(start for start in begun if start <= now)
    expected = [newest] if now < newest + timedelta(hours=hours) else []
    found = open_windows([window(f"0 {hour} * * *", f"{hours}h", BERLIN)], now)
    assert [window.starts_at for window in found] == expected
