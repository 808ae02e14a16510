"""unscheduled: an active deployment has no run scheduled ahead, so that nothing will ever be late.

The server's scheduler keeps runs ahead of every active schedule (three, and an hour of them, unless it is set
otherwise: prefect/server/services/scheduler.py). Where it does not, it is dead, or fails at this deployment.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from monitoring.checks.findings import deployment_finding, policy_of
from monitoring.config.policy import Policies
from monitoring.model.finding import Cause, Finding
from monitoring.model.ledger import Ledger, Record
from monitoring.model.observation import Observation
from monitoring.model.prefect import Deployment
from monitoring.text.durations import spoken

#: One deployment without runs ahead may be the scheduler's trouble with that deployment alone.
_FEWEST = 2


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find deployments that should have runs scheduled ahead and have none."""
    dead = scheduler_is_dead(observation)
    cause = Cause(kind="scheduler", name=observation.target, reason="not-scheduling") if dead else None
    newest_due: dict[str, datetime] = {}
    for run in observation.runs.active:
        due = run.expected_start_time or run.created
        newest_due[run.key] = max(due, newest_due.get(run.key, due))
    for key, last_due in observation.schedules.nothing_ahead.items():
        deployment = observation.deployments.get(key)
        if deployment is None or not (policy := policy_of(deployment, policies).unscheduled).enabled:
            continue
        yield deployment_finding(
            observation,
            "unscheduled",
            deployment,
            severity="warning",
            run_ids=[],
            run_count=0,
            summary=f"{deployment.name}: no run is scheduled ahead, though its schedule is active",
            observed=_observed(deployment),
            expected=f"runs scheduled ahead, {spoken(policy.after)} after a change of the deployment at the latest",
            since=_since(deployment, last_due, newest_due.get(key), ledger.records.get(key)),
            cause=cause,
        )


def scheduler_is_dead(observation: Observation) -> bool:
    """Whether nothing shows that the server's scheduler lives, and at least two deployments that it does not.

    A scheduler that has died leaves behind what it had planned: deployments that fire often have nothing ahead soon,
    those that fire seldom still have. So it may live only if it has planned something later than what is missing.
    What was just made or changed, and what never fires again, has nothing ahead under either.
    """
    empty = {key: d for key in observation.schedules.nothing_ahead if (d := observation.deployments.get(key))}
    if len(empty) < _FEWEST:
        return False
    missing_since = min(d.planned_by or observation.schedules.nothing_ahead[key] for key, d in empty.items())
    silent = empty.keys() | observation.schedules.unplanned
    others = (d for key, d in observation.deployments.items() if d.scheduled and key not in silent)
    return all(other.planned_by is not None and other.planned_by < missing_since for other in others)


def _observed(deployment: Deployment) -> str:
    due = f", though it is due at {deployment.next_due:%Y-%m-%d %H:%M} UTC" if deployment.next_due else ""
    return f"nothing scheduled ahead{due}"


def _since(deployment: Deployment, last_due: datetime, newest: datetime | None, record: Record | None) -> datetime:
    """Since when runs are missing: its own newest fire moves on with each that is missed, the last run does not."""
    ended = record.last_ended.ended if record and record.last_ended else None
    known = [moment for moment in (newest, ended) if moment]
    return min(last_due, max(*known, deployment.scheduled_since or deployment.created)) if known else last_due
