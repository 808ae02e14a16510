"""stuck: a run stays in Pending, Cancelling or Paused, which should be short, or is retried without an end."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.stays import StaySettings, in_state_since, limits, retrying, too_long
from monitoring.checks.findings import MAX_COMPARED, Compared, Found, Verdict, more, nothing, runs_text
from monitoring.model.prefect import Deployment


def judge(situation: Situation, deployment: Deployment, settings: StaySettings) -> Verdict:
    """Judge the runs of a deployment that are in one of these states."""
    observation, limit = situation.observation, limits(settings)
    runs = [run for run in situation.active_runs(deployment) if run.state_type in limit or retrying(run)]
    if not runs:
        return nothing("no run is Pending, Cancelling or Paused, or retried again and again")
    stays = sorted(
        filter(None, (too_long(observation, run, settings) for run in runs)), key=lambda stay: (stay.since, stay.run.id)
    )
    compared = [
        Compared(f"{stay.run.name}: {stay.run.state_name}", stay.observed, stay.expected)
        for stay in stays[:MAX_COMPARED]
    ]
    stuck = [stay.run for stay in stays]
    stuck_ids = {run.id for run in stuck}
    for run in islice((run for run in runs if run.id not in stuck_ids), MAX_COMPARED - len(compared)):
        since = in_state_since(observation, run)
        most = limit.get(run.state_type)
        compared.append(Compared(f"{run.name}: {run.state_name} for", situation.now - since, most, since))
    compared += more(len(runs))
    if not stays:
        return nothing("no run has been in its state for too long", *compared)
    oldest = stays[0]
    states = Counter(run.state_name for run in stuck)
    listed = ", ".join(f"{count:,} {name}" for name, count in states.most_common())
    return Found(
        compared,
        severity="warning",
        run_ids=[run.id for run in stuck],
        summary=f"{deployment.name}: {runs_text(len(stuck))} stuck ({listed})",
        observed=f"{oldest.run.name}: {oldest.run.state_name} {oldest.observed}",
        expected=oldest.expected,
        since=oldest.since,
        cause=situation.causes.waiting(deployment, stuck),
    )


CHECK = Check(
    name="stuck",
    section=StaySettings,
    about="Runs too long in Pending, Cancelling or Paused, or on retries.",
    heading="Stuck",
    predicate="are stuck",
    cases=deployments,
    judge=judge,
    deciding=lambda settings: (
        "pending_after",
        "cancelling_after",
        "paused_after",
        "timeout_grace",
        "retrying_after",
    ),
    role="waits",
    not_replayed="the state history needs one request for each run",
)
