"""Whether the server's scheduler still makes runs."""

from __future__ import annotations

from monitoring.model.finding import Cause
from monitoring.model.observation import Observation

#: One deployment without runs ahead may be the scheduler's trouble with that deployment alone.
_MIN_DEPLOYMENTS = 2


def scheduler_is_dead(observation: Observation) -> bool:
    """Whether nothing shows that the server's scheduler lives, and at least two deployments show that it does not.

    A scheduler that has died leaves behind what it had planned: deployments that fire often have nothing ahead soon,
    those that fire seldom still have. So it may live only if it has planned something later than what is missing.
    What was just made or changed, and what never fires again, has nothing ahead under either.
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
    """The cause of what does not come because the scheduler makes no runs.

    Args:
        target: The server's name.
    """
    return Cause(kind="scheduler", name=target, reason="not-scheduling")
