"""The runs that were cancelled or crashed lately: their processes may go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from operator import itemgetter

from monitoring.model.prefect import FlowRun

#: For so long they are kept, and so many of the newest.
_KEPT = timedelta(days=1)
_MAX = 200


def with_stopped(known: Mapping[str, datetime], ended: Iterable[FlowRun], now: datetime) -> dict[str, datetime]:
    """The ends of runs that were cancelled or crashed after they had started, by run id, newest first."""
    stopped = {run.id: run.ended_at for run in ended if run.state_type in ("CANCELLED", "CRASHED") and run.run_count}
    young = [(run_id, end) for run_id, end in {**known, **stopped}.items() if now - end <= _KEPT]
    return dict(sorted(young, key=itemgetter(1), reverse=True)[:_MAX])
