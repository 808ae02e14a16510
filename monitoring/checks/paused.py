"""paused: no scheduled run of a deployment has started for long, because it was paused.

That is no problem, but easily forgotten: information for the digest.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import Compared, Found, Verdict, nothing
from monitoring.model.fields import CheckSettings, Span
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized


class Paused(CheckSettings):
    """When a deployment has been paused, or all its schedules inactive, for long."""

    after: Span = Field(timedelta(days=14), description="How long a deployment may be paused before it is reported.")


def judge(situation: Situation, deployment: Deployment, settings: Paused) -> Verdict:
    """Judge for how long a deployment has been paused, or all its schedules inactive."""
    since = situation.record(deployment).inactive_since
    if since is None:
        return nothing("it is not paused, and a schedule is active or it has none")
    what = "paused" if deployment.paused else "all its schedules are inactive"
    compared = Compared(f"{what} for", situation.now - since, settings.after, since)
    if situation.now - since <= settings.after:
        return nothing("it has not been inactive for long", compared)
    return Found(
        [compared],
        severity="info",
        summary=f"{deployment.name}: {what} for {humanized(situation.now - since)}",
        observed=f"{what} since {since:%Y-%m-%d %H:%M} UTC or earlier",
        expected=f"active again within {humanized(settings.after)}",
        since=since,
    )


CHECK = Check(
    name="paused",
    section=Paused,
    about="Deployments that have been paused for long.",
    heading="Paused for long",
    predicate="have been paused for long",
    cases=deployments,
    judge=judge,
    deciding=lambda settings: ("after",),
    not_replayed="no history of pauses is kept",
)
