from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from monitoring.ledger import fold
from monitoring.model import Finding, FlowRun, Ledger
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


def test_fires_while_paused_are_nobodys_fault() -> None:
    old = run("COMPLETED", "old", since=NOW - timedelta(days=3))
    paused = observation(
        deployments=[deployment(paused=True, scheduled=False)],
        last_success={"etl/nightly": old},
        at=NOW - minutes(90),
    )
    ledger = fold(Ledger(), paused, OVERLAP)
    back = deployment(due=DUE)

    assert found(observation(deployments=[back]), ledger) == ()
    assert len(found(observation(deployments=[back.model_copy(update={"due": (NOW - hours(1), NOW)})]), ledger)) == 1


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
