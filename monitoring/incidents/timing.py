"""How long incidents took: to be noticed, and to be over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from statistics import median

from monitoring.model.incident import Incident


def to_detect(incident: Incident) -> timedelta | None:
    """From when it began to when it fired, its hold included.

    None for one that has not fired, and for what was there before the watchdog, which could not have noticed it sooner.
    """
    if incident.fired_at is None or incident.preexisting:
        return None
    return max(timedelta(0), incident.fired_at - incident.finding.since)


def to_resolve(incident: Incident) -> timedelta | None:
    """From when it began to when it was over; None for one that is not.

    One that had come and gone was over when it was last gone, though that was believed only later.
    """
    if incident.resolved_at is None:
        return None
    return max(timedelta(0), (incident.unseen_since or incident.resolved_at) - incident.finding.since)


def usual(spans: Iterable[timedelta | None]) -> timedelta | None:
    """The median of those that are known; None where none is."""
    known = [span.total_seconds() for span in spans if span is not None]
    return timedelta(seconds=median(known)) if known else None
