"""What completed runs leave behind, error lines and task runs, and whether that is unusual for their deployment."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from monitoring.model.ledger import MAX_EARLIER, Record, Traces

#: What two of the earlier runs showed is not unusual, as for run times.
_SEEN_BEFORE = 2


def with_traces(record: Record, traces: Traces) -> Record:
    """Keep the traces of the newest completed run; those of the same run replace what was read of it before."""
    before, earlier = record.traces, record.earlier_traces
    if before and before.run_id != traces.run_id:
        earlier = ((before.errors, before.task_runs), *earlier)[:MAX_EARLIER]
    return record.model_copy(update={"traces": traces, "earlier_traces": earlier})


def unusual_errors(errors: int, earlier: Sequence[int], min_samples: int) -> bool:
    """Whether errors in the log are unusual: enough runs are known, and at most one of them had any."""
    return errors > 0 and len(earlier) >= min_samples and sum(count > 0 for count in earlier) < _SEEN_BEFORE


def usual_task_runs(count: int, earlier: Sequence[int], min_samples: int, ratio: float) -> float | None:
    """The usual number of task runs, if this one is a small part of it, and no two of enough runs had as few."""
    if len(earlier) < min_samples:
        return None
    usual = median(earlier)
    few = usual > 0 and count * ratio <= usual and sum(known <= count for known in earlier) < _SEEN_BEFORE
    return usual if few else None
