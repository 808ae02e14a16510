"""server: it cannot be used, or what it does by itself (answering, marking, scheduling, telling) does not work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from monitoring.checks.findings import place_finding, runs_text
from monitoring.checks.unscheduled import scheduler_is_dead
from monitoring.config.policy import Policies
from monitoring.config.server_settings import Server
from monitoring.model.finding import Cause, Finding, Subject, fingerprint
from monitoring.model.ledger import Ledger
from monitoring.model.observation import EVENTS_DELAY, Observation
from monitoring.model.prefect import FlowRun
from monitoring.text.durations import spoken

#: Fewer answers say nothing of how fast a server is.
_MIN_ANSWERS = 5
_MOST_NAMED = 3


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find one critical thing when the server cannot be used: everything else is hidden behind it. Else its faults."""
    if observation.server.state.problem is not None:
        yield server_finding(observation)
        return
    settings = policies.config.server
    yield from _slow_answers(observation, settings)
    yield from _clock_apart(observation, settings)
    yield from _late_marking(observation, settings)
    yield from _scheduling(observation)
    yield from _events_missing(observation, settings)


def server_finding(observation: Observation) -> Finding:
    """The finding about a server that cannot be used."""
    server = observation.server
    return Finding(
        fingerprint=fingerprint(observation.target, "server", "server", observation.target),
        check="server",
        severity="critical",
        subject=Subject(kind="server", id=observation.target, name=observation.target),
        summary=f"The Prefect server {observation.target} cannot be used",
        observed=server.state.problem or "",
        expected=f"{server.state.api_url} answers, and its database is ready",
        since=observation.at,
        url=server.state.ui_url,
        cause=Cause(kind="server", name=observation.target, reason="unreachable"),
    )


def _slow_answers(observation: Observation, settings: Server) -> Iterator[Finding]:
    vitals = observation.server.vitals
    if vitals.answer_time is None or vitals.answers < _MIN_ANSWERS or vitals.answer_time <= settings.slow_answer:
        return
    yield _finding(
        observation,
        "slow-answers",
        summary="its API answers slowly",
        observed=f"half of {vitals.answers:,} answers took more than {vitals.answer_time.total_seconds():.1f} s",
        expected=f"a median of at most {settings.slow_answer.total_seconds():.1f} s",
        since=observation.at,
    )


def _clock_apart(observation: Observation, settings: Server) -> Iterator[Finding]:
    offset = observation.server.vitals.clock_offset
    if offset is None or abs(offset) <= settings.clock_apart:
        return
    apart = f"{spoken(abs(offset))} {'ahead of' if offset > timedelta(0) else 'behind'}"
    yield _finding(
        observation,
        "clock",
        summary=f"its clock is {apart} the watchdog's",
        observed=f"its answers bear times that are {apart} the clock of the machine that checks",
        expected=f"at most {spoken(settings.clock_apart)} apart",
        since=observation.at,
        evidence=["With the clocks apart, runs look late, stuck or dead that are not, and the other way round."],
    )


def _late_marking(observation: Observation, settings: Server) -> Iterator[Finding]:
    """A service marks what is called Scheduled and was due 15 s ago (prefect/server/services/late_runs.py).

    It exempts nothing else, whatever is paused or full. It goes by the server's clock, and by rows that are there: a
    run that was just made with a due time in the past waits for its turn.
    """
    offset = observation.server.vitals.clock_offset
    theirs = observation.at + offset if offset and abs(offset) > settings.clock_apart else observation.at
    should_be_marked = {
        run.id: max(run.next_scheduled_start_time, run.state_timestamp)
        for run in observation.runs.active
        if run.state_type == "SCHEDULED" and run.state_name == "Scheduled" and run.next_scheduled_start_time
    }
    unmarked = sorted(
        (run for run in observation.runs.active if run.id in should_be_marked),
        key=lambda run: (should_be_marked[run.id], run.id),
    )
    unmarked = [run for run in unmarked if theirs - should_be_marked[run.id] > settings.late_marking]
    if not unmarked:
        return
    since = should_be_marked[unmarked[0].id]
    yield _finding(
        observation,
        "late-marking",
        summary=f"it does not mark late runs, {runs_text(len(unmarked))} by now",
        observed=f"{unmarked[0].name}: due for {spoken(theirs - since)}, and still called Scheduled",
        expected=f"called Late within {spoken(settings.late_marking)}, by the server's own service",
        since=since,
        runs=unmarked,
        evidence=[
            "Automations that wait for late runs do not fire. The watchdog itself goes by due times.",
            *(_named(run, observation) for run in unmarked[:_MOST_NAMED]),
        ],
    )


def _named(run: FlowRun, observation: Observation) -> str:
    deployment = observation.deployments.get(run.key)
    whose = f" of {deployment.name}" if deployment else ""
    return f"{run.name}{whose}: due {run.next_scheduled_start_time:%Y-%m-%d %H:%M} UTC, still Scheduled"


def _scheduling(observation: Observation) -> Iterator[Finding]:
    if not scheduler_is_dead(observation):
        return
    idle = observation.schedules.nothing_ahead
    since = min(idle.values())
    names = sorted(observation.deployments[key].name for key in idle if key in observation.deployments)
    count = f"{len(idle):,} deployments" if len(idle) != 1 else "1 deployment"
    yield place_finding(
        observation,
        "server",
        Subject(kind="scheduler", id=observation.target, name=observation.target),
        severity="critical",
        summary=f"{observation.target}: its scheduler makes no runs, {count} will not run",
        observed=f"{count} with active schedules and nothing scheduled ahead",
        expected="runs scheduled ahead for every active schedule, by the server's own service",
        since=since,
        url=observation.server.state.ui_url,
        cause=Cause(kind="scheduler", name=observation.target, reason="not-scheduling"),
        evidence=[
            "Only the server's log says why: look there for errors of its scheduler.",
            *names[:_MOST_NAMED],
        ],
    )


def _events_missing(observation: Observation, settings: Server) -> Iterator[Finding]:
    newest, run = observation.server.vitals.newest_event, observation.server.vitals.unheard
    if run is None or run.end_time is None or run.end_time > observation.at - settings.events_missing:
        return
    if newest and (newest > observation.at - settings.events_missing or run.end_time <= newest + EVENTS_DELAY):
        return
    seen = f"the newest event is of {newest:%Y-%m-%d %H:%M} UTC" if newest else "there is no event of the last day"
    yield _finding(
        observation,
        "events",
        summary="its events do not arrive",
        observed=f"{seen}; {run.name} ended {run.end_time:%Y-%m-%d %H:%M} UTC without one",
        expected=f"events of every run within {spoken(settings.events_missing)} of its end",
        since=newest or run.end_time,
        runs=[run],
        evidence=["Without events there are no heartbeats, so dead runs cannot be told, and no automation fires."],
    )


def _finding(
    observation: Observation,
    what: str,
    *,
    summary: str,
    observed: str,
    expected: str,
    since: datetime,
    runs: Sequence[FlowRun] = (),
    evidence: Sequence[str] = (),
) -> Finding:
    target = observation.target
    return place_finding(
        observation,
        "server",
        Subject(kind="server", id=f"{target}/{what}", name=target),
        severity="warning",
        summary=f"{target}: {summary}",
        observed=observed,
        expected=expected,
        since=since,
        url=observation.server.state.ui_url,
        run_ids=[run.id for run in runs],
        evidence=evidence,
    )
