from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.model.coverage import Coverage, Query
from monitoring.model.finding import Finding
from monitoring.model.observation import Observation
from monitoring.model.report import HealthReport, Totals, ordered, status_of
from monitoring.usecases.assess import health_report, unreachable_report
from tests.support.builders import NOW, found, hours, minutes, observation, run

WHOLE = Coverage(queries=(Query(name="server", outcome="complete"),))
PARTIAL = Coverage(queries=(Query(name="ended-runs", outcome="partial", detail="a page is missing"),))
(FAILED,) = found(observation(run("FAILED")))


def with_severity(*severities: Any) -> list[Finding]:
    return [FAILED.model_copy(update={"severity": s, "fingerprint": f"{n}"}) for n, s in enumerate(severities)]


@pytest.mark.parametrize(
    ("severities", "coverage", "status"),
    [
        ([], WHOLE, "ok"),
        (["info"], WHOLE, "ok"),
        (["warning", "info"], WHOLE, "warning"),
        (["warning", "critical"], WHOLE, "critical"),
        ([], PARTIAL, "unknown"),
        (["info"], PARTIAL, "unknown"),
        (["warning"], PARTIAL, "unknown"),
        (["critical"], PARTIAL, "critical"),
    ],
)
def test_status_is_the_worst_that_is_known(severities: list[str], coverage: Coverage, status: str) -> None:
    assert status_of(with_severity(*severities), coverage) == status


def report(seen: Observation) -> HealthReport:
    return health_report(seen, found(seen), Coverage())


def test_nothing_but_the_time_changes_no_identity() -> None:
    stuck = run("PENDING", state_timestamp=NOW - hours(1))
    first, second = report(observation(stuck)), report(observation(stuck, at=NOW + minutes(5)))

    assert first.findings != second.findings
    assert first.identity == second.identity


@pytest.mark.parametrize(
    "later",
    [
        observation(),
        observation(run("SCHEDULED", "late", next_scheduled_start_time=NOW - hours(3))),
        observation(
            run("SCHEDULED", "late", next_scheduled_start_time=NOW - hours(1)),
            run("SCHEDULED", "late-too", next_scheduled_start_time=NOW - hours(1)),
        ),
        observation(run("SCHEDULED", "late", next_scheduled_start_time=NOW - hours(1)), coverage=PARTIAL),
    ],
)
def test_everything_else_does(later: Observation) -> None:
    first = report(observation(run("SCHEDULED", "late", next_scheduled_start_time=NOW - hours(1))))

    assert report(later).identity != first.identity


def test_causes_come_first_and_their_symptoms_behind_them() -> None:
    old, young, symptom = with_severity("warning", "critical", "critical")
    symptom = symptom.model_copy(update={"symptom_of": old.fingerprint})

    assert [finding.fingerprint for finding in ordered([symptom, old, young])] == ["1", "0", "2"]


def test_a_symptom_of_a_symptom_stands_with_the_cause_of_both() -> None:
    far, cause, near = with_severity("warning", "warning", "warning")
    near = near.model_copy(update={"symptom_of": cause.fingerprint})
    far = far.model_copy(update={"symptom_of": near.fingerprint})

    assert [finding.fingerprint for finding in ordered([far, cause, near])] == ["1", "0", "2"]


def test_a_symptom_whose_cause_is_unknown_is_not_lost() -> None:
    orphan = FAILED.model_copy(update={"symptom_of": "nobody"})

    assert ordered([orphan]) == (orphan,)


@pytest.mark.parametrize(
    ("counts", "rate"),
    [
        ({}, None),
        ({"cancelled": 3}, None),
        ({"completed": 3, "failed": 1}, 0.75),
        ({"completed": 1, "failed": 1, "crashed": 2, "cancelled": 9}, 0.25),
    ],
)
def test_cancelled_runs_do_not_count_for_success(counts: dict[str, int], rate: float | None) -> None:
    totals = Totals(start=NOW - timedelta(days=1), end=NOW, **counts)

    assert totals.success_rate == rate


def test_an_unreachable_server_is_one_critical_finding_and_nothing_is_known() -> None:
    down = unreachable_report("prod", NOW, "no answer")

    assert (down.status, [finding.check for finding in down.findings]) == ("critical", ["server"])
    assert {query.name for query in down.coverage.missing} >= {"server", "ended-runs", "active-runs", "deployments"}
