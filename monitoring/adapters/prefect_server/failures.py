"""Why runs failed or crashed: their logs, the failing task, and the failed runs below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monitoring.adapters.prefect_server.collection import Collection
from monitoring.model import Failure, FlowRun


def failures(
    collection: Collection, bad: Sequence[FlowRun], children: Mapping[str, tuple[FlowRun, ...]]
) -> dict[str, Failure]:
    """Why each of these runs failed or crashed, by its id."""
    return {}
