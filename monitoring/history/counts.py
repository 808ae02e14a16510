"""Counts ended runs, for counters that only rise."""

from __future__ import annotations

from bisect import bisect_left

from monitoring.model.ledger import Counts, Record
from monitoring.model.prefect import FlowRun

#: Seconds. Runs take from a second to days.
RUN_TIME_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0)


def counted(record: Record, run: FlowRun) -> Record:
    """Count an ended run. One that completed without a start took no time, and has no run time to count."""
    counts = record.counts
    ends = {**counts.ends, run.state_type: counts.ends.get(run.state_type, 0) + 1}
    changes: dict[str, object] = {"ends": ends}
    if run.state_type == "COMPLETED" and run.total_run_time:
        seconds = run.total_run_time.total_seconds()
        buckets = list(buckets_of(counts))
        buckets[bisect_left(RUN_TIME_BUCKETS, seconds)] += 1
        changes.update(run_times=tuple(buckets), run_time=counts.run_time + seconds)
    return record.model_copy(update={"counts": counts.model_copy(update=changes)})


def buckets_of(counts: Counts) -> tuple[int, ...]:
    """How many completed runs fell in each bucket of ``RUN_TIME_BUCKETS``, and in the last, which has no bound."""
    return counts.run_times or (0,) * (len(RUN_TIME_BUCKETS) + 1)
