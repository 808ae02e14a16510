"""quiet: no run of a deployment has ended for long. A check that exists only in tests, written as every check is."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import Compared, Found, Verdict, nothing
from monitoring.model.fields import CheckSettings, Span
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized


class Quiet(CheckSettings):
    """When no run of a deployment has ended for long."""

    after: Span = Field(timedelta(days=30), description="How long no run may end.")


def judge(situation: Situation, deployment: Deployment, settings: Quiet) -> Verdict:
    """Judge how long ago a run of a deployment ended."""
    last = situation.record(deployment).last_ended
    if last is None:
        return nothing("no run has ended")
    silence = situation.now - last.ended
    compared = Compared(f"{last.name}: ended, ago", silence, settings.after, last.ended)
    if silence <= settings.after:
        return nothing("a run has ended lately", compared)
    return Found(
        [compared],
        severity="warning",
        run_ids=[last.id],
        summary=f"{deployment.name}: no run has ended for {humanized(silence)}",
        observed=f"the last run ended {humanized(silence)} ago",
        expected=f"a run that ends within {humanized(settings.after)}",
        since=last.ended,
    )


CHECK = Check(
    name="quiet",
    section=Quiet,
    about="Deployments without a run for long.",
    heading="Quiet: nothing has ended",
    predicate="are quiet",
    cases=deployments,
    judge=judge,
    deciding=lambda settings: ("after",),
)
