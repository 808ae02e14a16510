"""failed and crashed: the latest ended run of a deployment is one.

Failed means that the code failed, crashed that what it ran on died; the two are never merged. Cancelled
runs do not count: they prove neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from monitoring.checks.findings import deployment_finding, policy_of, runs_text
from monitoring.config.policy import Policies
from monitoring.config.settings import EndedBadly, Policy
from monitoring.failures.error_names import one_line
from monitoring.model.failure import Failure
from monitoring.model.finding import Cause, Finding
from monitoring.model.ledger import EndedRun, Ledger, Streak
from monitoring.model.observation import Observation
from monitoring.model.prefect import Deployment

#: A state's name for FAILED runs that their time-out ended (prefect/flow_engine.py, `handle_timeout`).
_TIMED_OUT = "TimedOut"
_MOST_REASON = 120


def check_failed(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find deployments whose latest ended run failed."""
    return _check("failed", observation, ledger, policies)


def check_crashed(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find deployments whose latest ended run crashed."""
    return _check("crashed", observation, ledger, policies)


def _check(
    name: Literal["failed", "crashed"], observation: Observation, ledger: Ledger, policies: Policies
) -> Iterable[Finding]:
    for key, record in ledger.records.items():
        deployment = observation.deployments.get(key)
        last, streak = record.last_ended, record.streak
        if deployment is None or last is None or streak is None or last.state_type != name.upper():
            continue
        policy = policy_of(deployment, policies)
        section: EndedBadly = getattr(policy, name)
        if not section.enabled or deployment.paused or expired(deployment, last, section, observation.at):
            continue
        if (count := unwanted(name, streak, policy)) > section.tolerate:
            yield _finding(name, observation, deployment, last, streak, count, section)


def expired(deployment: Deployment, last: EndedRun, policy: EndedBadly, now: datetime) -> bool:
    """Whether a failure is forgiven: nothing will ever run again by itself to prove that it is over."""
    return not deployment.scheduled and now - last.ended >= policy.expire_after


def unwanted(name: Literal["failed", "crashed"], streak: Streak, policy: Policy) -> int:
    """How many runs in a row ended as they should not; a deployment may be there to fail, and never to crash.

    Where failures are expected, one ends a row of crashes, as a success does elsewhere.

    Args:
        name: How the last ended run did.
        streak: The row that it is the newest of.
        policy: How the deployment's runs should end.
    """
    if policy.expect == "success":
        return streak.length
    return streak.alike if name == "crashed" else 0


def _finding(
    name: Literal["failed", "crashed"],
    observation: Observation,
    deployment: Deployment,
    last: EndedRun,
    streak: Streak,
    count: int,
    policy: EndedBadly,
) -> Finding:
    failure = last.failure or Failure()
    task = f" in task {failure.task}" if failure.task and not failure.path else ""
    reason = f": {one_line(failure.reason, _MOST_REASON)}" if failure.reason else ""
    said = f"{last.state_name}{task}"
    path = _path(deployment, failure)
    return deployment_finding(
        observation,
        name,
        deployment,
        severity="critical" if count >= policy.critical_after else "warning",
        run_ids=streak.run_ids[:count],
        run_count=count,
        summary=f"{deployment.name}: {_what_happened(name, last, streak, count)}{reason}",
        observed=f"{said}: {last.message}" if last.message else said,
        expected="the latest ended run completed",
        since=streak.since if count == streak.length else streak.alike_since or last.ended,
        cause=_cause(failure, path),
        evidence=((" > ".join(path),) if failure.path else ()) + tuple(failure.traceback.splitlines()),
    )


def _what_happened(name: Literal["failed", "crashed"], last: EndedRun, streak: Streak, count: int) -> str:
    """``the last 3 runs failed (2 failed, 1 crashed), the latest in task load``; one that timed out is told apart."""
    failure = last.failure or Failure()
    task = f" in task {failure.task}" if failure.task else ""
    timed_out = last.state_name == _TIMED_OUT
    if failure.path:
        child = failure.path[-1]
        task = (
            f", as its {'child run' if child.deployment_id else 'subflow'} {child.flow_name} ({child.name}) did{task}"
        )
    if count == 1:
        return f"the last run {'timed out' if timed_out else name}{task}"
    mixed = streak.failed and streak.crashed and count == streak.length
    kinds = f" ({streak.failed:,} failed, {streak.crashed:,} crashed)" if mixed else ""
    if timed_out:
        return f"the last {runs_text(count)} {name}{kinds}, the latest timed out{task}"
    return f"the last {runs_text(count)} {name}{kinds}" + (f", the latest{task}" if task and not failure.path else task)


def _path(deployment: Deployment, failure: Failure) -> tuple[str, ...]:
    """How the failure came up: the flow, the flows below it, and the task."""
    task = (failure.task,) if failure.task else ()
    return (deployment.flow_name, *(child.flow_name for child in failure.path), *task)


def _cause(failure: Failure, path: tuple[str, ...]) -> Cause | None:
    if not failure.path:
        return None
    deepest = failure.path[-1]
    return Cause(kind="flow-run", name=deepest.name, reason="failed", path=path, flow_run_ids=(deepest.id,))
