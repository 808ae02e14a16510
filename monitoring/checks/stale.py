"""stale: a deployment has not succeeded within its freshness window.

The window is given, or comes from the deployment's own schedules: so many fires may pass without a
success. A success that may have been lost to the server's retention makes freshness unknown, not stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from monitoring.checks.findings import deployment_finding
from monitoring.config import Stale
from monitoring.durations import spoken
from monitoring.model import Deployment, Finding, Ledger, Observation, Record
from monitoring.policy import Policies


def check(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> Iterable[Finding]:
    """Find deployments without a recent success."""
    for key, deployment in observation.deployments.items():
        policy = policies.of(deployment.name, deployment.tags, deployment.work_pool).stale
        record = ledger.records.get(key, Record())
        since = success_due_since(deployment, policy, now)
        if not policy.enabled or since is None or deployment.paused:
            continue
        if policy.within is None and record.scheduled_since and since < record.scheduled_since:
            continue
        if record.last_success:
            if record.last_success.ended < since:
                yield _finding(observation, deployment, policy, record, since, now)
        elif record.success_searched and deployment.created <= since:
            if observation.history_since and observation.history_since <= since:
                yield _finding(observation, deployment, policy, record, since, now)
            elif observation.coverage.has("oldest-run"):
                yield _unknown(observation, deployment, policy, since)


def success_due_since(deployment: Deployment, policy: Stale, now: datetime) -> datetime | None:
    """The moment after which a deployment should have succeeded; None where nothing says so."""
    if policy.within is not None:
        return now - policy.within if deployment.kind == "deployment" else None
    return deployment.due[0] if len(deployment.due) >= policy.missed_fires else None


def _finding(
    observation: Observation, deployment: Deployment, policy: Stale, record: Record, since: datetime, now: datetime
) -> Finding:
    last = record.last_success
    seen = (
        f"last success {last.ended:%Y-%m-%d %H:%M} UTC, {spoken(now - last.ended)} ago" if last else "no success ever"
    )
    began = last.ended if last else deployment.created
    return deployment_finding(
        observation,
        "stale",
        deployment,
        severity="critical",
        run_ids=[last.id] if last else [],
        run_count=0,
        summary=f"{deployment.name}: no success for {spoken(now - began)}",
        observed=seen,
        expected=_expected(policy, since),
        since=began,
    )


def _unknown(observation: Observation, deployment: Deployment, policy: Stale, since: datetime) -> Finding:
    return deployment_finding(
        observation,
        "stale",
        deployment,
        severity="info",
        run_ids=[],
        run_count=0,
        summary=f"{deployment.name}: freshness cannot be judged, the server no longer has runs that old",
        observed="no success in what the server still has",
        expected=_expected(policy, since),
        since=deployment.created,
        unknown=True,
    )


def _expected(policy: Stale, since: datetime) -> str:
    if policy.within is not None:
        return f"a success within {spoken(policy.within)}"
    return (
        f"a success since {since:%Y-%m-%d %H:%M} UTC: {policy.missed_fires} fires of its schedule have passed, "
        f"and {spoken(policy.grace)} of grace"
    )
