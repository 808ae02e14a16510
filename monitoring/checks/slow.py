"""slow: a run takes, or took, longer than its explicit limit.

Run time is time in RUNNING over all attempts; waits between retries and pauses are none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from monitoring.checks.findings import deployment_finding, runs_text
from monitoring.config import Slow
from monitoring.durations import spoken
from monitoring.model import Deployment, EndedRun, Finding, FlowRun, Ledger, Observation
from monitoring.policy import Policies


def check(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> Iterable[Finding]:
    """Find deployments with a run beyond its limit: running now, or the latest that ended."""
    running: dict[str, list[FlowRun]] = {}
    for run in observation.active:
        if run.state_type == "RUNNING":
            running.setdefault(run.key, []).append(run)
    for key, deployment in observation.deployments.items():
        policy = policies.of(deployment.name, deployment.tags, deployment.work_pool).slow
        if not policy.enabled or policy.limit is None:
            continue
        record = ledger.records.get(key)
        found = _finding(
            observation, deployment, running.get(key, []), record.last_ended if record else None, policy, now
        )
        if found:
            yield found


def _finding(
    observation: Observation,
    deployment: Deployment,
    running: list[FlowRun],
    last: EndedRun | None,
    policy: Slow,
    now: datetime,
) -> Finding | None:
    assert policy.limit is not None
    took = {run.id: run_time(run, now) for run in running}
    beyond = sorted((run for run in running if took[run.id] > policy.limit), key=lambda run: -took[run.id])
    ended = last if last and last.run_time > policy.limit and not _forgiven(deployment, last, policy, now) else None
    if beyond:
        longest = beyond[0]
        observed = f"{longest.name}: running for {spoken(took[longest.id])}"
        since = now - (took[longest.id] - policy.limit)
    elif ended:
        observed = f"{ended.name}: took {spoken(ended.run_time)}"
        since = ended.ended
    else:
        return None
    ids = [run.id for run in beyond] + ([ended.id] if ended else [])
    what = "running" if beyond else "the latest ended run"
    return deployment_finding(
        observation,
        "slow",
        deployment,
        severity="warning",
        run_ids=ids,
        run_count=len(ids),
        summary=f"{deployment.name}: {runs_text(len(ids))} beyond the limit of {spoken(policy.limit)} ({what})",
        observed=observed,
        expected=f"at most {spoken(policy.limit)} of run time",
        since=since,
    )


def run_time(run: FlowRun, now: datetime) -> timedelta:
    """Time in RUNNING over all attempts, up to now: the total moves only on leaving RUNNING."""
    return run.total_run_time + (now - run.state_timestamp)


def _forgiven(deployment: Deployment, last: EndedRun, policy: Slow, now: datetime) -> bool:
    return deployment.paused or (not deployment.scheduled and now - last.ended >= policy.expire_after)
