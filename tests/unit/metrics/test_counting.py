"""Counters of ended runs: each run once, and they only rise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.history.counts import RUN_TIME_BUCKETS, counted
from monitoring.history.ledger import fold
from monitoring.metrics.measure import distribution
from monitoring.model.ledger import Ledger, Record
from monitoring.model.prefect import FlowRun, StateType
from tests.support import builders
from tests.support.builders import NOW, minutes, observation, without


def run(state: StateType = "COMPLETED", seconds: float = 30, run_id: str = "run", **fields: Any) -> FlowRun:
    return builders.run(state, run_id, total_run_time=timedelta(seconds=seconds), **fields)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        (RUN_TIME_BUCKETS[0] - 0.1, 0),
        (RUN_TIME_BUCKETS[0], 0),
        (RUN_TIME_BUCKETS[0] + 0.1, 1),
        (RUN_TIME_BUCKETS[-1], len(RUN_TIME_BUCKETS) - 1),
        (RUN_TIME_BUCKETS[-1] + 1, len(RUN_TIME_BUCKETS)),
    ],
)
def test_a_run_counts_in_every_bucket_that_it_fits_into(seconds: float, bucket: int) -> None:
    found = distribution(counted(Record(), run(seconds=seconds)).counts)
    assert found.cumulative == tuple(int(index >= bucket) for index in range(len(RUN_TIME_BUCKETS) + 1))
    assert found.sum == pytest.approx(seconds)


def test_a_run_that_failed_or_took_no_time_does_not_count_for_run_times() -> None:
    record = counted(counted(counted(Record(), run("FAILED")), run("CANCELLED")), run(seconds=0))
    assert record.counts.ends == {"FAILED": 1, "CANCELLED": 1, "COMPLETED": 1}
    assert record.counts.run_times == ()


@given(st.lists(st.floats(0.1, 200_000), min_size=1))
def test_the_last_bucket_holds_all_and_none_holds_fewer_than_the_one_before(times: list[float]) -> None:
    record = Record()
    for seconds in times:
        record = counted(record, run(seconds=seconds))
    found = distribution(record.counts)
    assert list(found.cumulative) == sorted(found.cumulative)
    assert found.cumulative[-1] == len(times) == record.counts.ends["COMPLETED"]


BEGUN = Ledger(cursor=NOW - minutes(5))


def ends(ledger: Ledger) -> Mapping[StateType, int]:
    return ledger.records["etl/nightly"].counts.ends


def test_a_run_in_two_windows_that_overlap_is_counted_once() -> None:
    runs = [run(run_id="a", end_time=NOW - minutes(1)), run("CANCELLED", run_id="b", end_time=NOW - minutes(1))]
    ledger = fold(BEGUN, observation(*runs))
    fresh = run("FAILED", run_id="c", end_time=NOW)
    again = fold(ledger, observation(*runs, fresh, at=NOW + minutes(3)))
    assert ends(again) == {"COMPLETED": 1, "CANCELLED": 1, "FAILED": 1}


def test_what_ended_before_the_first_check_is_not_counted() -> None:
    before = run("FAILED", run_id="a", end_time=NOW - minutes(1))
    ledger = fold(Ledger(), observation(before))
    assert ends(ledger) == {}
    fresh = run("FAILED", run_id="b", end_time=NOW)
    assert ends(fold(ledger, observation(before, fresh, at=NOW + minutes(5)))) == {"FAILED": 1}


def test_of_answers_in_part_nothing_is_counted_until_one_is_whole() -> None:
    runs = [run("FAILED", run_id=name, end_time=NOW - minutes(1)) for name in "ab"]
    ledger = BEGUN
    for minute in (0, 5, 10):
        ledger = fold(ledger, observation(*runs, at=NOW + minutes(minute), coverage=without("ended-runs")))
        assert ends(ledger) == {}
    assert ends(fold(ledger, observation(*runs, at=NOW + minutes(15)))) == {"FAILED": 2}
