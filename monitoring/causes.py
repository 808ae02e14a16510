"""Why runs wait or do not come, from what was seen and never from a guess.

What a worker is given is decided by the server (prefect/server/database/sql/*/get-runs-from-worker-queues.sql.jinja):
nothing of a paused pool or queue, and nothing beyond the limits of either, which PENDING and RUNNING runs fill. What
was given still needs a slot of its deployment's limit, which CANCELLING runs hold as well. That a deployment is paused
keeps none of its runs waiting: its scheduled runs are deleted, and workers take those that somebody makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from monitoring.model import Cause, CauseKind, Deployment, FlowRun, Observation, WorkPool, WorkQueue, flow_key

#: A cause names at most so many of the runs that show it.
MOST_HOLDERS = 10
_WAITING = ("SCHEDULED", "PENDING")


def full_name(pool: WorkPool, queue: WorkQueue) -> str:
    """Name a work queue: its own name is unique only within its pool."""
    return f"{pool.name}/{queue.name}"


class Slots:
    """Who holds the slots of limits, and which limits are full.

    Args:
        active: The runs that may hold some; those that hold none are left aside.
        whole: Whether these are all.
    """

    def __init__(self, active: Iterable[FlowRun], whole: bool) -> None:
        """Sort the holders by where their slots are, once for all that is asked later."""
        self._whole = whole
        self._holders: dict[tuple[CauseKind, str], list[FlowRun]] = {}
        for run in active:
            for place in _held_by(run):
                self._holders.setdefault(place, []).append(run)

    def of_deployment(self, deployment: Deployment) -> Sequence[FlowRun]:
        """The runs that hold slots of a deployment."""
        return self._holders.get(("deployment", deployment.id), ())

    def of_pool(self, pool: WorkPool) -> Sequence[FlowRun]:
        """The runs that hold slots of a work pool."""
        return self._holders.get(("work-pool", pool.name), ())

    def of_queue(self, pool: WorkPool, queue: WorkQueue) -> Sequence[FlowRun]:
        """The runs that hold slots of a work queue."""
        return self._holders.get(("work-queue", full_name(pool, queue)), ())

    def deployment_full(self, deployment: Deployment) -> bool:
        """Whether a deployment has a limit, and no slot is left."""
        return self._full(deployment.concurrency_limit, deployment.slots_taken, self.of_deployment(deployment))

    def pool_full(self, pool: WorkPool) -> bool:
        """Whether a work pool has a limit, and no slot is left."""
        return self._full(pool.concurrency_limit, pool.slots_taken, self.of_pool(pool))

    def queue_full(self, pool: WorkPool, queue: WorkQueue) -> bool:
        """Whether a work queue has a limit, and no slot is left."""
        return self._full(queue.concurrency_limit, queue.slots_taken, self.of_queue(pool, queue))

    def _full(self, limit: int | None, taken: int | None, holders: Sequence[FlowRun]) -> bool:
        if limit is None:
            return False
        # The server counts slots too that no run holds any more, and an older one does not say how many are taken.
        return (taken is not None and taken >= limit) or (self._whole and len(holders) >= limit)


class Causes:
    """The causes that an observation shows.

    Args:
        observation: What was seen.
    """

    def __init__(self, observation: Observation) -> None:
        """Sort what was seen, once for all that is asked later."""
        self._observation = observation
        active = (*observation.active, *observation.own.active)
        self.slots = Slots(active, whole=observation.coverage.has("active-runs"))
        self._queues = {
            (pool.name, queue.name): queue for pool in observation.work_pools.values() for queue in pool.queues
        }
        self._active: dict[str, list[FlowRun]] = {}
        for run in observation.active:
            self._active.setdefault(run.key, []).append(run)

    def waiting(self, deployment: Deployment, runs: Iterable[FlowRun]) -> Cause | None:
        """Why runs of a deployment do not start: what most of them wait for. None where nothing shows why.

        Args:
            deployment: Whose runs wait.
            runs: Runs of it, those that count most first.
        """
        causes = [self.of_run(deployment, run) for run in runs]
        most = Counter(causes).most_common(1)
        return most[0][0] if most else None

    def of_run(self, deployment: Deployment, run: FlowRun) -> Cause | None:
        """Why a SCHEDULED run does not start, or why a PENDING one does not get on; None for any other.

        Args:
            deployment: Whose run it is.
            run: The run. Its own work pool and queue count before its deployment's.
        """
        pool = self._observation.work_pools.get(run.work_pool or deployment.work_pool or "")
        queue = self._queues.get((pool.name, run.work_queue or deployment.work_queue or "")) if pool else None
        if run.retries_in_process or run.state_type not in _WAITING:
            return None
        if run.state_type == "PENDING":
            # It was taken already: a pause comes too late for it, and it holds its slots.
            return self._no_worker(pool)
        held_up = self._paused(pool, queue) or self._no_worker(pool)
        if held_up:
            return held_up
        if run.state_name == "AwaitingConcurrencySlot":
            return self._deployment_full(deployment) or self._place_full(pool, queue)
        return self._place_full(pool, queue) or self._deployment_full(deployment)

    def stale(self, deployment: Deployment) -> Cause | None:
        """Why a deployment does not succeed: what keeps its runs from being made, from starting, or from ending.

        Args:
            deployment: The deployment, or flow.
        """
        key = deployment.id if deployment.kind == "deployment" else flow_key(deployment.id)
        active = self._active.get(key, [])
        if previous := self._previous(deployment, active):
            return Cause(
                kind="flow-run", name=previous.name, reason="previous-run-running", flow_run_ids=(previous.id,)
            )
        if deployment.paused:
            return Cause(kind="deployment", name=deployment.name, reason="paused")
        if deployment.inactive_since and not deployment.scheduled:
            return Cause(kind="schedule", name=deployment.name, reason="paused")
        if deployment.id in self._observation.nothing_ahead:
            return Cause(kind="scheduler", name=self._observation.target, reason="not-scheduling")
        waiting = [run for run in active if run.state_type in _WAITING]
        return self.waiting(deployment, sorted(waiting, key=_planned))

    def _previous(self, deployment: Deployment, active: Iterable[FlowRun]) -> FlowRun | None:
        """The oldest run that is still going and began before the newest fire that passed."""
        running = [run for run in active if run.state_type == "RUNNING" and run.start_time]
        if deployment.due:
            running = [run for run in running if _began(run) < deployment.due[-1]]
        return min(running, key=_began, default=None)

    def _paused(self, pool: WorkPool | None, queue: WorkQueue | None) -> Cause | None:
        if pool and pool.paused:
            return Cause(kind="work-pool", name=pool.name, reason="paused")
        if pool and queue and queue.paused:
            return Cause(kind="work-queue", name=full_name(pool, queue), reason="paused")
        return None

    def _no_worker(self, pool: WorkPool | None) -> Cause | None:
        if pool and pool.live_workers == 0:
            return Cause(kind="work-pool", name=pool.name, reason="no-live-worker")
        return None

    def _place_full(self, pool: WorkPool | None, queue: WorkQueue | None) -> Cause | None:
        if pool and queue and self.slots.queue_full(pool, queue):
            return limit_cause("work-queue", full_name(pool, queue), self.slots.of_queue(pool, queue))
        if pool and self.slots.pool_full(pool):
            return limit_cause("work-pool", pool.name, self.slots.of_pool(pool))
        return None

    def _deployment_full(self, deployment: Deployment) -> Cause | None:
        if self.slots.deployment_full(deployment):
            return limit_cause("deployment", deployment.name, self.slots.of_deployment(deployment))
        return None


def limit_cause(kind: CauseKind, name: str, holders: Iterable[FlowRun]) -> Cause:
    """The cause of what waits for a slot of a full limit.

    Args:
        kind: What the limit is of.
        name: The name of that.
        holders: Who holds its slots; those that have had them longest are named.
    """
    longest = sorted(holders, key=_began)[:MOST_HOLDERS]
    return Cause(kind=kind, name=name, reason="limit-reached", flow_run_ids=tuple(run.id for run in longest))


def stale_cause(observation: Observation, deployment: Deployment) -> Cause | None:
    """Why a deployment does not succeed. For many deployments, make ``Causes`` once and ask them."""
    return Causes(observation).stale(deployment)


def _held_by(run: FlowRun) -> Iterator[tuple[CauseKind, str]]:
    """Where a run holds a slot, if there is a limit."""
    taken = run.state_type in ("PENDING", "RUNNING")
    if run.deployment_id and (taken or run.state_type == "CANCELLING"):
        yield "deployment", run.deployment_id
    if taken and run.work_pool:
        yield "work-pool", run.work_pool
        yield "work-queue", f"{run.work_pool}/{run.work_queue}"


def _began(run: FlowRun) -> datetime:
    return run.start_time or run.state_timestamp


def _planned(run: FlowRun) -> datetime:
    return run.expected_start_time or run.created
