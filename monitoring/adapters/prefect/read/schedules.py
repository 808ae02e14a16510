"""Due times of schedules, past and future, by Prefect's own schedule arithmetic.

Other cron libraries disagree with it at the change to summer time, so the server's own classes are used
(prefect/server/schemas/schedules.py, ``get_dates``).
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import ValidationError, model_validator

Rows = Iterable[Mapping[str, Any]]

# `get_dates` gives up after this many candidates.
_MAX_CANDIDATES = 1_000
# Spans to look back over, shortest first: `get_dates` counts forward from a start, so the newest dates before a time
# are found by starting just far enough before it. The longest span holds two 29ths of February.
_LOOK_BACK = tuple(timedelta(hours=hours) for hours in (2, 8 * 24, 144 * 24, 3_000 * 24))
_MICROSECOND = timedelta(microseconds=1)
_A_DAY = 86_400
# RRULE frequencies by dateutil's numbers: DAILY, HOURLY, MINUTELY and SECONDLY, and the seconds of their steps.
_STEPS = {3: _A_DAY, 4: 3_600, 5: 60, 6: 1}
_MAX_STEPS = 250_000
# The maximum number of days of a month, if that is not 31.
_SHORT_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


class _Cron(CronSchedule):
    """A cron line, without Prefect's search through all time zones of the machine (6 ms for each)."""

    @model_validator(mode="after")
    def validate_timezone(self) -> _Cron:
        """Trust the server: an unknown time zone shows when dates are computed."""
        return self


class _Interval(IntervalSchedule):
    """An interval, without that search."""

    @model_validator(mode="after")
    def validate_timezone(self) -> _Interval:
        """Trust the server; without a time zone, Prefect takes an offset for UTC."""
        return self if self.timezone else self.model_copy(update={"timezone": "UTC"})


class _BoundedRRule(RRuleSchedule):
    """An RRULE schedule that is expanded only between two times.

    dateutil walks a rule from its very beginning, often years ago, and a rule without dates up to the year 9999.
    """

    since: datetime
    until: datetime

    def to_rrule(self) -> Any:
        """Prefect's rule, cut at ``until``, and started later if that changes none of the dates after ``since``.

        Raises:
            OverflowError: There would be too many steps to walk, or the rule has no dates.
        """
        rule: Any = super().to_rrule()
        if hasattr(rule, "_dtstart"):
            return self._bounded(rule)
        rule._rrule = [self._bounded(part) for part in rule._rrule]
        rule._exrule = [self._bounded(part) for part in rule._exrule]
        return rule

    def _bounded(self, rule: Any) -> Any:
        begin = rule._dtstart
        end = self.until.astimezone(begin.tzinfo)
        step = _STEPS.get(rule._freq, _A_DAY) * rule._interval
        if not _has_dates(rule) or (rule._bysetpos and step < _A_DAY):
            raise OverflowError("a rule whose first date would be searched up to the year 9999")
        if rule._freq in _STEPS and rule._count is None:
            # Whole days of whole steps keep the dates. A rule with a count must be counted from its start.
            stride = math.lcm(step, _A_DAY)
            spare = self.since.astimezone(begin.tzinfo) - begin - timedelta(days=1)
            begin += timedelta(seconds=stride * max(0, int(spare.total_seconds() // stride)))
        if min((end - begin).total_seconds() / step, rule._count or math.inf) > _MAX_STEPS:
            raise OverflowError("a rule with too many dates since its beginning")
        if rule._count is not None:
            return rule
        return rule.replace(dtstart=begin, until=min(end, rule._until) if rule._until else end)


def _has_dates(rule: Any) -> bool:
    """Whether a rule names days that exist, and not 30 February."""
    if not rule._bymonth or not rule._bymonthday:
        return True
    return any(day <= _SHORT_MONTHS.get(month, 31) for month in rule._bymonth for day in rule._bymonthday)


def newest_due(schedules: Rows, *, until: datetime, count: int) -> tuple[datetime, ...]:
    """Return the newest due times of several schedules together, ascending, none later than ``until``.

    Schedules are as the API shows them in deployments (``interval``, ``cron`` or ``rrule`` ...). Many deployments share
    a few schedules, so results are cached by schedule.

    Raises:
        ValueError: This version of Prefect cannot read a schedule.
    """
    due = {date for row in schedules for date in _newest(_text(row), until, count)}
    return tuple(sorted(due))[-count:]


def due_between(schedules: Rows, *, after: datetime, until: datetime, limit: int) -> tuple[datetime, ...]:
    """Return the first due times of several schedules together in ``(after, until]``, ascending, at most 1,000.

    Raises:
        ValueError: This version of Prefect cannot read a schedule.
    """
    due = {date for row in schedules for date in _first(_text(row), after, until, limit)}
    return tuple(sorted(due))[:limit]


def next_due(schedules: Rows, now: datetime, within: timedelta) -> datetime | None:
    """Return the first due time of several schedules together after now; None if there is none within that time.

    Raises:
        ValueError: This version of Prefect cannot read a schedule.
    """
    return next(iter(due_between(schedules, after=now, until=now + within, limit=1)), None)


def _text(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)


@lru_cache(maxsize=8192)
def _read(text: str) -> _Cron | _Interval | RRuleSchedule:
    given = {key: value for key, value in json.loads(text).items() if value is not None}
    kind = _Cron if "cron" in given else RRuleSchedule if "rrule" in given else _Interval
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise ValueError(f"a schedule that Prefect's arithmetic does not read: {error.errors()[0]['msg']}") from None


@lru_cache(maxsize=8192)
def _newest(text: str, until: datetime, count: int) -> tuple[datetime, ...]:
    schedule = _read(text)
    dates: tuple[datetime, ...] = ()
    for span in _look_back(schedule, count):
        dates = _all_between(schedule, until - span, until)
        if len(dates) >= count:
            break
    return dates[-count:]


def _look_back(schedule: _Cron | _Interval | RRuleSchedule, count: int) -> Sequence[timedelta]:
    # From Python 3.13 on, an interval may be of another type, with months.
    if isinstance(schedule, IntervalSchedule) and isinstance(schedule.interval, timedelta):
        return (min(_LOOK_BACK[-1], min(_LOOK_BACK[-1], schedule.interval) * (count + 1)),)
    return _LOOK_BACK


def _all_between(schedule: _Cron | _Interval | RRuleSchedule, after: datetime, until: datetime) -> tuple[datetime, ...]:
    dates: list[datetime] = []
    while True:
        batch = _dates(schedule, after, until, _MAX_CANDIDATES)
        dates += batch
        if len(batch) < _MAX_CANDIDATES:
            return tuple(dates)
        after = batch[-1]


@lru_cache(maxsize=8192)
def _first(text: str, after: datetime, until: datetime, limit: int) -> tuple[datetime, ...]:
    return tuple(_dates(_read(text), after, until, limit))


def _dates(schedule: _Cron | _Interval | RRuleSchedule, after: datetime, until: datetime, count: int) -> list[datetime]:
    """Compute dates with Prefect; if it gives up on a schedule (30 February), its scheduler has no dates either."""
    # Cron lines and rules have dates on whole seconds, and Prefect rounds a start between two oddly.
    start = after + _MICROSECOND if isinstance(schedule, _Interval) else after.replace(microsecond=0)
    if isinstance(schedule, RRuleSchedule):
        schedule = _BoundedRRule.model_construct(
            rrule=schedule.rrule, timezone=schedule.timezone, since=start, until=until
        )
    try:
        # At a change of the clocks, Prefect may begin with a date before the start.
        dates = asyncio.run(schedule.get_dates(n=count + 2, start=start, end=until))
    except (ValueError, OverflowError, TypeError, LookupError):
        return []
    found = (datetime.fromtimestamp(date.timestamp(), timezone.utc) for date in dates)
    return [date for date in found if after < date <= until][:count]
