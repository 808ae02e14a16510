"""slow: a run takes or took longer than its limit: a configured limit, else the baseline of its deployment.

Run time is the time in RUNNING over all attempts, without waits for retries and without pauses.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import Field

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.causes import slots_cause
from monitoring.checks.facts.run_times import Bound, RunTimeSettings, bound, run_time
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import MAX_COMPARED, Compared, Found, Verdict, more, nothing, runs_text
from monitoring.history.baselines import drift, typical, without_run
from monitoring.model.fields import Span
from monitoring.model.finding import Cause, Severity
from monitoring.model.ledger import EndedRun, Record
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized


class Slow(RunTimeSettings):
    """When a run takes longer than it may."""

    severity: Severity = Field("info", description="Severity of a run beyond its baseline.")
    expire_after: Span = Field(
        timedelta(hours=24),
        description=(
            "For a deployment without an active schedule, the finding ends this long after its slow run ended."
        ),
    )


class _SlowRun(NamedTuple):
    id: str
    name: str
    took: timedelta
    bound: Bound
    #: None while it runs.
    ended: datetime | None


def judge(situation: Situation, deployment: Deployment, settings: Slow) -> Verdict:
    """Judge the run times of a deployment: of its active runs and of the latest ended run."""
    record = situation.record(deployment)
    running, last = situation.active(deployment, "RUNNING"), record.last_ended
    may = bound(record.run_times, settings) if running else None
    last_may = bound(without_run(record.run_times, last), settings) if last else None
    times = [(run, run_time(run, situation.now)) for run in running]
    compared = [
        Compared(f"{run.name}: running for", took, may.limit if may else None) for run, took in times[:MAX_COMPARED]
    ]
    compared += more(len(running))
    if last:
        limit = last_may.limit if last_may else None
        compared.append(Compared(f"{last.name}, the last ended run: took", last.run_time, limit))
    if usual := typical(record.run_times):
        compared.append(Compared(f"median of its newest {runs_text(len(record.run_times.recent))}:", usual))
    slow = [_SlowRun(run.id, run.name, took, may, None) for run, took in times if may and took > may.limit]
    slow.sort(key=lambda run: run.took, reverse=True)
    if last and last_may and _too_long(situation, deployment, last, last_may, settings):
        slow.append(_SlowRun(last.id, last.name, last.run_time, last_may, last.ended))
    if slow:
        return _found(compared, situation, deployment, slow, settings)
    return nothing(_why_not(record, may or last_may, settings), *compared)


def _why_not(record: Record, may: Bound | None, settings: Slow) -> str:
    last = record.last_ended
    if may is None and not settings.baseline and settings.limit is None:
        return "no limit is configured, and the baseline is turned off"
    if may is None:
        known = len(without_run(record.run_times, last).recent) if last else len(record.run_times.recent)
        return f"a baseline needs {settings.min_samples} completed runs besides the one that is judged; known: {known}"
    if last and last.run_time > may.limit:
        return "the slow run has expired, or ended in a state that is not judged"
    return "no run takes longer than its limit"


def _too_long(situation: Situation, deployment: Deployment, last: EndedRun, may: Bound, settings: Slow) -> bool:
    """Whether the latest ended run took too long.

    A baseline comes from completed runs and judges completed runs; a configured limit applies however a run ended. A
    slow run expires if no scheduled run will show that later runs are faster.
    """
    expired = not deployment.scheduled and situation.now - last.ended >= settings.expire_after
    judged = may.usual is None or last.state_type == "COMPLETED"
    return judged and last.run_time > may.limit and not deployment.paused and not expired


def _found(
    compared: Sequence[Compared],
    situation: Situation,
    deployment: Deployment,
    slow: Sequence[_SlowRun],
    settings: Slow,
) -> Found:
    first = slow[0]
    limit, usual = first.bound
    took = f"took {humanized(first.took)}" if first.ended else f"running for {humanized(first.took)}"
    at_most = f"at most {humanized(limit)} of run time"
    beyond = "the usual run time" if usual else f"the limit of {humanized(limit)}"
    what = "the latest ended run" if first.ended else "running"
    moved = drift(situation.record(deployment).run_times)
    return Found(
        compared,
        severity=settings.severity if usual else "warning",
        run_ids=[run.id for run in slow],
        summary=f"{deployment.name}: {runs_text(len(slow))} beyond {beyond} ({what})",
        observed=f"{first.name}: {took}",
        expected=f"{at_most}: {humanized(usual.median)} is the median of {usual.samples} runs" if usual else at_most,
        since=first.ended or situation.now - (first.took - limit),
        cause=_cause(situation, slow),
        evidence=[moved] if moved else [],
    )


def _cause(situation: Situation, slow: Sequence[_SlowRun]) -> Cause | None:
    """The full tag limit at which the runs wait, if none of them would be slow without that wait."""
    for full in situation.observation.limits.full:
        waits = {run_id: situation.now - since for run_id, since in full.held_up.items()}
        if all(run.id in waits and run.took - waits[run.id] <= run.bound.limit for run in slow):
            return slots_cause(full)
    return None


def _deciding(settings: Slow) -> tuple[str, ...]:
    if settings.limit is not None:
        return ("limit",)
    return ("deviations", "min_ratio", "floor", "min_samples")


CHECK = Check(
    name="slow",
    section=Slow,
    about="Runs beyond a configured limit of run time, or beyond the usual run time.",
    heading="Slow",
    predicate="are slow",
    cases=deployments,
    judge=judge,
    deciding=_deciding,
    role="waits",
    # A dead run is not slow.
    yields_to=("zombie",),
    quieted_by=("watchdog:max-run-time=12h", "with the longest run time that is fine"),
)
