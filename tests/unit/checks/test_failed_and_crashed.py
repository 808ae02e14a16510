from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.failures.error_names import failure_of
from monitoring.history.ledger import fold
from monitoring.model.failure import Failure
from monitoring.model.finding import Cause
from monitoring.model.ledger import Ledger
from monitoring.model.prefect import StateType
from tests.support.builders import NOW, deployment, found, hours, minutes, names, observation, run


def ended(*states: StateType) -> list[Any]:
    """Runs that ended one after the other, the last of them ten minutes ago."""
    last = NOW - minutes(10)
    return [
        run(state, f"run-{number}", since=last - hours(len(states) - number)) for number, state in enumerate(states, 1)
    ]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], []),
        (["COMPLETED"], []),
        (["FAILED"], [("failed", "warning")]),
        (["CRASHED"], [("crashed", "warning")]),
        (["FAILED", "FAILED"], [("failed", "warning")]),
        (["FAILED", "FAILED", "FAILED"], [("failed", "critical")]),
        (["FAILED", "CRASHED", "FAILED"], [("failed", "critical")]),
        (["FAILED", "CRASHED"], [("crashed", "warning")]),
        (["CRASHED", "FAILED"], [("failed", "warning")]),
        (["FAILED", "FAILED", "COMPLETED"], []),
        (["FAILED", "FAILED", "COMPLETED", "FAILED"], [("failed", "warning")]),
        # A cancelled run proves neither health nor failure.
        (["FAILED", "CANCELLED"], [("failed", "warning")]),
        (["COMPLETED", "CANCELLED"], []),
        (["FAILED", "CANCELLED", "FAILED", "CANCELLED", "FAILED"], [("failed", "critical")]),
    ],
)
def test_the_latest_ended_run_decides(states: list[StateType], expected: list[tuple[str, str]]) -> None:
    findings = found(observation(*ended(*states)))

    assert [(finding.check, finding.severity) for finding in findings] == expected


def test_a_streak_says_how_long_since_when_and_which_runs() -> None:
    (finding,) = found(observation(*ended("COMPLETED", "FAILED", "CRASHED", "FAILED")))

    assert finding.summary == "etl/nightly: the last 3 runs failed (2 failed, 1 crashed)"
    assert finding.since == NOW - minutes(10) - hours(2)
    assert finding.flow_run_ids == ("run-4", "run-3", "run-2")
    assert finding.flow_run_count == 3
    assert finding.url == "http://ui.example/deployments/deployment/etl%2Fnightly"


def test_one_failure_links_to_its_run_and_shows_the_message() -> None:
    (finding,) = found(observation(run("FAILED", "the-run", message="boom")))

    assert finding.observed == "Failed: boom"
    assert finding.summary == "etl/nightly: the last run failed: boom"
    assert finding.url == "http://ui.example/runs/flow-run/the-run"


@pytest.mark.parametrize(
    ("scheduled", "age", "expected"),
    [
        (False, hours(24) - timedelta(seconds=1), ["failed"]),
        (False, hours(24), []),
        (True, hours(240), ["failed"]),
    ],
)
def test_without_a_schedule_a_failure_expires(scheduled: bool, age: timedelta, expected: list[str]) -> None:
    seen = observation(run("FAILED", since=NOW - age), deployments=[deployment(scheduled=scheduled)])

    assert [finding.check for finding in found(seen)] == expected


def test_a_paused_deployment_is_left_alone() -> None:
    assert found(observation(run("FAILED"), deployments=[deployment(paused=True, scheduled=False)])) == ()


def test_a_failure_outlives_the_window_in_the_ledger() -> None:
    first = fold(Ledger(), observation(run("FAILED", "old")))
    later = observation(at=NOW + timedelta(days=3))

    assert names(found(later, first)) == [("failed", "etl/nightly", "warning")]


def test_the_number_in_a_row_and_the_switch_are_settings() -> None:
    seen = observation(*ended("FAILED", "FAILED"))

    assert names(found(seen, failed={"critical_after": 2})) == [("failed", "etl/nightly", "critical")]
    assert found(seen, failed={"enabled": False}) == ()


def test_runs_of_a_flow_without_deployment_are_found_by_flow() -> None:
    alone = run("FAILED", of=None, flow_id="f")
    flow = deployment("adhoc", kind="flow", id="f", flow_id="f", flow_name="adhoc", scheduled=False)
    (finding,) = found(observation(alone, deployments=[flow]))

    assert (finding.subject.kind, finding.subject.name, finding.deployment) == ("flow", "adhoc", None)
    assert finding.fingerprint == "prod/failed/flow/f"
    assert found(observation(alone)) == ()


SAID = "Flow run encountered an exception: ValueError: no rows"
TRACEBACK = '  File "/app/etl.py", line 9, in load\n    raise ValueError("no rows")\nValueError: no rows'


def read(**fields: Any) -> Failure:
    """What was read of a run's failure."""
    return failure_of(SAID).model_copy(update={"traceback": TRACEBACK, **fields})


def test_the_reason_is_shown_with_the_task_and_the_end_of_the_traceback() -> None:
    seen = observation(run("FAILED", message=SAID), reasons={"run": read(task="load-orders")})
    (finding,) = found(seen)

    assert finding.summary == "etl/nightly: the last run failed in task load-orders: ValueError: no rows"
    assert finding.observed == f"Failed in task load-orders: {SAID}"
    assert finding.evidence == tuple(TRACEBACK.splitlines())
    assert finding.cause is None


def test_of_several_the_latest_gives_the_reason() -> None:
    runs = [r.model_copy(update={"message": SAID}) for r in ended("CRASHED", "FAILED")]
    (finding,) = found(observation(*runs, reasons={"run-2": read(task="load-orders")}))

    assert finding.summary == (
        "etl/nightly: the last 2 runs failed (1 failed, 1 crashed), the latest in task load-orders: ValueError: no rows"
    )


def test_a_run_that_timed_out_is_not_said_to_have_failed() -> None:
    late = "Flow run exceeded timeout of 60.0 second(s)"
    (finding,) = found(observation(run("FAILED", state_name="TimedOut", message=late)))
    two = [r.model_copy(update={"state_name": "TimedOut"}) for r in ended("FAILED", "FAILED")]
    (several,) = found(observation(*two))

    assert (finding.check, finding.summary) == ("failed", f"etl/nightly: the last run timed out: {late}")
    assert finding.observed == f"TimedOut: {late}"
    assert several.summary == "etl/nightly: the last 2 runs failed, the latest timed out"


def test_without_its_logs_a_failure_says_what_its_message_does() -> None:
    (finding,) = found(observation(run("FAILED", message=SAID)))

    assert finding.summary == "etl/nightly: the last run failed: ValueError: no rows"
    assert finding.evidence == ()


def test_logs_that_come_after_the_end_of_the_run_are_still_read_into_the_finding() -> None:
    failed = run("FAILED", message=SAID, since=NOW - minutes(1))
    before = fold(Ledger(), observation(failed))
    later = observation(failed, at=NOW + minutes(1), reasons={"run": read(task="load-orders")})
    (finding,) = found(later, before)

    assert finding.evidence == tuple(TRACEBACK.splitlines())
    assert finding.flow_run_count == 1


def test_what_was_read_once_is_recorded() -> None:
    failed = run("FAILED", message=SAID)
    ledger = fold(Ledger(), observation(failed, reasons={"run": read(task="load-orders")}))
    (finding,) = found(observation(at=NOW + timedelta(days=3)), ledger)

    assert "in task load-orders: ValueError: no rows" in finding.summary


def test_the_deepest_run_is_the_cause_with_the_path_to_it() -> None:
    top = run("FAILED", "top", message=f"Flow run encountered an exception: FailedRun: {SAID}")
    middle = run("FAILED", "middle", of=None, flow_id="m", message=SAID, since=NOW - hours(2), parent_task_run_id="1")
    deep = run("FAILED", "deep", of=None, flow_id="d", message=SAID, since=NOW - hours(3), parent_task_run_id="2")
    seen = observation(
        top,
        children={"top": (middle,), "middle": (deep,)},
        reasons={"top": read(task="load-orders")},
        flow_names={"m": "middle-flow", "d": "deep-flow"},
    )
    (finding,) = found(seen)

    assert finding.cause == Cause(
        kind="flow-run",
        name="name of deep",
        reason="failed",
        path=("etl", "middle-flow", "deep-flow", "load-orders"),
        flow_run_ids=("deep",),
    )
    assert finding.summary == (
        "etl/nightly: the last run failed, as its subflow deep-flow (name of deep) did in task load-orders: "
        "ValueError: no rows"
    )
    assert finding.evidence[0] == "etl > middle-flow > deep-flow > load-orders"


@pytest.mark.parametrize("check", ["failed", "crashed"])
@pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 0), (3, 1), (4, 1)])
def test_so_many_in_a_row_are_tolerated(check: str, count: int, expected: int) -> None:
    state: StateType = "FAILED" if check == "failed" else "CRASHED"
    settings: dict[str, Any] = {check: {"tolerate": 2}}
    findings = found(observation(*ended(*[state] * count)), **settings)

    assert [finding.check for finding in findings] == [check] * expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["FAILED"], []),
        (["FAILED"] * 5, []),
        (["CRASHED"], [("crashed", "warning", 1)]),
        # What failed as it should does not make the row of crashes longer.
        (["FAILED", "FAILED", "CRASHED"], [("crashed", "warning", 1)]),
        (["CRASHED", "CRASHED", "CRASHED"], [("crashed", "critical", 3)]),
        (["CRASHED", "FAILED"], []),
        # One that never succeeds ends its rows of crashes by failing as it should.
        (["CRASHED", "FAILED", "CRASHED", "FAILED", "CRASHED"], [("crashed", "warning", 1)]),
        (["CRASHED", "CRASHED", "FAILED", "CRASHED", "CRASHED"], [("crashed", "warning", 2)]),
        (["CRASHED", "FAILED", "CRASHED", "CRASHED", "CRASHED"], [("crashed", "critical", 3)]),
        (["CRASHED", "FAILED", "CRASHED", "CANCELLED", "CRASHED"], [("crashed", "warning", 2)]),
        (["CRASHED", "COMPLETED", "CRASHED"], [("crashed", "warning", 1)]),
    ],
)
def test_a_deployment_may_be_there_to_fail(states: list[StateType], expected: list[tuple[str, str, int]]) -> None:
    findings = found(observation(*ended(*states)), expect="failure")

    assert [(finding.check, finding.severity, finding.flow_run_count) for finding in findings] == expected
    assert all(finding.since == NOW - minutes(10) for finding in findings if finding.flow_run_count == 1)


def test_a_row_of_crashes_between_expected_failures_holds_crashes_only() -> None:
    runs = ended("CRASHED", "FAILED", "CRASHED", "CRASHED")
    (finding,) = found(observation(*runs), expect="failure")

    assert finding.summary == "etl/nightly: the last 2 runs crashed"
    assert finding.flow_run_ids == ("run-4", "run-3")
    assert finding.since == NOW - minutes(10) - hours(1)


@pytest.mark.parametrize(("states", "found_"), [(["CRASHED"], False), (["CRASHED", "CRASHED"], True)])
def test_crashes_before_an_expected_failure_are_tolerated_apart(states: list[StateType], found_: bool) -> None:
    runs = ended("CRASHED", "CRASHED", "FAILED", *states)

    assert bool(found(observation(*runs), expect="failure", crashed={"tolerate": 1})) is found_


def test_a_run_that_is_started_again_counts_once_in_a_row_of_crashes() -> None:
    ledger = fold(Ledger(), observation(*ended("FAILED", "CRASHED", "CRASHED"), at=NOW - minutes(5)))
    again = observation(run("CRASHED", "run-2", since=NOW - minutes(1)))
    (finding,) = found(again, ledger, expect="failure")

    assert finding.flow_run_count == 2
    assert finding.flow_run_ids == ("run-2", "run-3")


def test_what_is_kept_and_shown_of_a_long_message_is_short() -> None:
    long = "Flow run encountered an exception: ValueError: " + "no rows, " * 6_000
    seen = observation(run("FAILED", message=long), reasons={"run": read(reason="r" * 200, traceback="t" * 1_000)})
    (finding,) = found(seen)
    kept = fold(Ledger(), seen).records["etl/nightly"].last_ended

    assert len(finding.summary) < 200
    assert len(finding.observed) < 600
    assert kept is not None
    assert len(kept.model_dump_json()) < 2_500
