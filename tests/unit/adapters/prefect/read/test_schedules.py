"""Due times, by Prefect's own arithmetic: around the changes of the clock, and of schedules that never fire."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from monitoring.adapters.prefect.read.schedules import due_between, newest_due

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
Schedule = dict[str, Any]


def utc(*texts: str) -> tuple[datetime, ...]:
    return tuple(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc) for text in texts)


def cron(line: str, zone: str = "UTC") -> Schedule:
    return {"cron": line, "timezone": zone, "day_or": True}


def every(seconds: float, anchor: str, zone: str = "UTC") -> Schedule:
    return {"interval": seconds, "anchor_date": anchor, "timezone": zone}


def rule(text: str, zone: str = "UTC") -> Schedule:
    return {"rrule": text, "timezone": zone}


BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
HOUR, DAY = 3_600, 86_400
#: The clocks go forward in the night to 29 March in Berlin and to 8 March in New York, and back in the night to
#: 25 October in Berlin and to 1 November in New York.
CHANGES = [
    pytest.param(
        [cron("0 8 * * *", BERLIN)],
        "2026-03-30 12:00",
        ("2026-03-28 07:00", "2026-03-29 06:00", "2026-03-30 06:00"),
        id="cron, Berlin, spring",
    ),
    pytest.param(
        [cron("0 8 * * *", BERLIN)],
        "2026-10-26 12:00",
        ("2026-10-24 06:00", "2026-10-25 07:00", "2026-10-26 07:00"),
        id="cron, Berlin, autumn",
    ),
    pytest.param(
        [cron("30 9 * * *", NEW_YORK)],
        "2026-03-09 18:00",
        ("2026-03-07 14:30", "2026-03-08 13:30", "2026-03-09 13:30"),
        id="cron, New York, spring",
    ),
    pytest.param(
        [cron("30 9 * * *", NEW_YORK)],
        "2026-11-02 18:00",
        ("2026-10-31 13:30", "2026-11-01 14:30", "2026-11-02 14:30"),
        id="cron, New York, autumn",
    ),
    pytest.param(
        # The hour that comes twice: an hourly cron line fires in it once.
        [cron("0 * * * *", BERLIN)],
        "2026-10-25 02:30",
        ("2026-10-24 23:00", "2026-10-25 00:00", "2026-10-25 02:00"),
        id="hourly cron, Berlin, autumn",
    ),
    pytest.param(
        # The hour that is left out.
        [cron("0 * * * *", BERLIN)],
        "2026-03-29 02:30",
        ("2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00"),
        id="hourly cron, Berlin, spring",
    ),
    pytest.param(
        [every(HOUR, "2026-01-01T00:00:00Z", BERLIN)],
        "2026-03-29 02:30",
        ("2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00"),
        id="hourly interval, Berlin, spring",
    ),
    pytest.param(
        [every(DAY, "2026-01-01T07:00:00Z", BERLIN)],
        "2026-03-30 12:00",
        ("2026-03-28 07:00", "2026-03-29 06:00", "2026-03-30 06:00"),
        id="daily interval, Berlin, spring",
    ),
    pytest.param(
        [every(DAY, "2026-07-01T13:30:00Z", NEW_YORK)],
        "2026-11-02 18:00",
        ("2026-10-31 13:30", "2026-11-01 14:30", "2026-11-02 14:30"),
        id="daily interval, New York, autumn",
    ),
    pytest.param(
        [rule("DTSTART:20200101T080000\nRRULE:FREQ=DAILY", BERLIN)],
        "2026-03-30 12:00",
        ("2026-03-28 07:00", "2026-03-29 06:00", "2026-03-30 06:00"),
        id="rrule, Berlin, spring",
    ),
    pytest.param(
        [rule("DTSTART:20200101T093000\nRRULE:FREQ=WEEKLY;BYDAY=SA,SU,MO", NEW_YORK)],
        "2026-11-02 18:00",
        ("2026-10-31 13:30", "2026-11-01 14:30", "2026-11-02 14:30"),
        id="rrule, New York, autumn",
    ),
    pytest.param(
        [
            cron("0 8 * * *", BERLIN),
            every(DAY, "2026-01-01T07:00:00Z", "UTC"),
            rule("DTSTART:20200101T023000\nRRULE:FREQ=DAILY", NEW_YORK),
        ],
        "2026-03-29 12:00",
        # The first two are one fire as long as both clocks show the same hour.
        ("2026-03-28 07:00", "2026-03-29 06:00", "2026-03-29 06:30", "2026-03-29 07:00"),
        id="several at once",
    ),
]


@pytest.mark.parametrize(("schedules", "now", "fires"), CHANGES)
def test_scheduled_times_keep_to_their_own_clock(schedules: list[Schedule], now: str, fires: tuple[str, ...]) -> None:
    (until,) = utc(now)
    expected = utc(*fires)

    assert newest_due(schedules, until=until, count=len(fires)) == expected
    assert due_between(schedules, after=expected[0], until=until, limit=100) == expected[1:]
    assert due_between(schedules, after=expected[0], until=until, limit=1) == expected[1:2]


@pytest.mark.parametrize("schedule", [cron("0 * * * *"), every(HOUR, "2026-01-01T00:00:00Z"), rule("FREQ=HOURLY")])
def test_bounds_of_a_span(schedule: Schedule) -> None:
    second = timedelta(seconds=1)
    noon, before = NOW, NOW - timedelta(hours=1)

    assert newest_due([schedule], until=noon, count=2) == (before, noon)
    assert newest_due([schedule], until=noon - second, count=1) == (before,)
    assert due_between([schedule], after=before, until=noon, limit=10) == (noon,)
    assert due_between([schedule], after=before - second, until=noon - second, limit=10) == (before,)
    assert due_between([schedule], after=before, until=noon - second, limit=10) == ()
    assert due_between([schedule], after=noon, until=before, limit=10) == ()
    assert len(due_between([schedule], after=NOW - timedelta(days=300), until=NOW, limit=1_000)) == 1_000


LONG_AGO = timedelta(days=2_000)
MANY_DATES = ",".join(
    f"2026{month}{day:02d}T{hour:02d}0000Z" for month in (10, 11) for day in range(1, 29) for hour in range(6)
)


@pytest.mark.parametrize(
    ("schedule", "newest"),
    [
        pytest.param(cron("0 0 30 2 *"), (), id="cron, 30 February"),
        pytest.param(cron("0 0 29 2 *"), utc("2024-02-29 00:00"), id="cron, 29 February"),
        pytest.param(rule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), (), id="rrule, 30 February"),
        pytest.param(rule("FREQ=DAILY;BYMONTH=2,4;BYMONTHDAY=31"), (), id="rrule, 31 April"),
        pytest.param(rule("FREQ=SECONDLY;BYSETPOS=2"), (), id="rrule, never"),
        pytest.param(rule("FREQ=DAILY;COUNT=3"), utc("2020-01-03 00:00"), id="rrule, over"),
        pytest.param(rule("FREQ=DAILY;UNTIL=20200301T000000"), utc("2020-03-01 00:00"), id="rrule, ended"),
        pytest.param(rule("FREQ=MINUTELY"), (NOW,), id="rrule, 3.6 million dates"),
        pytest.param(rule("FREQ=SECONDLY;INTERVAL=7;COUNT=900000000"), (), id="rrule, too many to count"),
        pytest.param(rule(f"DTSTART:20261001T000000Z\nRDATE:{MANY_DATES}"), utc("2026-11-23 05:00"), id="rrule, dates"),
        pytest.param(every(0.001, "2020-01-01T00:00:00Z"), (NOW,), id="interval, a millisecond"),
        pytest.param(every(10.0**10, "2020-01-01T00:00:00Z"), utc("2020-01-01 00:00"), id="interval, 300 years"),
        pytest.param(every(DAY, "9000-01-01T12:00:00Z"), (NOW,), id="interval, anchored in the future"),
        pytest.param(cron("0 0 * * *", "Mars/Olympus"), (), id="no such time zone"),
    ],
)
def test_schedules_that_seldom_or_never_fire_take_no_time(schedule: Schedule, newest: tuple[datetime, ...]) -> None:
    started = time.process_time()

    assert newest_due([schedule], until=NOW, count=1) == newest
    assert len(due_between([schedule], after=NOW - LONG_AGO, until=NOW, limit=1_000)) <= 1_000
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "61 * * * *"},
        {"rrule": "often"},
        {"interval": 0},
        {"moon": "full"},
        {},
        cron("* * *"),
        {"cron": "0 * * * *", "moon": "full"},
    ],
)
def test_a_schedule_that_cannot_be_read_is_named_as_such(schedule: Schedule) -> None:
    with pytest.raises(ValueError, match="a schedule that Prefect's arithmetic does not read"):
        newest_due([schedule], until=NOW, count=1)


@pytest.mark.parametrize(
    "text", ["FREQ=MINUTELY;INTERVAL=7", "FREQ=HOURLY;INTERVAL=5", "FREQ=DAILY;INTERVAL=3", "FREQ=HOURLY;BYHOUR=3,9"]
)
@pytest.mark.parametrize("zone", ["UTC", BERLIN])
def test_a_rule_that_is_begun_later_has_the_same_dates(text: str, zone: str) -> None:
    """A counted rule is walked from its beginning, and has the same dates as long as the count lasts."""
    counted = rule(f"DTSTART:20260101T003000\nRRULE:{text};COUNT=200000", zone)
    endless = rule(f"DTSTART:20260101T003000\nRRULE:{text}", zone)
    span: dict[str, Any] = {"after": NOW - timedelta(days=40), "until": NOW, "limit": 1_000}

    assert due_between([endless], **span) == due_between([counted], **span) != ()
