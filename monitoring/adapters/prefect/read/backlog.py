"""Reads backlogs of work pools, and upcoming runs that may not be able to start.

Only work pools, queues and deployments in trouble are queried: a server makes runs for weeks ahead, and most of them do
not matter. Each query names state types and bounds ``start_time``, which is the due time of a run that never started:
SQLite has an index of the two, and without it reads every run of a work pool (1.4 s of a million).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from monitoring.adapters.prefect.read.collection import Collection, chunks
from monitoring.adapters.prefect.read.rows import Row
from monitoring.adapters.prefect.read.schedules import due_between
from monitoring.checks.ahead import CHECK as AHEAD
from monitoring.checks.facts.cases import Queue, full_name
from monitoring.checks.facts.causes import Slots, skips
from monitoring.checks.work_pool import CHECK as WORK_POOL
from monitoring.model.observation import Backlog
from monitoring.model.prefect import TERMINAL, Deployment, FlowRun, WorkPool, by_key

#: A run that has waited for less is about to be submitted.
_TAKEN_WITHIN = timedelta(minutes=1)
#: Among the runs that have started since, those that waited longer are ignored.
_MAX_WAIT = timedelta(days=1)
#: The time in which a backlog must have grown is divided into this many steps.
_STEPS = 3
_MAX_BACKLOGS = 50
_STARTED = ["PENDING", "RUNNING", "CANCELLING", "PAUSED", *sorted(TERMINAL)]
_MAX_FILTERS = 200
#: Upcoming runs read in all; where more are left than that, a page of the soonest.
_MAX_UPCOMING = 1_000


def backlogs(collection: Collection, pools: Mapping[str, WorkPool], overdue: Sequence[FlowRun]) -> dict[str, Backlog]:
    """How many runs waited in each pool with a backlog, over the time that the policy names; by the pool's name.

    A run waited at a time if it was due before, and still waits or has started since. All runs of a pool count, at
    every time, whoever owns them: a count does not tell which of the started runs are watched. Pools that are paused or
    have no worker are left out: their backlog has its reason.
    """
    waiting: dict[str, list[datetime]] = {}
    for run in overdue:
        if run.work_pool and run.expected_start_time and run.start_time is None:
            waiting.setdefault(run.work_pool, []).append(run.expected_start_time)
    backlogged: list[tuple[str, timedelta]] = []
    for name in sorted(waiting, key=lambda name: -len(waiting[name])):
        settings = WORK_POOL.settings(collection.policies.of(pool=name))
        works = name in pools and not pools[name].paused and pools[name].live_workers != 0
        if settings.enabled and works and _due_by(waiting[name], collection.now) >= settings.growing_min:
            backlogged.append((name, settings.growing_for))
    found: dict[str, Backlog] = {}
    for name, span in collection.some("backlogs", backlogged, _MAX_BACKLOGS, "work pools where runs wait"):
        samples = []
        for time in (collection.now - span * step / _STEPS for step in range(_STEPS, 0, -1)):
            started = collection.count("backlogs", _started_since(pools[name].id, time))
            if started is None:
                break
            samples.append((time, _due_by(waiting[name], time) + started))
        else:
            found[name] = Backlog(samples=(*samples, (collection.now, _due_by(waiting[name], collection.now))))
    return found


def _due_by(due_times: Sequence[datetime], time: datetime) -> int:
    return sum(due < time - _TAKEN_WITHIN for due in due_times)


def _started_since(pool_id: str, time: datetime) -> dict[str, Any]:
    """The filter for runs that were due at that time and started later."""
    due = {"after_": (time - _MAX_WAIT).isoformat(), "before_": (time - _TAKEN_WITHIN).isoformat()}
    started = {"state": {"type": {"any_": _STARTED}}, "start_time": {"after_": time.isoformat()}}
    return {"flow_runs": {**started, "expected_start_time": due}, "work_pools": {"id": {"any_": [pool_id]}}}


class _Filter(NamedTuple):
    """A filter for the runs of a work pool, a queue or deployments that may not be able to start."""

    names: Sequence[str]
    flow_runs: Mapping[str, Any]
    others: Mapping[str, Any]
    within: timedelta


def upcoming(
    collection: Collection,
    pools: Mapping[str, WorkPool],
    deployments: Mapping[str, Deployment],
    active: Sequence[FlowRun],
) -> tuple[tuple[FlowRun, ...], frozenset[str]]:
    """SCHEDULED runs that are due in the time ahead and that something may hold up, soonest first.

    That is a work pool without a live worker, a paused pool or queue, or a limit that is full now. With them, the names
    of pools, queues and deployments that have more such runs than were read.
    """
    slots = Slots(active, whole=collection.coverage.has("active-runs"))
    filters = list(_filters(collection, pools, deployments, slots))
    found: dict[str, FlowRun] = {}
    cut: set[str] = set()
    for wanted in collection.some("upcoming-runs", filters, _MAX_FILTERS, "pools, queues and deployments in trouble"):
        body = {**wanted.others, "flow_runs": {**wanted.flow_runs, **_scheduled(collection.now, wanted.within)}}
        count = collection.count("upcoming-runs", body) or 0
        if count > _MAX_UPCOMING - len(found):
            runs = collection.first_runs("upcoming-runs", {**body, "sort": "EXPECTED_START_TIME_ASC"}) or []
            cut.update(wanted.names)
        else:
            runs = collection.runs("upcoming-runs", {**body, "sort": "ID_DESC"}) if count else []
        found |= {run.id: run for run in runs if run.key in deployments}
    soonest_first = sorted(found.values(), key=lambda run: run.expected_start_time or run.created)
    return tuple(soonest_first), frozenset(cut)


def later(
    collection: Collection,
    upcoming: Iterable[FlowRun],
    deployments: Mapping[str, Deployment],
    schedules: Mapping[str, Sequence[Row]],
) -> dict[str, int]:
    """By the key of a deployment with upcoming runs: how many more its schedules imply for the time ahead."""
    found: dict[str, int] = {}
    for key, runs in by_key(upcoming).items():
        deployment, rows = deployments[key], schedules.get(key, ())
        until = collection.now + AHEAD.settings(collection.policy(deployment)).within
        due = collection.expand(
            deployment, (), due_between, rows, after=collection.now, until=until, limit=_MAX_UPCOMING
        )
        made = {run.expected_start_time for run in runs}
        last = max((time for time in due if time in made), default=collection.now)
        if more := sum(time > last for time in due):
            found[key] = more
    return found


def work_ahead(collection: Collection, pool_ids: Sequence[str], within: timedelta) -> bool:
    """Whether any of these pools has a run due in the time ahead, or that is unknown; one request for 100 pools."""
    scheduled = _scheduled(collection.now, within)
    bodies = ({"flow_runs": scheduled, "work_pools": {"id": {"any_": chunk}}} for chunk in chunks(pool_ids))
    return any(collection.count("upcoming-runs", body) != 0 for body in bodies)


def _scheduled(now: datetime, within: timedelta) -> dict[str, Any]:
    due = {"after_": now.isoformat(), "before_": (now + within).isoformat()}
    return {"state": {"type": {"any_": ["SCHEDULED"]}}, "start_time": due}


def _filters(
    collection: Collection, pools: Mapping[str, WorkPool], deployments: Mapping[str, Deployment], slots: Slots
) -> Iterator[_Filter]:
    """Filters for what is in trouble, as far ahead as the policies of the deployments say."""
    ahead: dict[str, timedelta] = {}
    full: dict[timedelta, list[Deployment]] = {}
    for deployment in deployments.values():
        policy = collection.policy(deployment)
        settings = AHEAD.settings(policy)
        if not policy.watch or not settings.enabled:
            continue
        if deployment.work_pool:
            ahead[deployment.work_pool] = max(settings.within, ahead.get(deployment.work_pool, timedelta(0)))
        limit = slots.of(deployment)
        if limit and not skips(deployment, limit):
            full.setdefault(settings.within, []).append(deployment)
    for name, within in sorted(ahead.items()):
        pool = pools.get(name)
        if pool and (pool.paused or pool.live_workers == 0 or slots.of(pool)):
            yield _Filter([name], {}, {"work_pools": {"id": {"any_": [pool.id]}}}, within)
            continue
        for queue in pool.queues if pool else ():
            if pool and (queue.paused or slots.of(Queue(pool, queue))):
                yield _Filter([full_name(pool, queue)], {}, {"work_pool_queues": {"id": {"any_": [queue.id]}}}, within)
    for within, limited in full.items():
        for chunk in chunks(limited):
            ids = {"deployment_id": {"any_": [deployment.id for deployment in chunk]}}
            yield _Filter([deployment.name for deployment in chunk], ids, {}, within)
