"""paused: nothing of a deployment has run by itself for long, because somebody paused it.

That is no problem, and easily forgotten: information, for the digest.
"""

from __future__ import annotations

from collections.abc import Iterable

from monitoring.checks.findings import deployment_finding, policy_of
from monitoring.config.policy import Policies
from monitoring.model.finding import Finding
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.text.durations import spoken


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find deployments that have been paused, or all of whose schedules have been inactive, for long."""
    for key, record in ledger.records.items():
        deployment = observation.deployments.get(key)
        since = record.inactive_since
        if deployment is None or since is None:
            continue
        policy = policy_of(deployment, policies).paused
        if not policy.enabled or observation.at - since <= policy.after:
            continue
        what = "paused" if deployment.paused else "all its schedules are inactive"
        yield deployment_finding(
            observation,
            "paused",
            deployment,
            severity="info",
            run_ids=[],
            run_count=0,
            summary=f"{deployment.name}: {what} for {spoken(observation.at - since)}",
            observed=f"{what} since {since:%Y-%m-%d %H:%M} UTC, or longer",
            expected=f"active again within {spoken(policy.after)}",
            since=since,
        )
