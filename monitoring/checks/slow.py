"""slow: a run takes or took longer than its limit: a configured limit, else the baseline of its deployment.

Run time is the time in RUNNING over all attempts, without waits for retries and without pauses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import Field

from monitoring.checks.base import Check, deployments, paused_or_cleared
from monitoring.checks.facts.causes import slots_cause
from monitoring.checks.facts.run_times import Bound, RunTimeSettings, bound, run_time
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import MAX_COMPARED, Compared, Found, Verdict, more, nothing, runs_text
from monitoring.history.baselines import drift, typical, without_run
from monitoring.model.fields import Span
from monitoring.model.finding import Cause, Severity
from monitoring.model.ledger import EndedRun, Record, RunTimes, ScheduleRecord
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


class _Alike(NamedTuple):
    """The runs that a run is compared with: all of a deployment, or those with the same parameters of a schedule."""

    run_times: RunTimes
    #: The latest of them to end.
    last: EndedRun | None
    #: The parameters, for people; empty for all runs.
    parameters: str = ""


class _SlowRun(NamedTuple):
    id: str
    name: str
    took: timedelta
    bound: Bound
    #: None while it runs.
    ended: datetime | None
    alike: _Alike


def judge(situation: Situation, deployment: Deployment, settings: Slow) -> Verdict:
    """Judge the run times of a deployment: of its active runs and of the latest ended run.

    Where schedules have parameters of their own, a run is compared with those that have the same, and the latest ended
    run with those of each is judged.
    """
    alike = _alike(deployment, situation.record(deployment))
    running, slow, compared, bounds = situation.active(deployment, "RUNNING"), [], [], []
    for run in running:
        own = deployment.parameters_of(run)
        same, took = alike[own.key if own else ""], run_time(run, situation.now)
        may = bound(same.run_times, settings)
        compared.append(Compared(f"{run.name}: running for", took, may.limit if may else None))
        if may and took > may.limit:
            slow.append(_SlowRun(run.id, run.name, took, may, None, same))
        bounds.append(may)
    compared = [*compared[:MAX_COMPARED], *more(len(running))]
    slow.sort(key=lambda run: run.took, reverse=True)
    for same in alike.values():
        if last := same.last:
            last_may = bound(without_run(same.run_times, last), settings)
            limit = last_may.limit if last_may else None
            compared.append(Compared(f"{last.name}, the last ended run: took", last.run_time, limit))
            if last_may and _too_long(situation, deployment, last, last_may, settings):
                slow.append(_SlowRun(last.id, last.name, last.run_time, last_may, last.ended, same))
            bounds.append(last_may)
        if usual := typical(same.run_times):
            compared.append(Compared(f"median of its newest {runs_text(len(same.run_times.recent))}:", usual))
    if slow:
        return _found(compared, situation, deployment, slow, settings)
    return nothing(_why_not(alike.values(), bounds, settings), *compared)


def _alike(deployment: Deployment, record: Record) -> Mapping[str, _Alike]:
    """By the key of a schedule's parameters, the runs to compare with; without a key, for all other runs."""
    found, latest = {}, record.last_ended
    for own in deployment.schedule_parameters:
        known = record.by_parameters.get(own.key, ScheduleRecord())
        last = known.last_ended if own.active or known.last_ended == record.last_ended else None
        found[own.key] = _Alike(known.run_times, last, own.name)
        latest = None if last == latest else latest
    return {**found, "": _Alike(record.run_times, latest)}


def _why_not(alike: Iterable[_Alike], bounds: Iterable[Bound | None], settings: Slow) -> str:
    limits = [may.limit for may in bounds if may]
    if not limits and not settings.baseline and settings.limit is None:
        return "no limit is configured, and the baseline is turned off"
    if not limits:
        others = (without_run(same.run_times, same.last) if same.last else same.run_times for same in alike)
        known = max(len(run_times.recent) for run_times in others)
        return f"a baseline needs {settings.min_samples} completed runs besides the one that is judged; known: {known}"
    if any(same.last and same.last.run_time > min(limits) for same in alike):
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
    own = f" with {first.alike.parameters}" if first.alike.parameters else ""
    beyond = f"the usual run time{own}" if usual else f"the limit of {humanized(limit)}"
    what = "the latest ended run" if first.ended else "running"
    moved = drift(first.alike.run_times)
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
    resolution=paused_or_cleared,
    # A dead run is not slow.
    yields_to=("zombie",),
    quieted_by=("watchdog:max-run-time=12h", "with the longest run time that is fine"),
)
