"""What waits, and what will: backlogs of work pools, and runs due soon that may not be able to start.

Only places that are in trouble are asked about: a server makes runs for weeks ahead, and most of them are nobody's
concern. Each query names types of state and bounds ``start_time``, which is the due time of a run that never started:
SQLite has an index of the two, and without it reads every run of a work pool (1.4 s of a million).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from monitoring.adapters.prefect.read.collection import Collection, chunks
from monitoring.checks.facts.causes import Slots, full_name, skips
from monitoring.model.observation import Backlog
from monitoring.model.prefect import TERMINAL, Deployment, FlowRun, WorkPool

#: A run that waits for less is about to be taken.
_TAKEN_WITHIN = timedelta(minutes=1)
#: Runs that have waited for longer are not looked for among those that have started since.
_MAX_WAIT = timedelta(days=1)
#: Into so many steps the time is cut in which a backlog must have grown.
_STEPS = 3
_MAX_BACKLOGS = 50
_STARTED = ["PENDING", "RUNNING", "CANCELLING", "PAUSED", *sorted(TERMINAL)]
_MAX_PLACES = 200
#: So many runs are read in all; of places with more than are left of these, a page of the soonest.
_MAX_UPCOMING = 1_000


def backlogs(collection: Collection, pools: Mapping[str, WorkPool], overdue: Sequence[FlowRun]) -> dict[str, Backlog]:
    """How many runs waited in each pool with a backlog, over the time that counts; by the pool's name.

    A run had waited at a moment if it was due before, and waits still or has started since. All runs of a pool count,
    at every moment: which of those that have started are watched, a count does not tell. Pools that are paused or have
    no worker are left out: their backlog has its reason.

    Args:
        collection: What to ask with.
        pools: All work pools, by name.
        overdue: All runs that are due and wait, whosever they are.
    """
    waiting: dict[str, list[datetime]] = {}
    for run in overdue:
        if run.work_pool and run.expected_start_time and run.start_time is None:
            waiting.setdefault(run.work_pool, []).append(run.expected_start_time)
    found: dict[str, Backlog] = {}
    asked = 0
    for name, due in sorted(waiting.items(), key=lambda item: -len(item[1])):
        policy = collection.policies.of_pool(name).work_pool
        pool = pools.get(name)
        present = _due_by(due, collection.now)
        if not policy.enabled or pool is None or pool.paused or pool.live_workers == 0 or present < policy.growing_min:
            continue
        asked += 1
        if asked > _MAX_BACKLOGS:
            collection.note("backlogs", "partial", f"asked for the {_MAX_BACKLOGS} work pools where most runs wait")
            break
        moments = [collection.now - policy.growing_for * step / _STEPS for step in range(_STEPS, 0, -1)]
        samples = []
        for moment in moments:
            started = collection.count("backlogs", _started_since(name, moment))
            if started is None:
                break
            samples.append((moment, _due_by(due, moment) + started))
        else:
            found[name] = Backlog(samples=(*samples, (collection.now, present)))
    return found


def _due_by(due: Sequence[datetime], moment: datetime) -> int:
    return sum(one < moment - _TAKEN_WITHIN for one in due)


def _started_since(pool: str, moment: datetime) -> dict[str, Any]:
    """Runs that were due at a moment and started later."""
    due = {"after_": _text(moment - _MAX_WAIT), "before_": _text(moment - _TAKEN_WITHIN)}
    started = {"state": {"type": {"any_": _STARTED}}, "start_time": {"after_": _text(moment)}}
    return {"flow_runs": {**started, "expected_start_time": due}, "work_pools": {"name": {"any_": [pool]}}}


class Upcoming(NamedTuple):
    """Runs that are due soon, soonest first, and the names of the places where more are due than were read."""

    runs: tuple[FlowRun, ...]
    cut: frozenset[str]


class _Place(NamedTuple):
    """A work pool, a queue or deployments where runs may not be able to start."""

    names: Sequence[str]
    flow_runs: Mapping[str, Any]
    others: Mapping[str, Any]
    within: timedelta


def upcoming(
    collection: Collection,
    pools: Mapping[str, WorkPool],
    deployments: Mapping[str, Deployment],
    active: Sequence[FlowRun],
) -> Upcoming:
    """SCHEDULED runs that are due in the time ahead where something may hold them up.

    That is a pool without a live worker, what is paused, and a limit that is full now.
    """
    slots = Slots(active, whole=collection.coverage.has("active-runs"))
    places = list(_places(collection, pools, deployments, slots))
    if len(places) > _MAX_PLACES:
        collection.note("upcoming-runs", "partial", f"asked for {_MAX_PLACES} of {len(places)} places in trouble")
    found: dict[str, FlowRun] = {}
    cut: set[str] = set()
    for place in places[:_MAX_PLACES]:
        body = {**place.others, "flow_runs": {**place.flow_runs, **_scheduled(collection.now, place.within)}}
        count = collection.count("upcoming-runs", body) or 0
        if count > _MAX_UPCOMING - len(found):
            runs = collection.first_runs("upcoming-runs", {**body, "sort": "EXPECTED_START_TIME_ASC"}) or []
            cut.update(place.names)
        else:
            runs = collection.runs("upcoming-runs", {**body, "sort": "ID_DESC"}) if count else []
        found |= {run.id: run for run in runs if run.key in deployments}
    return Upcoming(
        tuple(sorted(found.values(), key=lambda run: run.expected_start_time or run.created)), frozenset(cut)
    )


def work_ahead(collection: Collection, pools: Sequence[str], within: timedelta) -> bool:
    """Whether any run is due at any of these work pools in the time ahead, or nobody knows: a request for 100 pools."""
    scheduled = _scheduled(collection.now, within)
    bodies = ({"flow_runs": scheduled, "work_pools": {"name": {"any_": chunk}}} for chunk in chunks(pools))
    return any(collection.count("upcoming-runs", body) != 0 for body in bodies)


def _scheduled(now: datetime, within: timedelta) -> dict[str, Any]:
    due = {"after_": _text(now), "before_": _text(now + within)}
    return {"state": {"type": {"any_": ["SCHEDULED"]}}, "start_time": due}


def _places(
    collection: Collection, pools: Mapping[str, WorkPool], deployments: Mapping[str, Deployment], slots: Slots
) -> Iterator[_Place]:
    """The places in trouble, as far ahead as the policies of their deployments look."""
    ahead: dict[str, timedelta] = {}
    full: dict[timedelta, list[Deployment]] = {}
    for deployment in deployments.values():
        policy = collection.policy(deployment)
        if not policy.watch or not policy.ahead.enabled:
            continue
        if deployment.work_pool:
            ahead[deployment.work_pool] = max(policy.ahead.within, ahead.get(deployment.work_pool, timedelta(0)))
        limit = slots.of_deployment(deployment)
        if limit and not skips(deployment, limit):
            full.setdefault(policy.ahead.within, []).append(deployment)
    for name, within in sorted(ahead.items()):
        pool = pools.get(name)
        if pool and (pool.paused or pool.live_workers == 0 or slots.of_pool(pool)):
            yield _Place([name], {}, {"work_pools": {"name": {"any_": [name]}}}, within)
            continue
        for queue in pool.queues if pool else ():
            if pool and (queue.paused or slots.of_queue(pool, queue)):
                yield _Place([full_name(pool, queue)], {}, {"work_pool_queues": {"id": {"any_": [queue.id]}}}, within)
    for within, limited in full.items():
        for chunk in chunks(limited):
            ids = {"deployment_id": {"any_": [deployment.id for deployment in chunk]}}
            yield _Place([deployment.name for deployment in chunk], ids, {}, within)


def _text(moment: datetime) -> str:
    return moment.isoformat()
