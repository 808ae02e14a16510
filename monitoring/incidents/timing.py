"""How long incidents took to be detected and to be resolved."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from statistics import median

from monitoring.model.incident import Incident


def to_detect(incident: Incident) -> timedelta | None:
    """The time from the start of the condition until the incident fired, including its hold.

    None for an incident that has not fired, and for a preexisting one, which could not have been detected sooner.
    """
    if incident.fired_at is None or incident.preexisting:
        return None
    return max(timedelta(0), incident.fired_at - incident.finding.since)


def to_resolve(incident: Incident) -> timedelta | None:
    """The time from the start of the condition until it was over; None for an incident that is not, or not mended.

    A flapping incident was over when it was last found no more, though it was resolved only later.
    """
    if incident.resolved_at is None or incident.unmended:
        return None
    return max(timedelta(0), (incident.unseen_since or incident.resolved_at) - incident.finding.since)


def usual(spans: Iterable[timedelta | None]) -> timedelta | None:
    """The median of the known spans; None without any."""
    known = [span.total_seconds() for span in spans if span is not None]
    return timedelta(seconds=median(known)) if known else None
