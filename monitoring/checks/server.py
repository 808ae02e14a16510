"""server: it cannot be used, answers slowly, or one of its services (late marking, scheduler, events) does not work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from pydantic import Field

from monitoring.checks.base import Check
from monitoring.checks.facts.cases import Case
from monitoring.checks.facts.scheduler import scheduler_cause
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import Compared, Found, Verdict, finding_of, nothing, runs_text
from monitoring.model.fields import Hold, Span
from monitoring.model.finding import Cause, Finding, Subject
from monitoring.model.observation import EVENTS_DELAY, Observation
from monitoring.model.policy import ApiSettings
from monitoring.model.prefect import FlowRun
from monitoring.text.durations import humanized

#: Fewer answers do not show how fast a server is.
_MIN_ANSWERS = 5
_MAX_NAMED = 3


class Server(ApiSettings):
    """How the Prefect API is queried, and when something is wrong with the server."""

    hold: Hold = Field(
        timedelta(minutes=4),
        description="How long a problem of the server must last before it is an incident that sends notifications.",
    )
    slow_answer: Span = Field(timedelta(seconds=3), description="Median response time above which the server is slow.")
    clock_apart: Span = Field(
        timedelta(minutes=1), description="Difference allowed between the server's clock and the local one."
    )
    late_marking: Span = Field(
        timedelta(minutes=5), description="How long past its due time a run may still be called Scheduled."
    )
    events_missing: Span = Field(
        timedelta(minutes=15), description="How long runs may start and end without a single event arriving."
    )


#: Judges one part of the server's work.
Part = Callable[[Situation, Server], Verdict]


def cases(situation: Situation) -> Iterator[Case[Part]]:
    """The server as a whole if it cannot be used, which hides everything else; else each part of its work."""
    observation = situation.observation
    target, identity = observation.target, observation.identity

    def case(part: str, judge: Part, *deciding: str) -> Case[Part]:
        return Case(Subject(kind="server", id=f"{identity}/{part}", name=target), judge, deciding=deciding)

    if observation.server.state.problem is not None:
        yield Case(_whole(observation), _judge_use)
        return
    yield case("slow-answers", _judge_answers, "slow_answer")
    yield case("clock", _judge_clock, "clock_apart")
    yield case("late-marking", _judge_late_marking, "late_marking")
    yield Case(Subject(kind="scheduler", id=identity, name=target), _judge_scheduler, deciding=())
    yield case("events", _judge_events, "events_missing")


def judge(situation: Situation, part: Part, settings: Server) -> Verdict:
    """Judge one part of the server's work."""
    return part(situation, settings)


def server_finding(observation: Observation) -> Finding:
    """The finding about a server that cannot be used."""
    return finding_of(observation, "server", _whole(observation), _unusable(observation))


def _whole(observation: Observation) -> Subject:
    return Subject(kind="server", id=observation.identity, name=observation.target)


def _judge_use(situation: Situation, settings: Server) -> Verdict:
    return _unusable(situation.observation)


def _unusable(observation: Observation) -> Found:
    target, state = observation.target, observation.server.state
    problem = state.problem or ""
    return Found(
        [Compared("the server:", problem, "can be used")],
        severity="critical",
        summary=f"The Prefect server {target} cannot be used",
        observed=problem,
        expected=f"{state.api_url} responds, and its database is ready",
        since=observation.at,
        cause=Cause(kind="server", name=target, reason="unreachable"),
    )


def _judge_answers(situation: Situation, settings: Server) -> Verdict:
    vitals = situation.observation.server.vitals
    if vitals.answer_time is None or vitals.answers < _MIN_ANSWERS:
        return nothing("too few answers to show how fast it is", Compared("answers:", vitals.answers, _MIN_ANSWERS))
    seconds, limit = (f"{span.total_seconds():.1f} s" for span in (vitals.answer_time, settings.slow_answer))
    compared = Compared(f"median of {vitals.answers:,} answers:", seconds, limit)
    if vitals.answer_time <= settings.slow_answer:
        return nothing("it answers fast enough", compared)
    return Found(
        [compared],
        severity="warning",
        summary=f"{situation.observation.target}: its API answers slowly",
        observed=f"half of {vitals.answers:,} answers took more than {seconds}",
        expected=f"a median of at most {limit}",
        since=situation.now,
    )


def _judge_clock(situation: Situation, settings: Server) -> Verdict:
    offset = situation.observation.server.vitals.clock_offset
    if offset is None:
        return nothing("its clock is unknown")
    compared = Compared("clocks apart by", abs(offset), settings.clock_apart)
    if abs(offset) <= settings.clock_apart:
        return nothing("its clock is right", compared)
    apart = f"{humanized(abs(offset))} {'ahead of' if offset > timedelta(0) else 'behind'}"
    return Found(
        [compared],
        severity="warning",
        summary=f"{situation.observation.target}: its clock is {apart} the watchdog's",
        observed=f"the times in its answers are {apart} the clock of the machine that checks",
        expected=f"at most {humanized(settings.clock_apart)} apart",
        since=situation.now,
        evidence=["With different clocks, healthy runs look late, stuck or dead, and such runs look healthy."],
    )


def _judge_late_marking(situation: Situation, settings: Server) -> Verdict:
    """Judge the service that marks runs named Scheduled that were due 15 s ago (prefect/server/services/late_runs.py).

    It marks every such run, whatever is paused or full. It uses the server's clock and sees only existing rows: a run
    just created with a due time in the past waits until its next round.
    """
    observation, offset = situation.observation, situation.observation.server.vitals.clock_offset
    theirs = situation.now + offset if offset and abs(offset) > settings.clock_apart else situation.now
    due = {
        run.id: max(run.next_scheduled_start_time, run.state_timestamp)
        for run in observation.runs.active
        if run.state_type == "SCHEDULED" and run.state_name == "Scheduled" and run.next_scheduled_start_time
    }
    runs = sorted((run for run in observation.runs.active if run.id in due), key=lambda run: (due[run.id], run.id))
    if not runs:
        return nothing("no run that is due is named Scheduled")
    since = due[runs[0].id]
    compared = Compared(f"{runs[0].name}: due and named Scheduled for", theirs - since, settings.late_marking, since)
    unmarked = [run for run in runs if theirs - due[run.id] > settings.late_marking]
    if not unmarked:
        return nothing("no run has been named Scheduled for too long", compared)
    return Found(
        [compared],
        severity="warning",
        summary=f"{observation.target}: it does not mark late runs: {runs_text(len(unmarked))} by now",
        observed=f"{unmarked[0].name}: due for {humanized(theirs - since)}, still named Scheduled",
        expected=f"named Late within {humanized(settings.late_marking)} by the server's own service",
        since=since,
        run_ids=[run.id for run in unmarked],
        evidence=[
            "Automations that wait for late runs do not fire. The watchdog itself uses due times.",
            *(_named(run, observation) for run in unmarked[:_MAX_NAMED]),
        ],
    )


def _named(run: FlowRun, observation: Observation) -> str:
    deployment = observation.deployments.get(run.key)
    owner = f" of {deployment.name}" if deployment else ""
    return f"{run.name}{owner}: due {run.next_scheduled_start_time:%Y-%m-%d %H:%M} UTC, still Scheduled"


def _judge_scheduler(situation: Situation, settings: Server) -> Verdict:
    observation, idle = situation.observation, situation.observation.schedules.nothing_ahead
    compared = Compared("deployments with nothing scheduled ahead that should have runs:", len(idle))
    if not situation.scheduler_is_dead:
        return nothing("its scheduler creates runs, or nothing shows that it does not", compared)
    names = sorted(observation.deployments[key].name for key in idle if key in observation.deployments)
    count = f"{len(idle):,} deployments" if len(idle) != 1 else "1 deployment"
    return Found(
        [compared],
        severity="critical",
        summary=f"{observation.target}: its scheduler creates no runs: {count} will not run",
        observed=f"{count} with active schedules and nothing scheduled ahead",
        expected="runs scheduled ahead for every active schedule by the server's own service",
        since=min(idle.values()),
        cause=scheduler_cause(observation.target),
        evidence=[
            "Only the server's log shows why: look there for errors of its scheduler.",
            *names[:_MAX_NAMED],
        ],
    )


def _judge_events(situation: Situation, settings: Server) -> Verdict:
    vitals, now = situation.observation.server.vitals, situation.now
    newest, run = vitals.newest_event, vitals.unheard
    if run is None or run.end_time is None:
        return nothing("no run has ended since the newest event")
    ago = Compared(
        f"{run.name}: ended without an event, ago", now - run.end_time, settings.events_missing, run.end_time
    )
    if run.end_time > now - settings.events_missing:
        return nothing("its event may still come", ago)
    if newest and (newest > now - settings.events_missing or run.end_time <= newest + EVENTS_DELAY):
        return nothing("other events arrive", ago, Compared("newest event at", newest))
    seen = f"the newest event is from {newest:%Y-%m-%d %H:%M} UTC" if newest else "there is no event from the last day"
    return Found(
        [ago],
        severity="warning",
        summary=f"{situation.observation.target}: its events do not arrive",
        observed=f"{seen}; {run.name} ended {run.end_time:%Y-%m-%d %H:%M} UTC without one",
        expected=f"events of every run within {humanized(settings.events_missing)} of its end",
        since=newest or run.end_time,
        run_ids=[run.id],
        evidence=["Without events there are no heartbeats, so zombies cannot be detected, and no automation fires."],
    )


CHECK = Check(
    name="server",
    section=Server,
    about="How the Prefect API is queried.",
    heading="Server",
    predicate="do not work",
    cases=cases,
    judge=judge,
    deciding=lambda settings: ("slow_answer", "clock_apart", "late_marking", "events_missing"),
    role="cause",
    not_replayed="no history of the server's answers is kept",
    whole=True,
    shows_only_now=True,
)
