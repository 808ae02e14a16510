"""suspicious: the latest run completed, and looks as if it had not done its work.

Prefect calls a run Completed that returns, whatever it did: it may have caught its errors, found nothing to read, or
skipped most of its tasks. What is usual for its deployment tells.
"""

from __future__ import annotations

from datetime import timedelta
from statistics import median
from typing import NamedTuple

from pydantic import Field

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import Compared, Found, Verdict, nothing
from monitoring.history.baselines import quickest, without_run
from monitoring.history.traces import unusual_errors, usual_task_runs
from monitoring.model.fields import CheckSettings, Count, Span
from monitoring.model.finding import Severity
from monitoring.model.ledger import EndedRun, Record
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized


class Suspicious(CheckSettings):
    """When a run completed and looks as if it had not done its work."""

    severity: Severity = Field("info", description="Severity of a suspicious run.")
    errors: bool = Field(True, description="Whether unusual errors in the log of a completed run count.")
    quick_ratio: float = Field(
        5.0, ge=1.5, le=1000, description="Ratio of the median run time to the run time from which a run is too quick."
    )
    task_ratio: float = Field(
        10.0,
        ge=1.5,
        le=1000,
        description="Ratio of the median number of task runs to that from which they are too few.",
    )
    min_samples: Count = Field(10, ge=5, le=20, description="Earlier completed runs that show what is usual.")
    expire_after: Span = Field(
        timedelta(hours=24),
        description="For a deployment without an active schedule, the finding ends this long after its run ended.",
    )


class _Oddity(NamedTuple):
    what: str
    usual: str


def judge(situation: Situation, deployment: Deployment, settings: Suspicious) -> Verdict:
    """Judge the latest ended run of a deployment."""
    record = situation.record(deployment)
    last = record.last_ended
    if last is None or last.state_type != "COMPLETED":
        return nothing("the last ended run has not completed" if last else "no run is known to have ended")
    compared, oddities = _errors(record, last, settings)
    for judged in (_quick(record, last, settings), _few_tasks(record, last, settings)):
        compared, oddities = [*compared, *judged[0]], [*oddities, *judged[1]]
    if not oddities:
        return nothing("the last run left what is usual, or too few runs are known", *compared)
    if deployment.paused:
        return nothing("the deployment is paused", *compared)
    if not deployment.scheduled and situation.now - last.ended >= settings.expire_after:
        return nothing("expired: it has no active schedule, and its run ended long ago", *compared)
    traces = record.traces
    return Found(
        compared,
        severity=settings.severity,
        run_ids=[last.id],
        summary=f"{deployment.name}: the last run completed, but {' and '.join(oddity.what for oddity in oddities)}",
        observed=f"{last.name}: {last.state_name}, {' and '.join(oddity.what for oddity in oddities)}",
        expected=f"as usual: {' and '.join(oddity.usual for oddity in oddities)}",
        since=last.ended,
        evidence=[traces.first_error] if traces and traces.run_id == last.id and traces.first_error else [],
    )


_Judged = tuple[list[Compared], list[_Oddity]]


def _errors(record: Record, last: EndedRun, settings: Suspicious) -> _Judged:
    traces = record.traces
    if not settings.errors or traces is None or traces.run_id != last.id:
        return [], []
    earlier = [errors for errors, _ in record.earlier_traces]
    had = sum(count > 0 for count in earlier)
    usual = f"errors in the log of {had:,} of {len(earlier):,} earlier runs"
    compared = [Compared(f"{last.name}: errors in its log", traces.errors), Compared("usual:", usual)]
    if not unusual_errors(traces.errors, earlier, settings.min_samples):
        return compared, []
    return compared, [_Oddity(f"with {_counted(traces.errors, 'error')} in its log", usual)]


def _quick(record: Record, last: EndedRun, settings: Suspicious) -> _Judged:
    usual = quickest(without_run(record.run_times, last), settings.min_samples, settings.quick_ratio)
    # A run that somebody marked as completed took no time.
    if usual is None or not last.run_time:
        return [], []
    compared = [Compared(f"{last.name}: took", last.run_time, usual.limit)]
    if last.run_time > usual.limit:
        return compared, []
    median_of = f"{humanized(usual.median)} is the median of {usual.samples} runs"
    return compared, [_Oddity(f"in {humanized(last.run_time)}", median_of)]


def _few_tasks(record: Record, last: EndedRun, settings: Suspicious) -> _Judged:
    traces = record.traces
    if traces is None or traces.run_id != last.id or traces.task_runs is None:
        return [], []
    earlier = [count for _, count in record.earlier_traces if count is not None]
    compared = [Compared(f"{last.name}: task runs", traces.task_runs)]
    if earlier:
        compared.append(Compared(f"median of {len(earlier)} earlier runs:", f"{median(earlier):g} task runs"))
    usual = usual_task_runs(traces.task_runs, earlier, settings.min_samples, settings.task_ratio)
    if usual is None:
        return compared, []
    return compared, [_Oddity(f"with {_counted(traces.task_runs, 'task run')}", f"{usual:g} task runs")]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{f'{count:,}' if count else 'no'} {what}s"


def _deciding(settings: Suspicious) -> tuple[str, ...]:
    return ("errors", "quick_ratio", "task_ratio", "min_samples")


CHECK = Check(
    name="suspicious",
    section=Suspicious,
    about="Completed runs with unusual errors in the log, far quicker than usual, or with far fewer task runs.",
    heading="Suspicious: completed, but unlike its other runs",
    predicate="completed suspiciously",
    cases=deployments,
    judge=judge,
    deciding=_deciding,
    not_replayed="the logs and task runs of past runs are not read",
)
