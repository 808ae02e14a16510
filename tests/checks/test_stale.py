from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from monitoring.ledger import fold
from monitoring.model import Deployment, Finding, FlowRun, Ledger, Observation
from tests.support.builders import NOW, OVERLAP, deployment, found, hours, minutes, names, observation, run

DUE = (NOW - hours(2), NOW - hours(1))
SECOND = timedelta(seconds=1)


def success(ended: datetime) -> FlowRun:
    return run("COMPLETED", "success", since=ended)


@pytest.mark.parametrize(
    ("ended", "stale"), [(DUE[0] - SECOND, True), (DUE[0], False), (DUE[0] + SECOND, False), (NOW - minutes(1), False)]
)
def test_two_fires_without_a_success_are_stale(ended: datetime, stale: bool) -> None:
    seen = observation(success(ended), deployments=[deployment(due=DUE)])

    assert names(found(seen)) == ([("stale", "etl/nightly", "critical")] if stale else [])


def test_one_fire_is_not_enough() -> None:
    assert found(observation(success(NOW - hours(9)), deployments=[deployment(due=DUE[1:])])) == ()


@pytest.mark.parametrize(("ended", "stale"), [(NOW - hours(26) - SECOND, True), (NOW - hours(26), False)])
def test_a_given_window_goes_before_the_schedule(ended: datetime, stale: bool) -> None:
    seen = observation(success(ended), deployments=[deployment(scheduled=False)])

    assert bool(found(seen, stale={"within": "26h"})) is stale


def test_a_young_deployment_with_an_old_success_is_not_young() -> None:
    seen = observation(deployments=[deployment(due=DUE, created=NOW)], last_success=OLD)

    assert names(found(seen)) == [("stale", "etl/nightly", "critical")]


def test_a_deployment_younger_than_its_window_is_not_stale() -> None:
    seen = observation(
        deployments=[deployment(created=NOW - hours(25))],
        last_success={"etl/nightly": None},
        history_since=NOW - hours(99),
    )

    assert found(seen, stale={"within": "26h"}) == ()


def test_a_success_before_the_window_is_found_by_search_and_says_when() -> None:
    old = run("COMPLETED", "old", since=NOW - timedelta(days=3))
    (finding,) = found(observation(deployments=[deployment(due=DUE)], last_success={"etl/nightly": old}))

    assert finding.observed == "last success 2026-11-20 12:00 UTC, 3 d ago"
    assert finding.since == NOW - timedelta(days=3)
    assert finding.flow_run_ids == ("old",)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (DUE[0], [("stale", "etl/nightly", "critical")]),
        (DUE[0] + SECOND, [("stale", "etl/nightly", "info")]),
        (None, [("stale", "etl/nightly", "info")]),
    ],
)
def test_a_success_that_retention_may_have_deleted_is_unknown(
    history: datetime | None, expected: list[tuple[str, str, str]]
) -> None:
    seen = observation(deployments=[deployment(due=DUE)], last_success={"etl/nightly": None}, history_since=history)

    assert names(found(seen)) == expected


def test_nothing_is_said_before_the_search() -> None:
    assert found(observation(deployments=[deployment(due=DUE)])) == ()


def check_after(*before: Observation) -> Ledger:
    ledger = Ledger()
    for seen in before:
        ledger = fold(ledger, seen, OVERLAP)
    return ledger


OLD = {"etl/nightly": run("COMPLETED", "old", since=NOW - timedelta(days=3))}


@pytest.mark.parametrize(
    "before",
    [deployment(paused=True, scheduled=False), deployment(scheduled=False), deployment(schedule="weekly")],
    ids=["paused", "unscheduled", "another schedule"],
)
def test_fires_of_a_schedule_that_was_not_there_are_nobodys_fault(before: Deployment) -> None:
    seen_before = observation(deployments=[before], last_success=OLD, at=NOW - hours(9))
    changed = observation(deployments=[deployment()], at=NOW - minutes(90))
    ledger = check_after(seen_before, changed)

    assert found(observation(deployments=[deployment(due=DUE)]), ledger) == ()
    assert len(found(observation(deployments=[deployment(due=(NOW - hours(1), NOW))]), ledger)) == 1


@pytest.mark.parametrize(
    ("runs", "success", "stale"),
    [
        # A schedule of an hour ago, and nothing that shows an older one.
        ([], {}, False),
        # It was deployed again: runs were due before, or a schedule made the last success.
        ([run("CANCELLED", since=NOW - hours(5))], {}, True),
        ([], {"auto_scheduled": True}, True),
    ],
)
def test_a_schedule_that_looks_young_may_have_been_deployed_again(
    runs: list[FlowRun], success: dict[str, bool], stale: bool
) -> None:
    young = deployment(due=DUE, scheduled_since=NOW - hours(1))
    last = {"etl/nightly": OLD["etl/nightly"].model_copy(update=success)}

    assert bool(found(observation(*runs, deployments=[young], last_success=last))) is stale


@pytest.mark.parametrize(
    ("why", "check"),
    [
        (run("FAILED", "why", since=NOW - minutes(5)), "failed"),
        (run("CRASHED", "why", since=NOW - minutes(5)), "crashed"),
        (run("SCHEDULED", "why", next_scheduled_start_time=NOW - minutes(70)), "late"),
        (run("PENDING", "why", since=NOW - minutes(70)), "stuck"),
    ],
)
def test_stale_is_a_symptom_of_what_explains_it(why: FlowRun, check: str) -> None:
    findings = found(observation(success(NOW - hours(9)), why, deployments=[deployment(due=DUE)]))
    by_check: dict[str, Finding] = {finding.check: finding for finding in findings}

    assert set(by_check) == {check, "stale"}
    assert by_check["stale"].symptom_of == by_check[check].fingerprint
    assert by_check[check].symptom_of is None


def test_a_cancelled_run_explains_nothing() -> None:
    findings = found(observation(success(NOW - hours(9)), run("CANCELLED"), deployments=[deployment(due=DUE)]))

    assert [(finding.check, finding.symptom_of) for finding in findings] == [("stale", None)]
