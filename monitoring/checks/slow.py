"""slow: a run takes, or took, longer than it may: than a given limit, else than its deployment's runs usually take.

Run time is time in RUNNING over all attempts; waits between retries and pauses are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from monitoring.checks.facts.slot_waits import held_up, slots_cause
from monitoring.checks.findings import deployment_finding, policy_of, runs_text
from monitoring.config.policy import Policies
from monitoring.config.settings import Slow
from monitoring.history.baselines import Baseline, baseline, drift, without_run
from monitoring.model.finding import Cause, Finding
from monitoring.model.ledger import Ledger, Record, RunTimes
from monitoring.model.observation import Observation
from monitoring.model.prefect import Deployment, FlowRun
from monitoring.text.durations import spoken


class Bound(NamedTuple):
    """What a run may take; ``usual`` is what it was learned from, None where it was given."""

    limit: timedelta
    usual: Baseline | None


class _SlowRun(NamedTuple):
    id: str
    name: str
    took: timedelta
    bound: Bound
    #: None where it still runs.
    ended: datetime | None


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find deployments with a run that takes too long: running now, or the latest that ended."""
    running: dict[str, list[FlowRun]] = {}
    for run in observation.runs.active:
        if run.state_type == "RUNNING":
            running.setdefault(run.key, []).append(run)
    for key, deployment in observation.deployments.items():
        policy = policy_of(deployment, policies).slow
        if not policy.enabled:
            continue
        record = ledger.records.get(key, Record())
        slow = [
            *_running(running.get(key, ()), record.run_times, policy, observation.at),
            *_ended(deployment, record, policy, observation.at),
        ]
        if slow:
            yield _finding(observation, deployment, slow, record, policy)


def bound(known: RunTimes, policy: Slow) -> Bound | None:
    """What a run of a deployment may take; None where nothing is given and too little is known.

    Args:
        known: The deployment's completed runs, without the run that is judged.
        policy: The limit, or how to learn one.
    """
    if policy.limit is not None:
        return Bound(policy.limit, None)
    usual = baseline(known, policy) if policy.baseline else None
    return Bound(usual.limit, usual) if usual else None


def run_time(run: FlowRun, now: datetime) -> timedelta:
    """The run time of a RUNNING run, all attempts, up to now: the total moves only on leaving RUNNING."""
    return run.total_run_time + (now - run.state_timestamp)


def _running(runs: Iterable[FlowRun], known: RunTimes, policy: Slow, now: datetime) -> list[_SlowRun]:
    """The runs that run for too long, the longest first."""
    may = bound(known, policy) if runs else None
    if may is None:
        return []
    slow = [_SlowRun(run.id, run.name, took, may, None) for run in runs if (took := run_time(run, now)) > may.limit]
    return sorted(slow, key=lambda run: run.took, reverse=True)


def _ended(deployment: Deployment, record: Record, policy: Slow, now: datetime) -> Iterator[_SlowRun]:
    """The latest ended run, if it took too long.

    A baseline is of completed runs and judges completed ones; a given limit holds however a run ended.
    """
    last = record.last_ended
    if last is None or forgiven(deployment, last.ended, policy, now):
        return
    may = bound(without_run(record.run_times, last), policy)
    if may and last.run_time > may.limit and (may.usual is None or last.state_type == "COMPLETED"):
        yield _SlowRun(last.id, last.name, last.run_time, may, last.ended)


def forgiven(deployment: Deployment, ended: datetime, policy: Slow, now: datetime) -> bool:
    """Whether a slow run that has ended is forgiven: nothing will run by itself to show that it is over."""
    return deployment.paused or (not deployment.scheduled and now - ended >= policy.expire_after)


def _finding(
    observation: Observation,
    deployment: Deployment,
    slow: Sequence[_SlowRun],
    record: Record,
    policy: Slow,
) -> Finding:
    first = slow[0]
    limit, usual = first.bound
    took = f"took {spoken(first.took)}" if first.ended else f"running for {spoken(first.took)}"
    at_most = f"at most {spoken(limit)} of run time"
    beyond = "what is usual" if usual else f"the limit of {spoken(limit)}"
    what = "the latest ended run" if first.ended else "running"
    moved = drift(record.run_times)
    return deployment_finding(
        observation,
        "slow",
        deployment,
        severity=policy.severity if usual else "warning",
        run_ids=[run.id for run in slow],
        run_count=len(slow),
        summary=f"{deployment.name}: {runs_text(len(slow))} beyond {beyond} ({what})",
        observed=f"{first.name}: {took}",
        expected=f"{at_most}: {spoken(usual.median)} is the median of {usual.samples} runs" if usual else at_most,
        since=first.ended or observation.at - (first.took - limit),
        cause=_cause(observation, slow),
        evidence=[moved] if moved else [],
    )


def _cause(observation: Observation, slow: Sequence[_SlowRun]) -> Cause | None:
    """The full tag limit at which the runs wait, if without that wait none of them were slow."""
    for full in observation.limits.full:
        waits = {run_id: observation.at - since for run_id, since in held_up(full).items()}
        if all(run.id in waits and run.took - waits[run.id] <= run.bound.limit for run in slow):
            return slots_cause(full)
    return None
