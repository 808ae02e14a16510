"""Whether the server's scheduler still creates runs."""

from __future__ import annotations

from monitoring.model.finding import Cause
from monitoring.model.observation import Observation

#: A single deployment without runs ahead may be a problem with that deployment alone.
_MIN_DEPLOYMENTS = 2


def scheduler_is_dead(observation: Observation) -> bool:
    """Whether no sign shows that the server's scheduler is alive, and at least two deployments show that it is dead.

    A dead scheduler leaves its planned runs behind: deployments with short intervals soon have nothing ahead, while
    others still have. So it may be alive only if it has planned a run later than the missing runs. Deployments that
    were just created or changed, or have no scheduled times left, have nothing ahead either way.
    """
    nothing_ahead = observation.schedules.nothing_ahead
    empty = {key: d for key in nothing_ahead if (d := observation.deployments.get(key))}
    if len(empty) < _MIN_DEPLOYMENTS:
        return False
    missing_since = min(d.planned_by or nothing_ahead[key] for key, d in empty.items())
    silent = empty.keys() | observation.schedules.unplanned
    others = (d for key, d in observation.deployments.items() if d.scheduled and key not in silent)
    return all(other.planned_by is not None and other.planned_by < missing_since for other in others)


def scheduler_cause(target: str) -> Cause:
    """The cause of missing runs when the scheduler of a server creates none, by the server's name."""
    return Cause(kind="scheduler", name=target, reason="not-scheduling")
