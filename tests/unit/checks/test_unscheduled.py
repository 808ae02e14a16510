from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from monitoring.checks.facts.scheduler import scheduler_is_dead
from monitoring.model.finding import Cause, Finding
from monitoring.model.prefect import Deployment
from tests.support.builders import NOW, deployment, found, hours, minutes, observation, run, with_facts

DEAD = Cause(kind="scheduler", name="prefect", reason="not-scheduling").model_copy(update={"name": "prod"})


def planned(name: str, ago: timedelta | None, **fields: object) -> Deployment:
    """A deployment whose next run a living scheduler has planned so long ago at the latest."""
    return deployment(name, planned_by=None if ago is None else NOW - ago, **fields)


def unscheduled(*deployments: Deployment, ahead: tuple[str, ...]) -> dict[str, Finding]:
    nothing = {name: NOW - minutes(20) for name in ahead}
    findings = found(observation(deployments=deployments, nothing_ahead=nothing))
    return {finding.subject.name: finding for finding in findings if finding.check == "unscheduled"}


def test_a_deployment_with_nothing_ahead_is_a_warning_and_says_when_it_is_due() -> None:
    known = deployment(next_due=NOW + minutes(40))
    (finding,) = found(observation(deployments=[known], nothing_ahead={known.id: NOW - minutes(20)}))

    assert (finding.check, finding.severity, finding.cause) == ("unscheduled", "warning", None)
    assert finding.observed == "nothing scheduled ahead, though it is due at 2026-11-23 12:40 UTC"
    assert finding.since == NOW - minutes(20)


@pytest.mark.parametrize(
    ("last_run", "scheduled_since", "since"),
    [
        (None, None, NOW - minutes(20)),
        # Its own newest fire moves on; the last run that is known does not.
        (NOW - hours(5), None, NOW - hours(5)),
        (NOW - hours(5), NOW - hours(2), NOW - hours(2)),
        (NOW - minutes(5), None, NOW - minutes(20)),
    ],
)
def test_it_is_so_since_the_last_run_that_is_known(
    last_run: datetime | None, scheduled_since: datetime | None, since: datetime
) -> None:
    runs = [run("COMPLETED", since=last_run)] if last_run else []
    known = deployment(scheduled_since=scheduled_since)
    (finding,) = found(observation(*runs, deployments=[known], nothing_ahead={known.id: NOW - minutes(20)}))

    assert finding.since == since


def test_it_can_be_turned_off() -> None:
    seen = observation(nothing_ahead={"etl/nightly": NOW})

    assert found(seen, unscheduled={"enabled": False}) == ()


HOURLY = (planned("a/hourly", hours(3)), planned("b/hourly", hours(2)))


@pytest.mark.parametrize(
    ("others", "dead"),
    [
        pytest.param([], True, id="all that there are"),
        pytest.param([planned("c/weekly", timedelta(days=9))], True, id="planned before it died"),
        pytest.param([planned("c/same", hours(3))], False, id="planned just then"),
        pytest.param([planned("c/hourly", hours(2))], False, id="planned since"),
        pytest.param([planned("c/unknown", None)], False, id="nobody knows when"),
        pytest.param([planned("c/by-hand", None, scheduled=False)], True, id="nothing is planned for it"),
    ],
)
def test_a_dead_scheduler_plans_nothing_later_than_what_is_missing(others: list[Deployment], dead: bool) -> None:
    findings = unscheduled(*HOURLY, *others, ahead=("a/hourly", "b/hourly"))

    assert set(findings) == {"a/hourly", "b/hourly"}
    assert {finding.cause for finding in findings.values()} == {DEAD if dead else None}


@pytest.mark.parametrize("planned_ago", [None, timedelta(0)])
def test_what_has_nothing_ahead_rightly_shows_nothing(planned_ago: timedelta | None) -> None:
    new = planned("c/new", planned_ago, created=NOW)
    seen = observation(
        deployments=(*HOURLY, new), nothing_ahead=dict.fromkeys(("a/hourly", "b/hourly"), NOW), unplanned={"c/new"}
    )

    assert scheduler_is_dead(seen)
    assert not scheduler_is_dead(with_facts(seen, unplanned=frozenset()))


def test_one_deployment_does_not_show_that_the_scheduler_is_dead() -> None:
    assert unscheduled(HOURLY[0], ahead=("a/hourly",))["a/hourly"].cause is None
    assert not scheduler_is_dead(observation(nothing_ahead={}))


def test_deployments_that_are_gone_show_nothing() -> None:
    assert not scheduler_is_dead(observation(deployments=[], nothing_ahead={"a": NOW, "b": NOW}))
    assert unscheduled(ahead=("a", "b")) == {}
