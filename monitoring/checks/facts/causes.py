"""Why runs wait or are missing, as far as the observation shows it.

The server decides which runs a worker gets (prefect/server/database/sql/*/get-runs-from-worker-queues.sql.jinja): none
from a paused pool or queue, and none beyond the limits of either, which PENDING and RUNNING runs fill. Such a run still
needs a slot of its deployment's limit, which CANCELLING runs hold as well. A paused deployment keeps no run waiting:
its scheduled runs are deleted, and workers take its other runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from monitoring.checks.facts.cases import Queue, full_name
from monitoring.checks.facts.scheduler import scheduler_cause
from monitoring.checks.facts.serving import unserved_since
from monitoring.model.finding import Cause, CauseKind
from monitoring.model.observation import ConcurrencyLimit, Observation
from monitoring.model.prefect import Deployment, FlowRun, WorkPool, WorkQueue, by_key

#: The most runs that a cause names.
MAX_HOLDERS = 10
_WAITING = ("SCHEDULED", "PENDING")
#: A queue that was polled this recently shows that workers poll, and that the server notes it.
_POLLED_LATELY = timedelta(minutes=2)
#: A queue that was polled so much longer ago than another queue of its pool is not polled.
_NOT_POLLED = timedelta(minutes=5)


class Full(NamedTuple):
    """A limit without a free slot, its holders, and the cause of waiting for a slot."""

    limit: int
    holders: Sequence[FlowRun]
    cause: Cause


def skips(deployment: Deployment, full: Full) -> bool:
    """Whether a full limit makes a deployment skip runs, as its owner intends, instead of waiting.

    A limit of 0 lets nothing run at all, which is never intended.
    """
    return deployment.skips_overlaps and full.cause.kind == "deployment" and full.limit > 0


class Slots:
    """Who holds the slots of limits, and which limits are full; ``whole`` if the runs are all that may hold slots."""

    def __init__(self, active: Iterable[FlowRun], whole: bool) -> None:
        """Group the holders by the place of their slots, once."""
        self._whole = whole
        self._holders: dict[tuple[CauseKind, str], list[FlowRun]] = {}
        self._known: dict[tuple[CauseKind, str], Full | None] = {}
        for run in active:
            for place in _held_by(run):
                self._holders.setdefault(place, []).append(run)

    def of(self, limited: Deployment | WorkPool | Queue) -> Full | None:
        """The limit of a deployment, work pool or work queue, if it has one and it is full."""
        place = limited.queue if isinstance(limited, Queue) else limited
        if place.concurrency_limit is None:
            return None
        kind, key = _slots_of(limited)
        if (kind, key) not in self._known:
            limit, taken, active = place.concurrency_limit, place.slots_taken, self._holders.get((kind, key), ())
            # What the server counts decides whether a run may start: it counts slots that no run holds any more, and
            # not the runs that were running when the limit was set. Older servers do not report the number.
            full = self._whole and len(active) >= limit if taken is None else taken >= limit
            holders = (_leased(active, taken) if taken and kind == "deployment" else ()) or active
            name = limited.name if isinstance(limited, Deployment) else key
            self._known[kind, key] = Full(limit, holders, limit_cause(kind, name, holders)) if full else None
        return self._known[kind, key]


class Causes:
    """The causes that an observation shows."""

    def __init__(self, observation: Observation) -> None:
        """Index the observation, once."""
        self._observation = observation
        active = (*observation.runs.active, *observation.runs.of_deleted, *observation.own.active)
        self.slots = Slots(active, whole=observation.coverage.has("active-runs"))
        self._queues = {
            (pool.name, queue.name): queue for pool in observation.pools.work_pools.values() for queue in pool.queues
        }
        self._active = by_key(observation.runs.active)

    def waiting(self, deployment: Deployment, runs: Iterable[FlowRun]) -> Cause | None:
        """The most frequent cause why these runs of a deployment do not start; None if none is known."""
        causes = [self.of_run(deployment, run) for run in runs]
        most = Counter(causes).most_common(1)
        return most[0][0] if most else None

    def of_run(self, deployment: Deployment, run: FlowRun) -> Cause | None:
        """Why a SCHEDULED run does not start, or a PENDING run does not continue; None for other states.

        The run's own work pool and queue take precedence over its deployment's.
        """
        if run.retries_in_process or run.state_type not in _WAITING:
            return None
        if run.state_type == "PENDING":
            # A worker took it already: a pause no longer affects it, and it holds its slots.
            return _no_worker(self._place(deployment, run)[0])
        full = self.full(deployment, run)
        return self.closed(deployment, run) or self._unserved(deployment, run) or (full[0].cause if full else None)

    def closed(self, deployment: Deployment, run: FlowRun | None = None) -> Cause | None:
        """Why nothing starts at all where a run waits, or a deployment's runs would: a pause or no live worker."""
        pool, queue = self._place(deployment, run)
        if pool and pool.paused:
            return Cause(kind="work-pool", name=pool.name, reason="paused")
        if pool and queue and queue.paused:
            return Cause(kind="work-queue", name=full_name(pool, queue), reason="paused")
        if pool and queue and _not_polled(pool, queue, self._observation.at):
            return Cause(kind="work-queue", name=full_name(pool, queue), reason="not-polled")
        return _no_worker(pool)

    def _unserved(self, deployment: Deployment, run: FlowRun) -> Cause | None:
        """The end of the ``serve()`` process that would start the run."""
        if run.work_pool or unserved_since(deployment, self._observation.at) is None:
            return None
        return Cause(kind="deployment", name=deployment.name, reason="not-polled")

    def full(self, deployment: Deployment, run: FlowRun) -> list[Full]:
        """The full limits that a run must pass; the first holds it up now. Arguments as for ``of_run``."""
        pool, queue = self._place(deployment, run)
        limits = [
            self.slots.of(Queue(pool, queue)) if pool and queue else None,
            self.slots.of(pool) if pool else None,
            self.slots.of(deployment),
        ]
        if run.state_name == "AwaitingConcurrencySlot":
            # A worker took it before its deployment's limit rejected it.
            limits.reverse()
        return [limit for limit in limits if limit]

    def stale(self, deployment: Deployment) -> Cause | None:
        """Why a deployment does not succeed: the cause that its runs are not created, do not start or do not end."""
        active = self._active.get(deployment.key, [])
        if previous := self._previous(deployment, active):
            return Cause(
                kind="flow-run", name=previous.name, reason="previous-run-running", flow_run_ids=(previous.id,)
            )
        if deployment.paused:
            return Cause(kind="deployment", name=deployment.name, reason="paused")
        if deployment.inactive_since and not deployment.scheduled:
            return Cause(kind="schedule", name=deployment.name, reason="paused")
        if deployment.id in self._observation.schedules.nothing_ahead:
            return scheduler_cause(self._observation.target)
        waiting = [run for run in active if run.state_type in _WAITING]
        return self.waiting(
            deployment, sorted(waiting, key=lambda run: (run.expected_start_time or run.created, run.id))
        )

    def _previous(self, deployment: Deployment, active: Iterable[FlowRun]) -> FlowRun | None:
        """The oldest running run that began before the newest scheduled time that has passed."""
        running = [run for run in active if run.state_type == "RUNNING" and run.start_time]
        if deployment.due:
            running = [run for run in running if _began(run) < deployment.due[-1]]
        return min(running, key=lambda run: (_began(run), run.id), default=None)

    def _place(self, deployment: Deployment, run: FlowRun | None) -> tuple[WorkPool | None, WorkQueue | None]:
        own_pool, own_queue = (run.work_pool, run.work_queue) if run else (None, None)
        pool = self._observation.pools.work_pools.get(own_pool or deployment.work_pool or "")
        queue = self._queues.get((pool.name, own_queue or deployment.work_queue or "")) if pool else None
        return pool, queue


def limit_cause(kind: CauseKind, name: str, holders: Iterable[FlowRun]) -> Cause:
    """The cause of waiting for a slot of a full limit; it names the longest-running holders."""
    longest = sorted(holders, key=lambda run: (_began(run), run.id))[:MAX_HOLDERS]
    return Cause(kind=kind, name=name, reason="limit-reached", flow_run_ids=tuple(run.id for run in longest))


def _no_worker(pool: WorkPool | None) -> Cause | None:
    return Cause(kind="work-pool", name=pool.name, reason="no-live-worker") if pool and pool.live_workers == 0 else None


def _not_polled(pool: WorkPool, queue: WorkQueue, now: datetime) -> bool:
    """Whether the pool's workers poll other queues and not this one: they were started for named queues.

    A worker polls every 10 s by default, and the server notes it in the background.
    """
    polled = max((other.last_polled for other in pool.queues if other.last_polled), default=None)
    if not pool.live_workers or polled is None or now - polled > _POLLED_LATELY:
        return False
    return queue.last_polled is None or polled - queue.last_polled > _NOT_POLLED


def slots_cause(limit: ConcurrencyLimit) -> Cause:
    """The cause of waiting for a slot of a tag limit or global limit."""
    holders = tuple(holder.flow_run_id for holder in limit.holders[:MAX_HOLDERS])
    return Cause(kind=limit.kind, name=limit.name, reason="limit-reached", flow_run_ids=holders)


def _slots_of(limited: Deployment | WorkPool | Queue) -> tuple[CauseKind, str]:
    match limited:
        case Deployment():
            return "deployment", limited.id
        case WorkPool():
            return "work-pool", limited.name
        case Queue():
            return "work-queue", full_name(*limited)


def _leased(runs: Sequence[FlowRun], taken: int) -> Sequence[FlowRun]:
    """The runs that name the lease of a slot, if they account for all taken slots: then no other run holds one."""
    leased = [run for run in runs if run.slot_leased]
    return leased if len(leased) >= taken else ()


def _held_by(run: FlowRun) -> Iterator[tuple[CauseKind, str]]:
    """The places where a run holds a slot if they have a limit."""
    taken = run.state_type in ("PENDING", "RUNNING")
    if run.deployment_id and (taken or run.state_type == "CANCELLING"):
        yield "deployment", run.deployment_id
    if taken and run.work_pool:
        yield "work-pool", run.work_pool
        yield "work-queue", f"{run.work_pool}/{run.work_queue}"


def _began(run: FlowRun) -> datetime:
    return run.start_time or run.state_timestamp
