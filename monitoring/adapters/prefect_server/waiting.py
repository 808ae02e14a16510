"""What waits, and what will: backlogs of work pools, and runs due soon that may not be able to start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monitoring.adapters.prefect_server.collection import Collection
from monitoring.model import Backlog, Deployment, FlowRun, WorkPool


def backlogs(collection: Collection, pools: Mapping[str, WorkPool], overdue: Sequence[FlowRun]) -> dict[str, Backlog]:
    """How many runs waited in each pool with a backlog, over the time that counts."""
    return {}


def upcoming(
    collection: Collection,
    pools: Mapping[str, WorkPool],
    deployments: Mapping[str, Deployment],
    active: Sequence[FlowRun],
) -> list[FlowRun]:
    """SCHEDULED runs that are due in the time ahead where something may hold them up, soonest first."""
    return []
