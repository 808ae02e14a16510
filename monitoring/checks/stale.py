"""stale: a deployment has not succeeded within its freshness window.

The window is configured, or comes from the deployment's own schedules: a number of scheduled times may pass without a
success. A success that may have been lost to the server's retention makes freshness unknown, not stale.
A deployment without schedules that ran regularly is expected to continue; its findings are information.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.streaks import paused_or_succeeded
from monitoring.checks.findings import MAX_COMPARED, Compared, Found, Verdict, nothing, utc
from monitoring.history import cadence
from monitoring.model.fields import CheckSettings, Count, Span
from monitoring.model.finding import Finding
from monitoring.model.incident import ResolutionReason
from monitoring.model.ledger import EndedRun, Record
from monitoring.model.observation import MAX_MISSED
from monitoring.model.policy import BasePolicy
from monitoring.model.prefect import Deployment, FlowRun, ScheduleParameters, StateType
from monitoring.text.durations import humanized

#: How runs should end: ``BasePolicy.expect``.
Expect = Literal["success", "failure"]


class Stale(CheckSettings):
    """When a deployment has not succeeded for too long."""

    within: Span | None = Field(
        None, description="A success is expected within this time. Null: derived from the deployment's own schedules."
    )
    missed_fires: Count = Field(
        2, ge=1, description="Scheduled times that may pass without a success if `within` is not set."
    )
    grace: Span = Field(
        timedelta(minutes=30), description="Time added after the last of those scheduled times and the usual run time."
    )
    rhythm: bool = Field(
        True, description="Whether a deployment without schedules that ran regularly is expected to continue (info)."
    )


def judge(situation: Situation, deployment: Deployment, settings: Stale) -> Verdict:
    """Judge whether a deployment has succeeded recently enough.

    Where schedules have parameters of their own, each is judged by itself, too: the runs of one may never come while
    those of another succeed. A configured ``within`` is for the deployment as a whole.
    """
    whole = _judge_whole(situation, deployment, settings)
    if isinstance(whole, Found) or settings.within is not None:
        return whole
    each = {own.name: _judge_schedule(situation, deployment, own, settings) for own in deployment.schedule_parameters}
    found = {name: verdict for name, verdict in each.items() if isinstance(verdict, Found)}
    if not found:
        return whole
    name, worst = min(found.items(), key=lambda entry: entry[1].since)
    others = ", ".join(other for other in found if other != name)
    return replace(worst, observed=f"{worst.observed}; none with {others}, either") if others else worst


def _judge_schedule(
    situation: Situation, deployment: Deployment, own: ScheduleParameters, settings: Stale
) -> Verdict | None:
    """Judge the runs with the parameters of a schedule; None if they are not known for long enough."""
    record, expect = situation.record(deployment), situation.policy(deployment).expect
    known = record.by_parameters.get(own.key)
    if known is None or known.known_since is None or len(own.due) < settings.missed_fires:
        return None
    since, wanted = own.due[0], _wanted(situation.policy(deployment))
    # What was scheduled before may have been scheduled otherwise.
    counted = max(time for time in (known.known_since, record.scheduled_since) if time)
    last, skipped = _newest_fresh((known.last_success, known.last_ended), expect), known.last_skipped
    if since < counted or any(run.ended >= since for run in (last, skipped) if run):
        return None
    running = (deployment.parameters_of(run) for run in situation.active(deployment, "RUNNING"))
    if known.last_ended is None and own in running:
        # The first of them: nothing shows how long one takes.
        return None
    seen = f"last {wanted} {utc(last.ended)}" if last else f"no {wanted} since {utc(known.known_since)} or earlier"
    compared = [Compared(f"with {own.name}, should have led to one by now:", due) for due in own.due[-MAX_COMPARED:]]
    return Found(
        compared,
        severity="critical",
        run_ids=[last.id] if last else [],
        run_count=0,
        summary=f"{deployment.name}: no {wanted} with {own.name} since {utc(last.ended if last else since)}",
        observed=f"with {own.name}: {seen}; it was due at {' and '.join(utc(due) for due in own.due[-MAX_COMPARED:])}",
        expected=_expected(f"{wanted} with {own.name}", settings, since),
        since=last.ended if last else since,
    )


def _judge_whole(situation: Situation, deployment: Deployment, settings: Stale) -> Verdict:
    """Judge the runs of a deployment, with whatever parameters."""
    observation, record, policy = situation.observation, situation.record(deployment), situation.policy(deployment)
    since = success_due_since(deployment, settings, situation.now)
    last = last_fresh(record, policy.expect, skips=settings.within is None)
    wanted = _wanted(policy)
    # A deployment owes nothing from before it was created.
    limit = since if since and since >= deployment.created else None
    compared = [
        Compared(f"last {wanted} at", last.ended, limit) if last else Compared(f"last {wanted}:", "none", limit)
    ]
    compared += (Compared("should have led to one by now:", due) for due in deployment.due[-MAX_COMPARED:])
    if deployment.paused:
        return nothing("the deployment is paused", *compared)
    if since is None:
        return _judge_cadence(situation, deployment, record, settings, compared)
    resumed = observation.schedules.resumed.get(deployment.key)
    if last and last.ended >= since:
        return nothing(f"the last {wanted} is newer", *compared)
    if resumed and since < resumed and (last or deployment.created <= since):
        return _may_have_been_paused(compared, deployment, resumed, last)
    if settings.within is not None and record.resumed_at and since < record.resumed_at:
        return nothing(f"it was paused until {utc(record.resumed_at)}: the time from then on counts", *compared)
    scheduled_since = record.scheduled_since
    if settings.within is None and scheduled_since and since < scheduled_since:
        return nothing(f"it has had these schedules only since {utc(scheduled_since)}", *compared)
    if last:
        return _found(compared, situation, deployment, settings, last, since)
    running = situation.active(deployment, "RUNNING")
    if settings.within is None and running and record.last_ended is None:
        return _first_run(compared, deployment, min(running, key=lambda run: run.start_time or run.created))
    if not record.success_searched:
        return nothing("older history was not searched", *compared)
    if deployment.created > since:
        return nothing(f"it was created later, at {utc(deployment.created)}", *compared)
    oldest = observation.history.oldest_success
    if oldest and oldest <= since:
        return _found(compared, situation, deployment, settings, None, since)
    if observation.coverage.has("oldest-run"):
        return Found(
            compared,
            severity="info",
            summary=f"{deployment.name}: freshness cannot be judged: the server no longer has runs that old",
            observed=f"no {wanted} among the runs that the server still has",
            expected=_expected(wanted, settings, since),
            since=deployment.created,
            unknown=True,
        )
    return nothing("it is unknown how far back the server has runs", *compared)


def fresh_states(expect: Expect) -> tuple[StateType, ...]:
    """The states in which a run ends that counts as fresh: where failures are expected, a failed run does too."""
    return ("COMPLETED", "FAILED") if expect == "failure" else ("COMPLETED",)


def last_fresh(record: Record, expect: Expect, *, skips: bool) -> EndedRun | None:
    """The newest run in the ledger that counts as fresh; ``skips`` if one that its own code cancelled does, too."""
    fresh = _newest_fresh((record.last_success, record.last_failed, record.last_ended), expect)
    known = [run for run in (fresh, record.last_skipped if skips else None) if run]
    return max(known, key=lambda run: run.ended, default=None)


def _newest_fresh(kept: Iterable[EndedRun | None], expect: Expect) -> EndedRun | None:
    known = [run for run in kept if run and run.state_type in fresh_states(expect)]
    return max(known, key=lambda run: run.ended, default=None)


def success_due_since(deployment: Deployment, settings: Stale, now: datetime) -> datetime | None:
    """The time after which a deployment should have succeeded; None if there is no such time."""
    if settings.within is not None:
        return now - settings.within if deployment.kind == "deployment" else None
    return deployment.due[0] if len(deployment.due) >= settings.missed_fires else None


def _judge_cadence(
    situation: Situation, deployment: Deployment, record: Record, settings: Stale, compared: Sequence[Compared]
) -> Verdict:
    """Judge a deployment without schedules by how regularly it ran until now."""
    if deployment.scheduled:
        return nothing("too few scheduled times have passed", *compared)
    kept, last = _cadence(deployment, record) if settings.rhythm else None, record.last_success
    if kept is None or last is None:
        return nothing("it has no cadence that shows how often it should succeed", *compared)
    silence = situation.now - last.ended
    compared = [*compared, Compared(f"its last {kept.runs} runs came every", kept.gap, kept.longest)]
    if silence <= kept.longest:
        return nothing("it keeps its cadence", *compared)
    if silence > kept.lasted:
        return nothing("its cadence has ended", *compared)
    return Found(
        compared,
        severity="info",
        run_ids=[last.id],
        run_count=0,
        summary=f"{deployment.name}: no success for {humanized(silence)}, usually one every {humanized(kept.gap)}",
        observed=f"last success {utc(last.ended)}, {humanized(silence)} ago",
        expected=f"one within {humanized(kept.longest)}, as for its last {kept.runs} runs; it has no active schedule",
        since=last.ended,
    )


def _cadence(deployment: Deployment, record: Record) -> cadence.Cadence | None:
    """The cadence of a deployment without schedules; None if it has schedules or no cadence."""
    if deployment.kind != "deployment" or deployment.inactive_since:
        return None
    # Earlier runs may come from schedules that it had.
    began = record.scheduled_since.timestamp() if record.scheduled_since else 0
    return cadence.learned(end for end, _ in record.run_times.recent if end >= began)


def _found(
    compared: Sequence[Compared],
    situation: Situation,
    deployment: Deployment,
    settings: Stale,
    last: EndedRun | None,
    since: datetime,
) -> Found:
    wanted = _wanted(situation.policy(deployment))
    seen = f"last {wanted} {utc(last.ended)}" if last else f"no {wanted} ever"
    began = last.ended if last else deployment.created
    if missed := situation.observation.schedules.missed.get(deployment.key):
        count = f"at least {missed.count:,}" if missed.count >= MAX_MISSED else f"{missed.count:,}"
        times = "scheduled time" if missed.count == 1 else "scheduled times"
        seen = f"{seen}; {count} {times} missed since {utc(missed.first)}"
    return Found(
        compared,
        severity="critical",
        run_ids=[last.id] if last else [],
        run_count=0,
        summary=f"{deployment.name}: no {wanted} since {'' if last else 'it was created at '}{utc(began)}",
        observed=seen,
        expected=_expected(wanted, settings, since),
        since=began,
        cause=situation.stale_cause(deployment),
    )


def _may_have_been_paused(
    compared: Sequence[Compared], deployment: Deployment, resumed: datetime, last: EndedRun | None
) -> Found:
    """Nothing was scheduled before the last change: whether somebody wanted that is unknown."""
    return Found(
        compared,
        severity="info",
        run_count=0,
        summary=f"{deployment.name}: freshness cannot be judged: it may have been paused until {utc(resumed)}",
        observed=f"no run of it was due before it was changed at {utc(resumed)}",
        expected="a success from then on, as usual",
        since=last.ended if last else deployment.created,
        unknown=True,
    )


def _first_run(compared: Sequence[Compared], deployment: Deployment, run: FlowRun) -> Found:
    """None of its runs has ended yet, so nothing shows how long one takes."""
    began = run.start_time or run.created
    return Found(
        compared,
        severity="info",
        run_ids=[run.id],
        summary=f"{deployment.name}: freshness cannot be judged: its first run is still running",
        observed=f"{run.name} has been running since {utc(began)}, and no run is known to have ended before",
        expected="a first run that ends, which shows how long one takes",
        since=began,
        unknown=True,
    )


def _wanted(policy: BasePolicy) -> str:
    return "success or expected failure" if policy.expect == "failure" else "success"


def _expected(wanted: str, settings: Stale, since: datetime) -> str:
    if settings.within is not None:
        return f"a {wanted} within {humanized(settings.within)}"
    times = "1 scheduled time" if settings.missed_fires == 1 else f"{settings.missed_fires} scheduled times"
    return f"a {wanted} since {utc(since)}: {times}, its usual run time and {humanized(settings.grace)} of grace passed"


def _resolution(
    situation: Situation, deployment: Deployment, finding: Finding, settings: Stale
) -> ResolutionReason | None:
    return paused_or_succeeded(situation, deployment) or "cleared"


CHECK = Check(
    name="stale",
    section=Stale,
    about="Deployments without a recent success.",
    heading="Stale: no recent success",
    predicate="had no recent success",
    cases=deployments,
    judge=judge,
    deciding=lambda settings: ("within",) if settings.within is not None else ("missed_fires", "grace"),
    role="waits",
    explained_by=("zombie", "stuck", "late", "crashed", "failed", "unscheduled"),
    resolution=_resolution,
    quieted_by=("watchdog:fresh-within={}", "if a success so often is enough"),
    digest_heading="What is stale",
)
