"""Maintenance windows as silences, by the arithmetic of Prefect's schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from monitoring.adapters.prefect.read.schedules import newest_due, next_due
from monitoring.config.alert_settings import Maintenance
from monitoring.model.silence import Silence

#: The author of a window.
AUTHOR = "maintenance"
#: A later window is not shown as the next; a leap day comes sooner.
_AHEAD = timedelta(days=3_000)


def open_windows(maintenance: Iterable[Maintenance], now: datetime) -> tuple[Silence, ...]:
    """Return the open windows, as silences: less than their length has passed since their newest start."""
    begun = ((window, newest_due([_schedule(window)], until=now, count=1)) for window in maintenance)
    found = (_silence(window, starts[-1]) for window, starts in begun if starts)
    return tuple(silence for silence in found if silence.active(now))


def next_windows(maintenance: Iterable[Maintenance], now: datetime) -> tuple[Silence, ...]:
    """Return the next window of each, as silences that start after now, soonest first."""
    starts = ((window, next_due([_schedule(window)], now, _AHEAD)) for window in maintenance)
    silences = (_silence(window, start) for window, start in starts if start is not None)
    return tuple(sorted(silences, key=lambda silence: silence.starts_at))


def _schedule(window: Maintenance) -> Mapping[str, Any]:
    return {"cron": window.cron, "timezone": window.time_zone}


def _silence(window: Maintenance, start: datetime) -> Silence:
    return Silence(
        **window.match.matcher.conditions,
        starts_at=start,
        ends_at=start + window.lasts,
        author=AUTHOR,
        reason=window.reason,
    )
