"""What completed runs leave behind, and which runs were stopped lately."""

from __future__ import annotations

from datetime import timedelta

from monitoring.history.ledger import fold
from monitoring.history.stopped import with_stopped
from monitoring.history.traces import with_traces
from monitoring.model.ledger import MAX_EARLIER, Ledger, Record, Traces
from tests.support.builders import NOW, hours, minutes, observation, run


def test_a_new_run_moves_the_traces_of_the_one_before_and_the_same_run_replaces_its_own() -> None:
    record = with_traces(Record(), Traces(run_id="first", errors=0, task_runs=3))
    record = with_traces(record, Traces(run_id="first", errors=2, task_runs=3))
    record = with_traces(record, Traces(run_id="second", task_runs=None))

    assert record.traces == Traces(run_id="second")
    assert record.earlier_traces == ((2, 3),)


def test_few_of_them_are_kept_newest_first() -> None:
    record = Record()
    for number in range(MAX_EARLIER + 3):
        record = with_traces(record, Traces(run_id=str(number), errors=number))

    assert record.earlier_traces == tuple((number, None) for number in range(MAX_EARLIER + 1, 1, -1))


def test_an_observation_adds_its_traces_and_its_stopped_runs() -> None:
    done = run("COMPLETED", "done", run_count=1)
    gone, never = run("CRASHED", "gone", run_count=1), run("CANCELLED", "never")
    seen = observation(done, gone, never, traces={done.key: Traces(run_id="done", errors=1)})

    ledger = fold(Ledger(stopped={"old": NOW - hours(25), "young": NOW - hours(23)}), seen)

    assert ledger.record(done.key).traces == Traces(run_id="done", errors=1)
    assert ledger.stopped == {"gone": NOW - hours(1), "young": NOW - hours(23)}


def test_the_newest_stopped_runs_are_kept() -> None:
    runs = [run("CANCELLED", str(n), since=NOW - timedelta(seconds=n), run_count=1) for n in range(300)]

    assert list(with_stopped({"known": NOW - minutes(10)}, runs, NOW)) == [str(n) for n in range(200)]
