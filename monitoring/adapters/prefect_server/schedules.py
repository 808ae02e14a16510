"""When a deployment was due, by Prefect's own schedule arithmetic.

Other cron libraries disagree with it at the change to summer time, so the server's own classes are
used (prefect/server/schemas/schedules.py, ``get_dates``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
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


def newest_due(
    schedules: Iterable[Mapping[str, Any]], *, until: datetime, since: datetime, count: int
) -> tuple[datetime, ...]:
    """Return the newest due times of schedules taken together, ascending.

    Args:
        schedules: Schedules as the API's deployments show them (``interval``, ``cron`` or ``rrule`` ...).
        until: No due time is later.
        since: No due time is earlier, such as the deployment's creation.
        count: How many are wanted at most.

    Raises:
        ValueError: A schedule that this version of Prefect cannot read.
    """
    due: set[datetime] = set()
    for row in schedules:
        try:
            schedule = _SCHEDULE.validate_python({key: value for key, value in row.items() if value is not None})
        except ValidationError as error:
            raise ValueError(
                f"a schedule that Prefect's arithmetic does not read: {error.errors()[0]['msg']}"
            ) from None
        due.update(_newest(schedule, until, since, count))
    return tuple(sorted(due))[-count:]


def _newest(
    schedule: CronSchedule | IntervalSchedule | RRuleSchedule, until: datetime, since: datetime, count: int
) -> list[datetime]:
    dates: list[datetime] = []
    for span in _LOOK_BACK:
        start = max(since, until - span)
        dates = _between(schedule, start, until)
        if len(dates) >= count or start <= since:
            break
    return dates[-count:]


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
