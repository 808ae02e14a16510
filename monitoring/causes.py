"""Why runs wait, from what was seen and never from a guess."""

from __future__ import annotations

from collections.abc import Sequence

from monitoring.model import Cause, Deployment, FlowRun, Observation

#: Who holds a deployment's or pool's slots.
_HOLDING = ("PENDING", "RUNNING", "CANCELLING")


def waiting_cause(observation: Observation, deployment: Deployment, waiting: Sequence[FlowRun]) -> Cause | None:
    """Why the runs of a deployment do not start: what is paused, full, or has no worker.

    Args:
        observation: What was seen.
        deployment: Whose runs wait.
        waiting: The runs, all of this deployment.
    """
    pool = observation.work_pools.get(waiting[0].work_pool or deployment.work_pool or "")
    queue_name = waiting[0].work_queue or deployment.work_queue
    queue = next((queue for queue in pool.queues if queue.name == queue_name), None) if pool else None
    if pool and pool.paused:
        return Cause(kind="work-pool", name=pool.name, reason="paused")
    if queue and queue.paused:
        return Cause(kind="work-queue", name=queue.name, reason="paused")
    if pool and pool.live_workers == 0:
        return Cause(kind="work-pool", name=pool.name, reason="no-live-worker")
    if not observation.coverage.has("active-runs"):
        return None
    holding = [run for run in observation.active if run.state_type in _HOLDING]
    if _full(deployment.concurrency_limit, sum(run.deployment_id == deployment.id for run in holding)):
        return Cause(kind="deployment", name=deployment.name, reason="limit-reached")
    if queue and pool:
        in_queue = sum(run.work_pool == pool.name and run.work_queue == queue.name for run in holding)
        if _full(queue.concurrency_limit, in_queue):
            return Cause(kind="work-queue", name=queue.name, reason="limit-reached")
    if pool and _full(pool.concurrency_limit, sum(run.work_pool == pool.name for run in holding)):
        return Cause(kind="work-pool", name=pool.name, reason="limit-reached")
    return None


def _full(limit: int | None, taken: int) -> bool:
    return limit is not None and taken >= limit
