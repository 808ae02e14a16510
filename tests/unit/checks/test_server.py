"""server: what it does by itself, each at its threshold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.checks import server
from monitoring.checks.registry import run_checks
from monitoring.model.finding import Cause, Finding
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation, ServerState, Vitals
from monitoring.model.prefect import FlowRun
from tests.support.builders import NOW, deployment, found, hours, minutes, observation, policies, run, with_facts

SECOND = timedelta(seconds=1)
DEFAULTS = {"late_marking": "5m", "events_missing": "15m"}


def checked(seen: Observation, **settings: Any) -> list[Finding]:
    """What this check alone finds, by the settings' defaults."""
    return list(run_checks(seen, Ledger(), policies(server={**DEFAULTS, **settings}), [server.CHECK]))


def only(seen: Observation, **settings: Any) -> Finding:
    (finding,) = checked(seen, **settings)
    return finding


def with_vitals(**vitals: Any) -> Observation:
    return observation(vitals=Vitals.model_validate(vitals))


def test_a_healthy_server_is_no_finding() -> None:
    late = run("SCHEDULED", state_name="Late", next_scheduled_start_time=NOW - hours(1))
    vitals = Vitals(answer_time=SECOND, answers=30, clock_offset=SECOND, newest_event=NOW - SECOND)

    assert checked(observation(late, vitals=vitals)) == []


@pytest.mark.parametrize(
    ("seconds", "answers", "slow"), [(3.0, 5, False), (3.1, 5, True), (60.0, 4, False), (3.1, 5_000, True)]
)
def test_slow_answers(seconds: float, answers: int, slow: bool) -> None:
    seen = with_vitals(answer_time=timedelta(seconds=seconds), answers=answers)

    assert bool(checked(seen)) is slow
    assert checked(seen, slow_answer="2m") == []
    if slow:
        finding = only(seen)
        assert (finding.fingerprint, finding.severity) == ("prod/server/server/prod/slow-answers", "warning")
        assert finding.observed == f"half of {answers:,} answers took more than 3.1 s"


@pytest.mark.parametrize(
    ("offset", "summary"),
    [
        (timedelta(0), None),
        (minutes(1), None),
        (-minutes(1), None),
        (minutes(1) + SECOND, "prod: its clock is 1 min 1 s ahead of the watchdog's"),
        (-minutes(1) - SECOND, "prod: its clock is 1 min 1 s behind the watchdog's"),
        (hours(2), "prod: its clock is 2 h ahead of the watchdog's"),
    ],
)
def test_the_clock(offset: timedelta, summary: str | None) -> None:
    assert [finding.summary for finding in checked(with_vitals(clock_offset=offset))] == ([summary] if summary else [])


@pytest.mark.parametrize("state_name", ["Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot", "Resuming"])
@pytest.mark.parametrize(("late", "dead"), [(minutes(5), False), (minutes(5) + SECOND, True)])
def test_only_what_is_called_scheduled_should_have_been_marked(state_name: str, late: timedelta, dead: bool) -> None:
    due = NOW - late
    waiting = run("SCHEDULED", state_name=state_name, next_scheduled_start_time=due, since=NOW - hours(3))

    assert bool(checked(observation(waiting))) is (dead and state_name == "Scheduled")


def test_a_run_that_was_just_made_for_the_past_waits_for_its_turn() -> None:
    made = run("SCHEDULED", next_scheduled_start_time=NOW - hours(9), since=NOW - minutes(5))
    again = made.model_copy(update={"state_timestamp": NOW - minutes(5) - SECOND})

    assert checked(observation(made)) == []
    assert only(observation(again)).since == NOW - minutes(5) - SECOND


@pytest.mark.parametrize(("offset", "dead"), [(-hours(1), False), (-minutes(1), True), (hours(1), True)])
def test_late_marking_goes_by_the_servers_clock(offset: timedelta, dead: bool) -> None:
    waiting = run("SCHEDULED", next_scheduled_start_time=NOW - minutes(20), since=NOW - hours(3))
    seen = observation(waiting, vitals=Vitals(clock_offset=offset))

    assert ("prod/server/server/prod/late-marking" in [finding.fingerprint for finding in checked(seen)]) is dead


def test_unmarked_runs_are_one_finding_that_counts_them() -> None:
    waiting = [
        run("SCHEDULED", f"run-{n}", next_scheduled_start_time=NOW - minutes(6 + n), since=NOW - hours(9))
        for n in range(300)
    ]
    finding = only(observation(*waiting))

    assert finding.summary == "prod: it does not mark late runs: 300 runs by now"
    assert (finding.flow_run_count, finding.flow_run_ids[0]) == (300, "run-299")
    assert finding.since == NOW - minutes(305)
    assert finding.evidence[1] == "name of run-299 of etl/nightly: due 2026-11-23 06:55 UTC, still Scheduled"


def test_a_dead_scheduler_is_one_problem_of_the_server() -> None:
    names = ["etl/a", "etl/b", "etl/c"]
    seen = observation(
        deployments=[deployment(name) for name in names],
        nothing_ahead={name: NOW - minutes(20 + n) for n, name in enumerate(names)},
    )
    finding = only(seen)

    assert (finding.fingerprint, finding.severity) == ("prod/server/scheduler/prod", "critical")
    assert finding.cause == Cause(kind="scheduler", name="prod", reason="not-scheduling")
    assert finding.summary == "prod: its scheduler creates no runs: 3 deployments will not run"
    assert finding.since == NOW - minutes(22)
    symptoms = [other for other in found(seen) if other.check == "unscheduled"]
    assert {other.symptom_of for other in symptoms} == {finding.fingerprint}


def test_one_deployment_without_runs_is_no_dead_scheduler() -> None:
    both = [deployment("etl/a"), deployment("etl/b")]

    assert checked(observation(deployments=both, nothing_ahead={"etl/a": NOW - minutes(20)})) == []


def unheard(ago: timedelta) -> FlowRun:
    return run("COMPLETED", since=NOW - ago)


@pytest.mark.parametrize(
    ("newest", "ended", "missing"),
    [
        (hours(1), minutes(15), True),
        (hours(1), minutes(15) - SECOND, False),
        # What an event tells of may be a little younger than the event.
        (minutes(20) + minutes(1), minutes(20), False),
        (minutes(20) + minutes(1) + SECOND, minutes(20), True),
        (minutes(14), minutes(20), False),
        (None, hours(2), True),
        (None, None, False),
        (hours(1), None, False),
    ],
)
def test_events_that_do_not_arrive(newest: timedelta | None, ended: timedelta | None, missing: bool) -> None:
    seen = with_vitals(
        newest_event=NOW - newest if newest else None, unheard=unheard(ended) if ended is not None else None
    )

    assert bool(checked(seen)) is missing
    if missing:
        finding = only(seen)
        assert (finding.fingerprint, finding.severity) == ("prod/server/server/prod/events", "warning")
        assert "ended 2026-11-23" in finding.observed
        assert "heartbeats" in finding.evidence[0]


def test_everything_at_once_is_distinguished_and_an_unreachable_server_hides_it() -> None:
    names = ["etl/a", "etl/b"]
    late = run("SCHEDULED", of="etl/a", next_scheduled_start_time=NOW - hours(1), since=NOW - hours(9))
    seen = observation(
        late,
        deployments=[deployment(name) for name in names],
        nothing_ahead=dict.fromkeys(names, NOW - minutes(20)),
        vitals=Vitals(answer_time=hours(1), answers=9, clock_offset=hours(9), unheard=unheard(hours(1))),
    )
    assert len({finding.fingerprint for finding in checked(seen)}) == 5

    gone = with_facts(seen, state=ServerState(api_url="http://api.example/api", problem="no answer"))
    assert [finding.fingerprint for finding in checked(gone)] == ["prod/server/server/prod"]


def test_another_name_for_the_server_changes_no_fingerprint() -> None:
    waiting = run("SCHEDULED", since=NOW - hours(1), state_name="Scheduled")
    seen = observation(waiting, vitals=Vitals(clock_offset=minutes(10), newest_event=NOW))
    down = with_facts(seen, state=ServerState(api_url="http://api.example/api", problem="no answer"))
    for case in (seen, down):
        before, after = (
            checked(case.model_copy(update={"target": name, "target_id": "0a1b2c3d"})) for name in ("prod", "main")
        )
        assert before
        assert [(f.fingerprint, f.subject.id) for f in before] == [(f.fingerprint, f.subject.id) for f in after]
        assert all(finding.fingerprint.startswith("0a1b2c3d/") for finding in before)
        assert {finding.subject.name for finding in after} == {"main"}
