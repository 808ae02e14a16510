"""unscheduled: an active deployment has no run scheduled ahead, so no run will ever be late.

The server's scheduler keeps runs scheduled ahead for every active schedule, by default at least three and an hour's
worth (prefect/server/services/scheduler.py). If it does not, it is dead, or fails for this deployment.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from monitoring.checks.base import Check, deployments, paused_or_cleared
from monitoring.checks.facts.scheduler import scheduler_cause
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import Compared, Found, Verdict, nothing
from monitoring.model.fields import CheckSettings, Span
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized


class Unscheduled(CheckSettings):
    """When an active deployment has nothing scheduled ahead."""

    after: Span = Field(
        timedelta(minutes=15), description="Time that the scheduler has after a deployment was created or changed."
    )


def judge(situation: Situation, deployment: Deployment, settings: Unscheduled) -> Verdict:
    """Judge whether a deployment that should have runs scheduled ahead has any."""
    observation = situation.observation
    last_due = observation.schedules.nothing_ahead.get(deployment.key)
    if last_due is None:
        return nothing("no scheduled run is missing" if deployment.scheduled else "no schedule is active")
    due = f", though it is due at {deployment.next_due:%Y-%m-%d %H:%M} UTC" if deployment.next_due else ""
    since = _since(situation, deployment, last_due)
    observed = f"nothing scheduled ahead{due}"
    return Found(
        [Compared("runs scheduled ahead:", f"none{due}", settings.after, since)],
        severity="warning",
        summary=f"{deployment.name}: no run is scheduled ahead, though its schedule is active",
        observed=observed,
        expected=f"runs scheduled ahead within {humanized(settings.after)} after a change of the deployment",
        since=since,
        cause=scheduler_cause(observation.target) if situation.scheduler_is_dead else None,
    )


def _since(situation: Situation, deployment: Deployment, last_due: datetime) -> datetime:
    """Since when runs are missing: the last due time moves on with each missed run, the last known run does not."""
    newest = max((run.expected_start_time or run.created for run in situation.active_runs(deployment)), default=None)
    last = situation.record(deployment).last_ended
    known = [at for at in (newest, last.ended if last else None) if at]
    return min(last_due, max(*known, deployment.scheduled_since or deployment.created)) if known else last_due


CHECK = Check(
    name="unscheduled",
    section=Unscheduled,
    about="Active deployments for which nothing is scheduled ahead.",
    heading="Unscheduled: active, with nothing scheduled ahead",
    predicate="have nothing scheduled ahead",
    cases=deployments,
    judge=judge,
    deciding=lambda settings: ("after",),
    role="waits",
    resolution=paused_or_cleared,
    not_replayed="no history of runs scheduled ahead is kept",
)
