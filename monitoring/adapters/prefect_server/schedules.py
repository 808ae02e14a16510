"""When a deployment was due, by Prefect's own schedule arithmetic.

Other cron libraries disagree with it at the change to summer time, so the server's own classes are
used (prefect/server/schemas/schedules.py, ``get_dates``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import TypeAdapter, ValidationError

_SCHEDULE: TypeAdapter[CronSchedule | IntervalSchedule | RRuleSchedule] = TypeAdapter(
    IntervalSchedule | CronSchedule | RRuleSchedule
)
# Spans to look back over, shortest first: `get_dates` counts forward from a start and gives up after 1,000
# candidates, so the newest dates before a moment are found by starting just far enough before it.
_MOST_CANDIDATES = 1_000
_LOOK_BACK = tuple(timedelta(minutes=m) for m in (10, 120, 1_440, 11_520, 46_080, 207_360, 1_054_080))


def newest_due(schedules: Iterable[Mapping[str, Any]], *, until: datetime, count: int) -> tuple[datetime, ...]:
    """Return the newest due times of schedules taken together, ascending.

    Many deployments share a few schedules, so what was computed for one is remembered.

    Args:
        schedules: Schedules as the API's deployments show them (``interval``, ``cron`` or ``rrule`` ...).
        until: No due time is later.
        count: How many are wanted at most.

    Raises:
        ValueError: A schedule that this version of Prefect cannot read.
    """
    due = {date for row in schedules for date in _newest(json.dumps(row, sort_keys=True), until, count)}
    return tuple(sorted(due))[-count:]


@lru_cache(maxsize=4096)
def _newest(text: str, until: datetime, count: int) -> tuple[datetime, ...]:
    given = {key: value for key, value in json.loads(text).items() if value is not None}
    try:
        schedule = _SCHEDULE.validate_python(given)
    except ValidationError as error:
        raise ValueError(f"a schedule that Prefect's arithmetic does not read: {error.errors()[0]['msg']}") from None
    dates: list[datetime] = []
    for span in _LOOK_BACK:
        dates = _between(schedule, until - span, until)
        if len(dates) >= count:
            break
    return tuple(dates[-count:])


def _between(
    schedule: CronSchedule | IntervalSchedule | RRuleSchedule, start: datetime, end: datetime
) -> list[datetime]:
    dates: list[datetime] = []
    while start <= end:
        batch = asyncio.run(schedule.get_dates(n=_MOST_CANDIDATES, start=start, end=end))
        dates += [datetime.fromtimestamp(date.timestamp(), timezone.utc) for date in batch]
        if len(batch) < _MOST_CANDIDATES:
            break
        start = dates[-1] + timedelta(seconds=1)
    return [date for date in dates if date <= end]
