"""failed and crashed: the latest ended run of a deployment is one.

Failed means that the code failed, crashed that what it ran on died; the two are never merged. Cancelled
runs do not count: they prove neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from monitoring.checks.findings import deployment_finding, runs_text
from monitoring.config import EndedBadly
from monitoring.model import Cause, Deployment, EndedRun, Finding, Ledger, Observation, Streak
from monitoring.policy import Policies


def check_failed(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> Iterable[Finding]:
    """Find deployments whose latest ended run failed."""
    return _check("failed", observation, ledger, policies, now)


def check_crashed(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> Iterable[Finding]:
    """Find deployments whose latest ended run crashed."""
    return _check("crashed", observation, ledger, policies, now)


def _check(
    name: Literal["failed", "crashed"], observation: Observation, ledger: Ledger, policies: Policies, now: datetime
) -> Iterable[Finding]:
    for key, record in ledger.records.items():
        deployment = observation.deployments.get(key)
        last, streak = record.last_ended, record.streak
        if deployment is None or last is None or streak is None or last.state_type != name.upper():
            continue
        policy: EndedBadly = getattr(policies.of(deployment.name, deployment.tags, deployment.work_pool), name)
        if policy.enabled and not deployment.paused and not expired(deployment, last, policy, now):
            yield _finding(name, observation, deployment, last, streak, policy)


def expired(deployment: Deployment, last: EndedRun, policy: EndedBadly, now: datetime) -> bool:
    """Whether a failure is forgiven: nothing will ever run again by itself to prove that it is over."""
    return not deployment.scheduled and now - last.ended >= policy.expire_after


def _finding(
    name: Literal["failed", "crashed"],
    observation: Observation,
    deployment: Deployment,
    last: EndedRun,
    streak: Streak,
    policy: EndedBadly,
) -> Finding:
    how_many = "the last run" if streak.length == 1 else f"the last {runs_text(streak.length)}"
    mixed = f" ({streak.failed:,} failed, {streak.crashed:,} crashed)" if streak.failed and streak.crashed else ""
    child = last.failed_child
    blamed = f", as its subflow {child.flow_name} ({child.name}) did" if child else ""
    return deployment_finding(
        observation,
        name,
        deployment,
        severity="critical" if streak.length >= policy.critical_after else "warning",
        run_ids=streak.run_ids,
        run_count=streak.length,
        summary=f"{deployment.name}: {how_many} {name}{mixed}{blamed}",
        observed=f"{last.state_name}: {last.message}" if last.message else last.state_name,
        expected="the latest ended run completed",
        since=streak.since,
        cause=Cause(kind="flow-run", name=child.name, reason="failed") if child else None,
    )
