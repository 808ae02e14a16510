"""paused: no scheduled run of a deployment starts, because it was paused.

A pause that a person made is no problem, but easily forgotten: after long, information for the digest. A ``serve()``
process that ends pauses what it serves, too, which nobody may have wanted: a problem at the first scheduled time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts import serving
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.waiting import WaitSettings
from monitoring.checks.findings import Compared, Found, Verdict, nothing, utc
from monitoring.model.fields import CheckSettings, Span
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized


class Paused(CheckSettings):
    """When a deployment has been paused, or all its schedules inactive, for long."""

    after: Span = Field(timedelta(days=14), description="How long a deployment may be paused before it is reported.")


def judge(situation: Situation, deployment: Deployment, settings: Paused) -> Verdict:
    """Judge who paused a deployment, and for how long it has been paused, or all its schedules inactive."""
    record = situation.record(deployment)
    since = record.inactive_since
    if since is None:
        return nothing("it is not paused, and a schedule is active or it has none")
    stopped = serving.stopped(deployment, record, situation.now)
    due = situation.observation.schedules.unserved.get(deployment.id)
    if stopped and due and situation.now - due > situation.policy(deployment).section("late", WaitSettings).after:
        return _unserved(deployment, stopped, due)
    what = "paused" if deployment.paused else "all its schedules are inactive"
    compared = Compared(f"{what} for", situation.now - since, settings.after, since)
    if situation.now - since <= settings.after:
        return nothing("it has not been inactive for long", compared)
    return Found(
        [compared],
        severity="info",
        summary=f"{deployment.name}: {what} for {humanized(situation.now - since)}",
        observed=f"{what} since {utc(since)} or earlier",
        expected=f"active again within {humanized(settings.after)}",
        since=since,
    )


def _unserved(deployment: Deployment, stopped: serving.Stopped, due: datetime) -> Found:
    """The process that served a deployment has ended, and a scheduled time has passed since."""
    seen = f"a serve() process last polled for its runs at {utc(stopped.at)}; it was due at {utc(due)}"
    compared = [Compared("last polled by its serve() process at", stopped.at), Compared("due since then at", due)]
    if not stopped.paused_it:
        return Found(
            compared,
            severity="info",
            summary=f"{deployment.name}: whether it should be paused cannot be judged: its serve() process is gone",
            observed=f"{seen}; who paused it is unknown",
            expected="paused by a person, or served",
            since=stopped.at,
            unknown=True,
        )
    return Found(
        compared,
        severity="warning",
        summary=f"{deployment.name}: its serve() process has ended and paused it; nothing runs its schedule",
        observed=f"{seen}; paused as the process ended",
        expected="served, or its schedules turned off",
        since=stopped.at,
    )


CHECK = Check(
    name="paused",
    section=Paused,
    about="Deployments that have been paused for long, or whose serve() process has ended.",
    heading="Paused",
    predicate="are paused",
    cases=deployments,
    judge=judge,
    deciding=lambda settings: ("after",),
    not_replayed="no history of pauses is kept",
)
