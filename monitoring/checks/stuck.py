"""stuck: a run stays in Pending, Cancelling or Paused, which should be short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from monitoring.causes import Causes
from monitoring.checks.findings import by_deployment, deployment_finding, runs_text
from monitoring.config import Stuck
from monitoring.durations import spoken
from monitoring.model import Finding, FlowRun, Ledger, Observation
from monitoring.policy import Policies


def check(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> Iterable[Finding]:
    """Find deployments with runs that are too long in one of these states."""
    causes = Causes(observation)
    for deployment, policy, runs in by_deployment(observation, policies, observation.active):
        limits = _limits(policy.stuck)
        stuck = [
            run for run in runs if run.state_type in limits and now - _since(observation, run) > limits[run.state_type]
        ]
        if not policy.stuck.enabled or not stuck:
            continue
        stuck.sort(key=lambda run: _since(observation, run))
        oldest = stuck[0]
        states = Counter(run.state_name for run in stuck)
        listed = ", ".join(f"{count:,} {name}" for name, count in states.most_common())
        yield deployment_finding(
            observation,
            "stuck",
            deployment,
            severity="warning",
            run_ids=[run.id for run in stuck],
            run_count=len(stuck),
            summary=f"{deployment.name}: {runs_text(len(stuck))} stuck ({listed})",
            observed=f"{oldest.name}: {oldest.state_name} for {spoken(now - _since(observation, oldest))}",
            expected=f"at most {spoken(limits[oldest.state_type])} in {oldest.state_type.capitalize()}",
            since=_since(observation, oldest),
            cause=causes.waiting(deployment, stuck),
        )


def _limits(policy: Stuck) -> dict[str, timedelta]:
    return {"PENDING": policy.pending_after, "CANCELLING": policy.cancelling_after, "PAUSED": policy.paused_after}


def _since(observation: Observation, run: FlowRun) -> datetime:
    return observation.pending_since.get(run.id, run.state_timestamp)
