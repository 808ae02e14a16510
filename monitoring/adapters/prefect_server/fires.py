"""When deployments fire: which fires they missed, and which have nothing scheduled ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from monitoring.adapters.prefect_server.collection import Collection
from monitoring.adapters.prefect_server.rows import Row
from monitoring.model import Deployment, FlowRun, Ledger, Missed


def missed(
    collection: Collection,
    deployments: Mapping[str, Deployment],
    schedules: Mapping[str, Sequence[Row]],
    ended: Sequence[FlowRun],
    successes: Mapping[str, FlowRun | None],
    ledger: Ledger,
) -> dict[str, Missed]:
    """The fires since the last success, of deployments whose freshness is in doubt, by key."""
    return {}


def nothing_ahead(
    collection: Collection, deployments: Mapping[str, Deployment], schedules: Mapping[str, Sequence[Row]]
) -> dict[str, datetime]:
    """Deployments that should have runs scheduled ahead and have none, by id: their newest due time before now."""
    return {}
