"""ghost: a run has ended for Prefect and is alive in the world: it was cancelled, or marked, and its process goes on.

Prefect writes a run's end into its database, whatever becomes of the process: a worker that is gone stops nothing, and
a run that is marked as crashed because its heartbeats were delayed does not notice. A later run then works beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import Field

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import MAX_COMPARED, Compared, Found, Verdict, more, nothing, runs_text
from monitoring.model.fields import CheckSettings, Span
from monitoring.model.observation import LaterSign
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized


class Ghost(CheckSettings):
    """When a run has ended and is still alive."""

    grace: Span = Field(
        timedelta(minutes=5),
        description="How long after its end a run may still send heartbeats, write its log and start task runs.",
    )


def judge(situation: Situation, deployment: Deployment, settings: Ghost) -> Verdict:
    """Judge the signs of life of a deployment's ended runs."""
    signs = [sign for sign in situation.observation.runs.later_signs if sign.run.key == deployment.key]
    signs.sort(key=lambda sign: sign.run.ended_at)
    compared = [
        Compared(f"{sign.run.name}: {sign.kind} after its end by", sign.after_end, settings.grace, sign.run.ended_at)
        for sign in signs[:MAX_COMPARED]
    ]
    compared += more(len(signs))
    ghosts = [sign for sign in signs if sign.after_end > settings.grace]
    if not ghosts:
        return nothing("no run that has ended is still alive", *compared)
    return _found(compared, situation, deployment, ghosts)


def _found(
    compared: Sequence[Compared], situation: Situation, deployment: Deployment, ghosts: Sequence[LaterSign]
) -> Found:
    first, now = ghosts[0], situation.now
    run = first.run
    ended = f"{run.state_name} {humanized(now - run.ended_at)} ago"
    return Found(
        compared,
        severity="warning",
        run_ids=[sign.run.id for sign in ghosts],
        summary=f"{deployment.name}: {runs_text(len(ghosts))} ended for Prefect, and still alive",
        observed=f"{run.name}: {ended}, last {first.kind} {humanized(now - first.received)} ago",
        expected=f"no sign of life after the end; stop the {_process(first)}",
        since=run.ended_at,
        evidence=[f"{sign.run.name}: {_process(sign)}" for sign in ghosts[:MAX_COMPARED]] if ghosts[1:] else (),
    )


def _process(sign: LaterSign) -> str:
    if not sign.run.work_pool:
        return f"process {sign.infrastructure}".strip()
    if not sign.infrastructure:
        return f"process in work pool {sign.run.work_pool}"
    return f"process {sign.infrastructure} of work pool {sign.run.work_pool}"


CHECK = Check(
    name="ghost",
    section=Ghost,
    about="Runs that have ended for Prefect, and whose process is still alive.",
    heading="Ghosts: ended, and still alive",
    predicate="have ended and are still alive",
    cases=deployments,
    judge=judge,
    deciding=lambda settings: ("grace",),
    not_replayed="heartbeats are events, which the server keeps for 7 days by default",
)
