"""Whether the latest ended run of a deployment failed or crashed: both are judged alike, but never merged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Literal

from pydantic import Field

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import Compared, Found, Verdict, nothing, runs_text
from monitoring.failures.error_names import one_line
from monitoring.model.failure import Failure
from monitoring.model.fields import CheckSettings, Count, Span
from monitoring.model.finding import Cause, Finding, rank
from monitoring.model.incident import ResolutionReason
from monitoring.model.ledger import EndedRun, Outcome, Streak
from monitoring.model.policy import BasePolicy
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized

#: The state name of FAILED runs that exceeded their timeout (prefect/flow_engine.py, `handle_timeout`).
_TIMED_OUT = "TimedOut"
_MAX_REASON = 120

Kind = Literal["failed", "crashed"]


class StreakSettings(CheckSettings):
    """When the latest ended run of a deployment failed or crashed."""

    tolerate: Count = Field(0, ge=0, description="Consecutive runs that may fail or crash before there is a finding.")
    critical_after: Count = Field(
        3, ge=1, description="Consecutive failed or crashed runs that make the finding critical."
    )
    expire_after: Span = Field(
        timedelta(hours=24),
        description=(
            "For a deployment without an active schedule, the finding ends this long after its last such run."
        ),
    )


def streak_check(
    kind: Kind, about: str, quieted_by: tuple[str, str] | None = None
) -> Check[StreakSettings, Deployment]:
    """The check of failed or of crashed runs. Cancelled runs do not count: they prove neither health nor failure."""
    return Check(
        name=kind,
        section=StreakSettings,
        about=about,
        heading=kind.capitalize(),
        predicate=kind,
        cases=deployments,
        judge=partial(judge_streak, kind),
        deciding=lambda settings: ("tolerate", "critical_after"),
        role="failure",
        resolution=resolution,
        quieted_by=quieted_by,
        digest_heading="What fails",
    )


def judge_streak(kind: Kind, situation: Situation, deployment: Deployment, settings: StreakSettings) -> Verdict:
    """Judge the latest ended run of a deployment and the streak that it belongs to.

    Where schedules have parameters of their own, the runs with the parameters of each are judged by themselves, too:
    the success of one schedule does not end the failures of another. The worst counts; the others are named.
    """
    record = situation.record(deployment)
    whole = _judge_outcome(kind, situation, deployment, settings, record.outcome, "")
    each = {}
    for own in deployment.schedule_parameters:
        outcome = record.by_parameters.get(own.key) if own.active else None
        verdict = _judge_outcome(kind, situation, deployment, settings, outcome, own.name) if outcome else None
        if isinstance(verdict, Found):
            each[own.name] = verdict
    found = [*each.values(), *([whole] if isinstance(whole, Found) else [])]
    if not found:
        return whole
    worst = max(found, key=lambda verdict: (rank(verdict.severity), verdict.run_count or 0))
    named = [f"{name} ({runs_text(other.run_count or 0)})" for name, other in each.items() if other is not worst]
    if worst is whole or not named:
        return worst
    return replace(worst, observed=f"{worst.observed}; the last with {', '.join(named)} {kind}, too")


def _judge_outcome(
    kind: Kind,
    situation: Situation,
    deployment: Deployment,
    settings: StreakSettings,
    outcome: Outcome,
    parameters: str,
) -> Verdict:
    """Judge the latest of some runs: all of a deployment, or those with the parameters of a schedule."""
    last, streak, now = outcome.last_ended, outcome.streak, situation.now
    if last is None:
        return nothing("no run is known to have ended")
    ended = Compared("last ended run", f"{last.name}, {last.state_name}", since=last.ended)
    if streak is None or last.state_type != kind.upper():
        return nothing(f"the last ended run has not {kind}", ended)
    count = _unwanted(kind, streak, situation.policy(deployment))
    mixed = f" ({streak.failed:,} failed, {streak.crashed:,} crashed)"
    compared = (ended, Compared("in a row", f"{count:,}{mixed}", f"{settings.tolerate:,} tolerated", streak.since))
    if deployment.paused:
        return nothing("the deployment is paused", *compared)
    if not deployment.scheduled and now - last.ended >= settings.expire_after:
        # Without an active schedule, no run will show that it is resolved.
        return nothing(
            f"expired: it has no active schedule, and the run ended {humanized(now - last.ended)} ago", *compared
        )
    if count <= settings.tolerate:
        return nothing(f"{count:,} in a row are tolerated", *compared)
    failure = last.failure or Failure()
    task = f" in task {failure.task}" if failure.task and not failure.path else ""
    reason = f": {one_line(failure.reason, _MAX_REASON)}" if failure.reason else ""
    state = f"{last.state_name}{task}"
    path = _path(deployment, failure)
    return Found(
        compared,
        severity="critical" if count >= settings.critical_after else "warning",
        run_ids=streak.run_ids[:count],
        run_count=count,
        summary=f"{deployment.name}: {_what_happened(kind, last, streak, count, parameters)}{reason}",
        observed=f"{state}: {last.message}" if last.message else state,
        expected=f"the latest ended run{_with(parameters)} completed",
        since=streak.since if count == streak.length else streak.alike_since or last.ended,
        cause=_cause(failure, path),
        evidence=((" > ".join(path),) if failure.path else ()) + tuple(failure.traceback.splitlines()),
    )


def resolution(
    situation: Situation, deployment: Deployment, finding: Finding, settings: StreakSettings
) -> ResolutionReason | None:
    """Why an incident about failed or crashed runs is resolved; None if nothing shows that it is."""
    record = situation.ledger.records.get(deployment.key)
    still = record.failing_with(finding.flow_run_ids[0]) if record and finding.flow_run_ids else None
    if still and record and still.last_ended != record.last_ended:
        # Nothing with these parameters has succeeded since: their schedule was turned off.
        return "paused-while-failing"
    if reason := paused_or_succeeded(situation, deployment):
        return reason
    since = record.last_ended.ended if record and record.last_ended else finding.since
    if not deployment.scheduled and situation.now - since >= settings.expire_after:
        return "expired"
    # Without a record, the saved state was lost with the failure; that does not resolve the incident.
    return "cleared" if record else None


def paused_or_succeeded(situation: Situation, deployment: Deployment) -> ResolutionReason | None:
    """Whether the latest ended run of a deployment completed, or else it was paused while it still failed."""
    last = situation.record(deployment).last_ended
    if last and last.state_type == "COMPLETED":
        return "succeeded"
    return "paused-while-failing" if deployment.paused else None


def _unwanted(kind: Kind, streak: Streak, policy: BasePolicy) -> int:
    """The length of the unwanted streak; a deployment may be expected to fail, but never to crash.

    If failures are expected, a failure ends a streak of crashes as a success does elsewhere.
    """
    if policy.expect == "success":
        return streak.length
    return streak.alike if kind == "crashed" else 0


def _with(parameters: str) -> str:
    return f" with {parameters}" if parameters else ""


def _what_happened(kind: Kind, last: EndedRun, streak: Streak, count: int, parameters: str) -> str:
    """``the last 3 runs failed (2 failed, 1 crashed), the latest in task load``; a timed-out run is named as such."""
    failure = last.failure or Failure()
    task = f" in task {failure.task}" if failure.task else ""
    timed_out = last.state_name == _TIMED_OUT
    if failure.path:
        child = failure.path[-1]
        task = (
            f", as its {'child run' if child.deployment_id else 'subflow'} {child.flow_name} ({child.name}) did{task}"
        )
    if count == 1:
        return f"the last run{_with(parameters)} {'timed out' if timed_out else kind}{task}"
    mixed = streak.failed and streak.crashed and count == streak.length
    kinds = f" ({streak.failed:,} failed, {streak.crashed:,} crashed)" if mixed else ""
    if timed_out:
        return f"the last {runs_text(count)}{_with(parameters)} {kind}{kinds}, the latest timed out{task}"
    latest = f", the latest{task}" if task and not failure.path else task
    return f"the last {runs_text(count)}{_with(parameters)} {kind}{kinds}{latest}"


def _path(deployment: Deployment, failure: Failure) -> tuple[str, ...]:
    """The path of the failure: the flow, its subflows and the task."""
    task = (failure.task,) if failure.task else ()
    return (deployment.flow_name, *(child.flow_name for child in failure.path), *task)


def _cause(failure: Failure, path: tuple[str, ...]) -> Cause | None:
    if not failure.path:
        return None
    deepest = failure.path[-1]
    return Cause(kind="flow-run", name=deepest.name, reason="failed", path=path, flow_run_ids=(deepest.id,))
