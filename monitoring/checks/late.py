"""late: a run is due and has not started, whatever its waiting state is called.

Late states come from a background service of the server, and only runs named Scheduled get one; so
lateness is computed from due times.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from monitoring.checks.facts.causes import Causes
from monitoring.checks.findings import by_deployment, deployment_finding, runs_text
from monitoring.config.policy import Policies
from monitoring.model.finding import Finding
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.prefect import FlowRun
from monitoring.text.durations import spoken


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find deployments with runs that should have started by now."""
    scheduled = [run for run in observation.runs.active if run.state_type == "SCHEDULED"]
    due = {run.id: moment for run in scheduled if (moment := due_time(observation, run))}
    waiting = [run for run in scheduled if run.id in due]
    causes = Causes(observation)
    for deployment, policy, runs in by_deployment(observation, policies, waiting):
        late = [run for run in runs if observation.at - due[run.id] > policy.late.after]
        if not policy.late.enabled or not late:
            continue
        late.sort(key=lambda run: (due[run.id], run.id))
        oldest = late[0]
        lateness = observation.at - due[oldest.id]
        yield deployment_finding(
            observation,
            "late",
            deployment,
            severity="critical" if lateness > policy.late.critical_after else "warning",
            run_ids=[run.id for run in late],
            run_count=len(late),
            summary=f"{deployment.name}: {runs_text(len(late))} late, the oldest by {spoken(lateness)}",
            observed=f"{oldest.name}: due for {spoken(lateness)}, still {oldest.state_name}",
            expected=f"started within {spoken(policy.late.after)} of the due time",
            since=due[oldest.id],
            cause=causes.waiting(deployment, late),
        )


def due_time(observation: Observation, run: FlowRun) -> datetime | None:
    """When a SCHEDULED run should have started, or gone on.

    Each refusal of a concurrency slot moves ``next_scheduled_start_time`` 30 s ahead; there the first
    due time counts, or, for a run that had started before, the moment it began to wait.
    """
    if run.state_name == "AwaitingConcurrencySlot":
        return observation.runs.slot_wait_since.get(run.id) if run.start_time else run.expected_start_time
    return run.next_scheduled_start_time
