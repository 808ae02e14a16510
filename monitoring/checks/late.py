"""late: a run is due and has not started, whatever the name of its waiting state.

A background service of the server sets Late states, and only for runs named Scheduled; so lateness is computed from
due times.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from monitoring.checks.base import Check, deployments, paused_or_cleared
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.waiting import WaitSettings, due_time
from monitoring.checks.findings import MAX_COMPARED, Compared, Found, Verdict, more, nothing, runs_text
from monitoring.model.fields import Span
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized


class Late(WaitSettings):
    """When a run is due and has not started."""

    after: Span = Field(timedelta(minutes=15), description="How long past its due time a run may wait.")
    critical_after: Span = Field(
        timedelta(hours=2), description="Lateness of the latest run beyond which the finding is critical."
    )


def judge(situation: Situation, deployment: Deployment, settings: Late) -> Verdict:
    """Judge the runs of a deployment that are due and wait."""
    observation, now = situation.observation, situation.now
    scheduled = situation.active(deployment, "SCHEDULED")
    due = {run.id: due for run in scheduled if (due := due_time(observation, run))}
    waiting = sorted((run for run in scheduled if run.id in due), key=lambda run: (due[run.id], run.id))
    compared = [
        Compared(f"{run.name}: due for", now - due[run.id], settings.after, due[run.id])
        for run in waiting[:MAX_COMPARED]
    ]
    compared += more(len(waiting))
    if not waiting:
        return nothing("no run is due")
    late = [run for run in waiting if now - due[run.id] > settings.after]
    if not late:
        return nothing("no run has been due for too long", *compared)
    oldest = late[0]
    lateness = now - due[oldest.id]
    what = "1 run is late, it" if len(late) == 1 else f"{runs_text(len(late))} are late, the first"
    # People read this later, in a chat or a list: a duration would be wrong by then.
    due_at = f"due at {due[oldest.id]:%Y-%m-%d %H:%M} UTC"
    return Found(
        compared,
        severity="critical" if lateness > settings.critical_after else "warning",
        run_ids=[run.id for run in late],
        summary=f"{deployment.name}: {what} was {due_at}",
        observed=f"{oldest.name}: {due_at}, still {oldest.state_name}",
        expected=f"started within {humanized(settings.after)} of the due time",
        since=due[oldest.id],
        cause=situation.causes.waiting(deployment, late),
    )


CHECK = Check(
    name="late",
    section=Late,
    about="Runs that are due and have not started.",
    heading="Late",
    predicate="are late",
    cases=deployments,
    judge=judge,
    deciding=lambda settings: ("after", "critical_after"),
    role="waits",
    resolution=paused_or_cleared,
)
