"""The runs that are due and wait, each with the cause of its wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import Field

from monitoring.checks.facts.causes import Causes
from monitoring.checks.findings import runs_text
from monitoring.model.fields import CheckSettings, Span
from monitoring.model.finding import Cause, CauseKind, CauseReason
from monitoring.model.observation import Observation
from monitoring.model.policy import BasePolicy, Policies, policy_key
from monitoring.model.prefect import Deployment, FlowRun, WorkPool, by_key
from monitoring.text.durations import humanized


class WaitSettings(CheckSettings):
    """When work is due at a work pool or queue and cannot start."""

    after: Span = Field(timedelta(minutes=5), description="How long past its due time work may wait there.")


class Waiting(NamedTuple):
    """A run that is due and has not started."""

    run: FlowRun
    due: datetime
    deployment: Deployment
    cause: Cause | None


#: Waiting runs by the cause of their wait (``Cause.what``); longest wait first.
ByCause = Mapping[tuple[CauseKind, str, CauseReason], Sequence[Waiting]]
#: Waiting runs by the work pool or queue that holds them up; runs without a cause by their work pool, with the
#: kind None. Longest wait first.
ByPlace = Mapping[tuple[CauseKind | None, str], Sequence[Waiting]]


def due_time(observation: Observation, run: FlowRun) -> datetime | None:
    """When a SCHEDULED run should have started or continued.

    Each rejected request for a concurrency slot moves ``next_scheduled_start_time`` 30 s ahead. So the first due time
    counts, or, for a run that had started before, the time when it began to wait.
    """
    if run.state_name == "AwaitingConcurrencySlot":
        return observation.runs.slot_wait_since.get(run.id) if run.start_time else run.expected_start_time
    return run.next_scheduled_start_time


def by_deployment(
    observation: Observation, policies: Policies, runs: Iterable[FlowRun]
) -> Iterator[tuple[Deployment, BasePolicy, list[FlowRun]]]:
    """Group runs by watched deployment, with its policy; runs of unknown deployments are left out."""
    for key, group in by_key(runs).items():
        deployment = observation.deployments.get(key)
        policy = policies.of(*policy_key(deployment)) if deployment else None
        if deployment and policy and policy.watch:
            yield deployment, policy, group


def waiting_runs(observation: Observation, policies: Policies, causes: Causes) -> tuple[Waiting, ...]:
    """The SCHEDULED runs of watched deployments that have a due time, longest wait first; no retries in process."""
    return tuple(sorted(_waiting_runs(observation, policies, causes), key=lambda wait: (wait.due, wait.run.id)))


def _waiting_runs(observation: Observation, policies: Policies, causes: Causes) -> Iterator[Waiting]:
    scheduled = (run for run in observation.runs.active if run.state_type == "SCHEDULED" and not run.retries_in_process)
    for deployment, _, runs in by_deployment(observation, policies, scheduled):
        for run in runs:
            if due := due_time(observation, run):
                yield Waiting(run, due, deployment, causes.of_run(deployment, run))


def by_cause(waiting: Sequence[Waiting]) -> ByCause:
    """Group waiting runs that have a cause by it."""
    groups: dict[tuple[CauseKind, str, CauseReason], list[Waiting]] = {}
    for wait in waiting:
        if wait.cause:
            groups.setdefault(wait.cause.what, []).append(wait)
    return groups


def by_place(waiting: Sequence[Waiting], now: datetime) -> ByPlace:
    """Group runs that are overdue by the work pool or queue that holds them up.

    Runs that wait for a slot of a full limit are left out: the check of limits reports them.
    """
    groups: dict[tuple[CauseKind | None, str], list[Waiting]] = {}
    for wait in waiting:
        cause = wait.cause
        if wait.due < now and not (cause and cause.reason == "limit-reached"):
            pool = wait.run.work_pool or wait.deployment.work_pool or ""
            groups.setdefault((cause.kind, cause.name) if cause else (None, pool), []).append(wait)
    return groups


def runs_wait(count: int) -> str:
    """Count waiting runs in words: ``1 run waits``, ``3 runs wait``."""
    return "1 run waits" if count == 1 else f"{count:,} runs wait"


def whose_runs(deployments: Iterable[Deployment]) -> list[str]:
    """Count runs by their deployments, a line for each of the five with most runs: ``etl/nightly: 3 runs``."""
    counts = Counter(deployment.name for deployment in deployments)
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
    return [f"{name}: {runs_text(count)}" for name, count in most]


def last_heartbeat(pool: WorkPool, now: datetime) -> str:
    """When any worker of a pool sent its last heartbeat, in words."""
    last = pool.last_heartbeat
    return (
        f"last heartbeat of a worker {last:%Y-%m-%d %H:%M} UTC, {humanized(now - last)} ago"
        if last
        else "no worker has ever sent a heartbeat"
    )
