from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.ledger import fold
from monitoring.model import Ledger, StateType
from tests.support.builders import NOW, OVERLAP, deployment, found, hours, minutes, names, observation, run


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
    (finding,) = found(observation(run("FAILED", "the-run", message="boom", state_name="TimedOut")))

    assert finding.observed == "TimedOut: boom"
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
    first = fold(Ledger(), observation(run("FAILED", "old")), OVERLAP)
    later = observation(at=NOW + timedelta(days=3))

    assert names(found(later, first)) == [("failed", "etl/nightly", "warning")]


def test_the_number_in_a_row_and_the_switch_are_settings() -> None:
    seen = observation(*ended("FAILED", "FAILED"))

    assert names(found(seen, failed={"critical_after": 2})) == [("failed", "etl/nightly", "critical")]
    assert found(seen, failed={"enabled": False}) == ()


def test_runs_of_a_flow_without_deployment_are_told_by_flow() -> None:
    alone = run("FAILED", of=None, flow_id="f")
    flow = deployment("adhoc", kind="flow", id="f", flow_id="f", flow_name="adhoc", scheduled=False)
    (finding,) = found(observation(alone, deployments=[flow]))

    assert (finding.subject.kind, finding.subject.name, finding.deployment) == ("flow", "adhoc", None)
    assert finding.fingerprint == "prod/failed/flow/f"
    assert found(observation(alone)) == ()
