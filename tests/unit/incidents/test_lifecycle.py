from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.checks.registry import run_checks
from monitoring.history.ledger import fold
from monitoring.incidents.correlation import correlate
from monitoring.incidents.lifecycle import Moved, advance, still_known
from monitoring.model.finding import Finding
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Heartbeats, Observation, OwnRuns, Vitals
from monitoring.model.prefect import CHECK_FLOW, FlowRun
from tests.support.builders import NOW, deployment, hours, minutes, observation, policies, run


class Watch:
    """Checks that follow each other, with what is kept between them."""

    def __init__(self, **settings: Any) -> None:
        self.ledger = Ledger()
        self.incidents = Incidents()
        self.closed: tuple[Incident, ...] = ()
        self.policies = policies(**settings)

    def judged(self, seen: Observation) -> tuple[Finding, ...]:
        findings = correlate(run_checks(seen, self.ledger, self.policies), seen, self.ledger)
        return still_known(findings, self.incidents, seen, self.policies)

    def moved(self, findings: Iterable[Finding], seen: Observation, complete: bool = True) -> Moved:
        return advance(self.incidents, self.closed, findings, seen, self.ledger, self.policies, complete)

    def check(self, seen: Observation, complete: bool = True) -> Moved:
        self.ledger = fold(self.ledger, seen)
        moved = self.moved(self.judged(seen), seen, complete)
        self.incidents, self.closed = moved.incidents, (*moved.closed, *self.closed)
        return moved

    @property
    def open(self) -> Mapping[str, Incident]:
        return self.incidents.open

    def moves(self, seen: Observation, complete: bool = True) -> list[tuple[str, str]]:
        return [(move.step.to, move.step.reason) for move in self.check(seen, complete).transitions]


def at(offset: timedelta, *runs: FlowRun, **fields: Any) -> Observation:
    return observation(*runs, at=NOW + offset, **fields)


FAILED = run("FAILED", since=NOW - minutes(1))


def test_a_problem_opens_once_and_stays_open() -> None:
    watch = Watch()

    assert watch.moves(at(minutes(0), FAILED)) == [("firing", "found")]
    assert watch.moves(at(minutes(5))) == []
    (incident,) = watch.open.values()
    assert incident.opened_at == NOW


UNSCHEDULED = deployment(scheduled=False)


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        (at(minutes(5), run("COMPLETED", "good", since=NOW + minutes(1))), "succeeded"),
        (at(minutes(5), deployments=[deployment(paused=True, scheduled=False)]), "paused-while-failing"),
        (
            at(
                minutes(5),
                run("COMPLETED", "good", since=NOW + minutes(1)),
                deployments=[deployment(paused=True, scheduled=False)],
            ),
            "succeeded",
        ),
        (at(minutes(5), deployments=[]), "deleted"),
        (at(hours(25), deployments=[UNSCHEDULED]), "expired"),
        (at(minutes(5), run("CRASHED", "worse", since=NOW + minutes(1))), "cleared"),
    ],
)
def test_a_failure_ends_with_a_reason(later: Observation, reason: str) -> None:
    watch = Watch()
    watch.check(at(minutes(0), FAILED))

    resolved = [move for move in watch.check(later).transitions if move.step.to == "resolved"]

    assert [(move.step.reason, move.incident.resolution, move.step.at) for move in resolved] == [
        (reason, reason, later.at)
    ]


@pytest.mark.parametrize(("paused", "reason"), [(True, "paused-while-failing"), (False, "cleared")])
def test_late_runs_that_a_pause_has_deleted_did_not_start(paused: bool, reason: str) -> None:
    watch = Watch()
    watch.check(at(minutes(0), run("SCHEDULED", state_name="Late", expected_start_time=NOW - hours(1))))

    assert watch.moves(at(minutes(5), deployments=[deployment(paused=paused)])) == [("resolved", reason)]


def test_a_check_that_was_turned_off_says_so() -> None:
    watch = Watch()
    watch.check(at(minutes(0), FAILED))
    watch.policies = policies(failed={"enabled": False})

    assert watch.moves(at(minutes(5))) == [("resolved", "disabled")]


def test_what_the_watchdog_found_of_itself_ends_when_that_is_turned_off() -> None:
    ours = deployment(f"{CHECK_FLOW}/check")
    failed = tuple(run("FAILED", f"run-{n}", of=ours.id, since=NOW - minutes(9 - n)) for n in range(2))
    watch = Watch()
    seen = at(minutes(0), own=OwnRuns(deployments=(ours,), ended=failed))
    assert watch.moves(seen) == [("firing", "found")]
    watch.policies = policies(watchdog={"enabled": False})

    # Then they are not looked at.
    assert watch.moves(at(minutes(5))) == [("resolved", "disabled")]


def test_what_waits_and_goes_on_is_cleared() -> None:
    watch = Watch()
    late = run("SCHEDULED", next_scheduled_start_time=NOW - hours(1))

    assert watch.moves(at(minutes(0), late)) == [("firing", "found")]
    assert watch.moves(at(minutes(5))) == [("resolved", "cleared")]


def test_incomplete_coverage_opens_and_never_resolves() -> None:
    watch = Watch()
    late = run("SCHEDULED", "late", next_scheduled_start_time=NOW - hours(1))

    assert watch.moves(at(minutes(0), FAILED), complete=False) == [("firing", "found")]
    assert watch.moves(at(minutes(5), late), complete=False) == [("firing", "found")]
    assert watch.moves(at(minutes(9)), complete=False) == []
    assert len(watch.open) == 2


def test_information_opens_nothing() -> None:
    watch = Watch()

    assert watch.moves(at(minutes(0), run("RUNNING", since=NOW - hours(3)))) == []


def test_a_lost_memory_resolves_nothing() -> None:
    watch = Watch()
    watch.check(at(minutes(0), FAILED))

    moved = advance(watch.incidents, (), (), at(minutes(5)), Ledger(), watch.policies, complete=True)

    assert moved.transitions == ()
    assert moved.open.keys() == watch.open.keys()


def test_a_problem_that_can_no_longer_be_judged_stays_one() -> None:
    watch = Watch()
    dead = run("RUNNING", since=NOW - timedelta(days=7))
    silent = Heartbeats(count=9, first=NOW - timedelta(days=7), last=NOW - timedelta(days=6))
    (opened,) = watch.check(at(minutes(0), dead, heartbeats={"run": silent})).open.values()

    forgotten = at(minutes(5), dead)
    findings = still_known(
        run_checks(forgotten, watch.ledger, watch.policies), watch.incidents, forgotten, watch.policies
    )

    assert [(f.check, f.severity, f.since) for f in findings] == [("zombie", "critical", opened.finding.since)]
    assert (
        advance(watch.incidents, (), findings, forgotten, watch.ledger, watch.policies, complete=True).transitions == ()
    )


def test_a_zombie_stays_one_while_no_events_arrive() -> None:
    watch = Watch()
    dead, beats = run("RUNNING", since=NOW - hours(2)), Heartbeats(count=1, first=NOW, last=NOW - minutes(10))
    (opened,) = watch.check(at(minutes(0), dead, heartbeats={"run": beats})).open.values()

    deaf = at(hours(1), dead, heartbeats={"run": beats}, vitals=Vitals(unheard=run("COMPLETED", since=NOW)))
    findings = watch.judged(deaf)

    assert [(f.severity, f.unknown) for f in findings if f.check == "zombie"] == [("critical", True)]
    assert watch.moved(findings, deaf).open.keys() == {opened.finding.fingerprint}


def test_nothing_is_saved_while_only_the_clock_moves() -> None:
    watch = Watch()
    late = run("SCHEDULED", next_scheduled_start_time=NOW - hours(1))
    before = watch.check(at(minutes(0), late)).open

    assert watch.check(at(minutes(5), late)).open == before


def test_an_incident_keeps_a_hundred_ids() -> None:
    watch = Watch()
    late = [run("SCHEDULED", f"run-{n}", next_scheduled_start_time=NOW - hours(1)) for n in range(150)]
    (incident,) = watch.check(at(minutes(0), *late)).open.values()

    assert (len(incident.finding.flow_run_ids), incident.finding.flow_run_count) == (100, 150)


EVENTS = st.lists(st.tuples(st.sampled_from(["FAILED", "CRASHED", "COMPLETED", None]), st.booleans()), max_size=20)


@given(EVENTS)
def test_whatever_happens_each_incident_opens_once_and_ends_once(events: list[tuple[Any, bool]]) -> None:
    watch = Watch()
    running: set[str] = set()
    now: datetime = NOW
    for number, (state, complete) in enumerate(events):
        now = NOW + minutes(5 * number)
        runs = [run(state, f"run-{number}", since=now - minutes(1))] if state else []
        moved = watch.check(observation(*runs, at=now), complete)
        for move in moved.transitions:
            fingerprint = move.incident.finding.fingerprint
            if move.step.to == "updated":
                assert fingerprint in running
            elif move.step.to == "firing":
                assert fingerprint not in running
                running.add(fingerprint)
            else:
                assert complete
                running.remove(fingerprint)
        assert running == set(moved.open)
    last = next((state for state, _ in reversed(events) if state), None)
    if last in ("FAILED", "CRASHED"):
        assert f"prod/{last.lower()}/deployment/etl/nightly" in running


def test_an_incident_of_a_deployment_that_its_owners_take_out_of_the_watch_ends_as_disabled() -> None:
    watch = Watch()
    watch.check(observation(run("FAILED")))
    off = observation(run("FAILED"), deployments=[deployment(tags=("watchdog:off",))])

    assert [(move.step.to, move.step.reason) for move in watch.check(off).transitions] == [("resolved", "disabled")]


def test_owners_say_who_is_responsible_and_how_bad_it_is() -> None:
    tags = ("watchdog:owner=data", "watchdog:severity=critical")
    (moved,) = Watch().check(observation(run("FAILED"), deployments=[deployment(tags=tags)])).transitions

    assert (moved.incident.finding.owner, moved.incident.finding.severity) == ("data", "critical")
