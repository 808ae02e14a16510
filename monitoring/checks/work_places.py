"""work-pool and work-queue: work is due at a place where nothing starts it.

What the runs wait for is what `late` says of them: one finding for the pool or the queue, with all that waits there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from monitoring.checks.facts.causes import Causes, full_name
from monitoring.checks.findings import by_deployment, place_finding, runs_text, whose_runs
from monitoring.checks.late import due_time
from monitoring.config.policy import Policies
from monitoring.config.settings import WorkPoolPlace
from monitoring.model.finding import Cause, CauseKind, Finding, Severity, Subject
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Backlog, Observation
from monitoring.model.prefect import FlowRun, WorkPool
from monitoring.text.durations import spoken
from monitoring.text.links import work_pool_url, work_queue_url


class _Waiting(NamedTuple):
    """A run that is due and has not started."""

    run: FlowRun
    due: datetime
    deployment: str
    cause: Cause | None


#: What waits by the place that holds it up; what nothing explains by the pool in which it waits. Longest wait first.
_Places = Mapping[tuple[CauseKind | None, str], Sequence[_Waiting]]


def check_pools(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find work pools where work is due and no worker lives, which are paused, or where work piles up."""
    places = _places(observation, policies)
    for pool in observation.pools.work_pools.values():
        policy = policies.of_pool(pool.name).work_pool
        held_up = places.get(("work-pool", pool.name), ())
        unexplained = places.get((None, pool.name), ())
        if policy.enabled and held_up and observation.at - _since(pool, held_up) > policy.after:
            yield _held_up(observation, pool, held_up, policy)
        elif (
            policy.enabled
            and not held_up
            and _grows(observation.pools.backlogs.get(pool.name), unexplained, policy, observation.at)
        ):
            yield _growing(observation, pool, observation.pools.backlogs[pool.name], unexplained, policy)


def check_queues(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find work queues that are paused and where work is due."""
    places = _places(observation, policies)
    for pool in observation.pools.work_pools.values():
        policy = policies.of_pool(pool.name).work_queue
        for queue in pool.queues:
            name = full_name(pool, queue)
            held_up = places.get(("work-queue", name), ())
            if not policy.enabled or not held_up or observation.at - held_up[0].due <= policy.after:
                continue
            yield place_finding(
                observation,
                "work-queue",
                Subject(kind="work-queue", id=queue.id, name=name),
                severity="warning",
                summary=f"{name}: paused, and {_wait(held_up)}",
                observed=f"paused; {_wait(held_up)}, the oldest for {spoken(observation.at - held_up[0].due)}",
                expected=f"due work starts within {spoken(policy.after)}",
                since=held_up[0].due,
                url=work_queue_url(observation.server.state.ui_url, pool.name, queue.name),
                run_ids=[one.run.id for one in held_up],
                cause=held_up[0].cause,
                evidence=whose_runs(one.deployment for one in held_up),
            )


def _held_up(observation: Observation, pool: WorkPool, waiting: Sequence[_Waiting], policy: WorkPoolPlace) -> Finding:
    what, seen = ("paused", "paused") if pool.paused else ("no live worker", last_heartbeat(pool, observation.at))
    return _finding(
        observation,
        pool,
        waiting,
        severity="warning" if pool.paused else "critical",
        summary=f"{pool.name}: {what}, and {_wait(waiting)}",
        observed=f"{seen}; {_wait(waiting)}, the oldest for {spoken(observation.at - waiting[0].due)}",
        expected=f"due work starts within {spoken(policy.after)}",
        since=_since(pool, waiting),
    )


def _since(pool: WorkPool, waiting: Sequence[_Waiting]) -> datetime:
    """Since when work waits for the pool itself: while a worker lived, it waited for something else."""
    first = waiting[0].due
    return first if pool.paused else max(first, pool.last_heartbeat or first)


def _grows(backlog: Backlog | None, waiting: Sequence[_Waiting], policy: WorkPoolPlace, now: datetime) -> bool:
    """Whether runs pile up that nothing else explains."""
    if backlog is None or len(waiting) < policy.growing_min or now - backlog.samples[0][0] < policy.growing_for:
        return False
    counts = [count for _, count in backlog.samples]
    grown = all(before < after for before, after in pairwise(counts))
    return grown and counts[-1] >= policy.growing_min


def _growing(
    observation: Observation,
    pool: WorkPool,
    backlog: Backlog,
    waiting: Sequence[_Waiting],
    policy: WorkPoolPlace,
) -> Finding:
    counts = [count for _, count in backlog.samples]
    grown_for = spoken(observation.at - backlog.samples[0][0])
    workers = "" if pool.live_workers is None else f"; live workers: {pool.live_workers:,}"
    return _finding(
        observation,
        pool,
        waiting,
        severity="warning",
        summary=f"{pool.name}: the backlog has grown for {grown_for}, from {counts[0]:,} to {runs_text(counts[-1])}",
        observed=f"runs waiting, over {grown_for}: {', '.join(f'{count:,}' for count in counts)}{workers}",
        expected=f"a backlog that does not grow for {spoken(policy.growing_for)}",
        since=waiting[0].due,
    )


def _finding(
    observation: Observation,
    pool: WorkPool,
    waiting: Sequence[_Waiting],
    *,
    severity: Severity,
    summary: str,
    observed: str,
    expected: str,
    since: datetime,
) -> Finding:
    return place_finding(
        observation,
        "work-pool",
        Subject(kind="work-pool", id=pool.id, name=pool.name),
        severity=severity,
        summary=summary,
        observed=observed,
        expected=expected,
        since=since,
        url=work_pool_url(observation.server.state.ui_url, pool.name),
        run_ids=[one.run.id for one in waiting],
        cause=waiting[0].cause,
        evidence=whose_runs(one.deployment for one in waiting),
    )


def _places(observation: Observation, policies: Policies) -> _Places:
    """Sort the runs of watched deployments that wait by what they wait for.

    What waits for a slot of a full limit is left out: another check tells of limits.
    """
    causes = Causes(observation)
    places: dict[tuple[CauseKind | None, str], list[_Waiting]] = {}
    scheduled = (run for run in observation.runs.active if run.state_type == "SCHEDULED" and not run.retries_in_process)
    for deployment, policy, runs in by_deployment(observation, policies, scheduled):
        for run in runs if policy.watch else ():
            due = due_time(observation, run)
            cause = causes.of_run(deployment, run)
            if due is None or due >= observation.at or (cause and cause.reason == "limit-reached"):
                continue
            place = (cause.kind, cause.name) if cause else (None, run.work_pool or deployment.work_pool or "")
            places.setdefault(place, []).append(_Waiting(run, due, deployment.name, cause))
    return {place: sorted(waiting, key=lambda one: (one.due, one.run.id)) for place, waiting in places.items()}


def last_heartbeat(pool: WorkPool, now: datetime) -> str:
    """Say when any worker of a pool was last heard of.

    Args:
        pool: A work pool whose workers were counted.
        now: The moment of the check.
    """
    last = pool.last_heartbeat
    return (
        f"last heartbeat of a worker {last:%Y-%m-%d %H:%M} UTC, {spoken(now - last)} ago"
        if last
        else "no worker was ever there"
    )


def _wait(waiting: Sequence[_Waiting]) -> str:
    return "1 run waits" if len(waiting) == 1 else f"{len(waiting):,} runs wait"
