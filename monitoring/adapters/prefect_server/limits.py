"""Tag and global concurrency limits that are full."""

from __future__ import annotations

from collections.abc import Sequence

from monitoring.adapters.prefect_server.collection import Collection
from monitoring.model import ConcurrencyLimit, FlowRun


def limits(collection: Collection, active: Sequence[FlowRun]) -> tuple[ConcurrencyLimit, ...]:
    """The tag and global limits that are full, with who holds them and who waits."""
    return ()
