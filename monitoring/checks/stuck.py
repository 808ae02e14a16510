"""stuck: a run stays in Pending, Cancelling or Paused, which should be short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from monitoring.checks.facts.causes import Causes
from monitoring.checks.findings import by_deployment, deployment_finding, runs_text
from monitoring.config.policy import Policies
from monitoring.config.settings import Stuck
from monitoring.model.finding import Finding
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.prefect import FlowRun
from monitoring.text.durations import spoken


class Stay(NamedTuple):
    """A run that is stuck: since when, in words, and what should have been."""

    run: FlowRun
    since: datetime
    observed: str
    expected: str


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find deployments with runs that are too long in one of these states."""
    causes = Causes(observation)
    for deployment, policy, runs in by_deployment(observation, policies, observation.runs.active):
        if not policy.stuck.enabled:
            continue
        stays = [stay for run in runs if (stay := too_long(observation, run, policy.stuck))]
        if not stays:
            continue
        stays.sort(key=lambda stay: (stay.since, stay.run.id))
        oldest, stuck = stays[0], [stay.run for stay in stays]
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
            observed=f"{oldest.run.name}: {oldest.run.state_name} {oldest.observed}",
            expected=oldest.expected,
            since=oldest.since,
            cause=causes.waiting(deployment, stuck),
        )


def too_long(observation: Observation, run: FlowRun, policy: Stuck) -> Stay | None:
    """How long a run has been in its state, if that is too long.

    Args:
        observation: What was seen.
        run: The run.
        policy: How long it may be.
        now: The moment of the check.
    """
    now = observation.at
    since = observation.runs.pending_since.get(run.id, run.state_timestamp)
    limit = limits(policy).get(run.state_type)
    if run.state_type == "PAUSED" and run.pause_timeout and now - run.pause_timeout > policy.timeout_grace:
        # The server fails such runs within seconds (prefect/server/services/pause_expirations.py), unless it is told
        # not to, or that part of it is dead.
        passed = f"for {spoken(now - since)}, its own time-out passed {spoken(now - run.pause_timeout)} ago"
        return Stay(run, run.pause_timeout, passed, f"resumed or failed within {spoken(policy.timeout_grace)} of it")
    if limit is None or now - since <= limit:
        return None
    return Stay(run, since, f"for {spoken(now - since)}", f"at most {spoken(limit)} in {run.state_type.capitalize()}")


def limits(policy: Stuck) -> dict[str, timedelta]:
    """How long a run may be in a state, by its type."""
    return {"PENDING": policy.pending_after, "CANCELLING": policy.cancelling_after, "PAUSED": policy.paused_after}
