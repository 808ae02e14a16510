"""Counts runs that have ended, for counters that only rise."""

from __future__ import annotations

from bisect import bisect_left

from monitoring.metrics.catalog import RUN_TIME_BUCKETS
from monitoring.metrics.values import Distribution
from monitoring.model import Counts, FlowRun, Record


def counted(record: Record, run: FlowRun) -> Record:
    """Count a run that has ended and was not counted before.

    Args:
        record: What is remembered of its deployment.
        run: The run. One that completed without ever beginning took no time, and tells nothing of how long runs take.
    """
    counts = record.counts
    ends = {**counts.ends, run.state_type: counts.ends.get(run.state_type, 0) + 1}
    changes: dict[str, object] = {"ends": ends}
    if run.state_type == "COMPLETED" and run.total_run_time:
        seconds = run.total_run_time.total_seconds()
        buckets = list(_buckets(counts))
        buckets[bisect_left(RUN_TIME_BUCKETS, seconds)] += 1
        changes.update(run_times=tuple(buckets), run_time=counts.run_time + seconds)
    return record.model_copy(update={"counts": counts.model_copy(update=changes)})


def distribution(counts: Counts) -> Distribution:
    """The run times of all completed runs that were counted, in seconds."""
    cumulative: list[int] = []
    for number in _buckets(counts):
        cumulative.append(number + (cumulative[-1] if cumulative else 0))
    return Distribution(cumulative=tuple(cumulative), sum=counts.run_time)


def _buckets(counts: Counts) -> tuple[int, ...]:
    return counts.run_times or (0,) * (len(RUN_TIME_BUCKETS) + 1)
