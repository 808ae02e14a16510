"""Prefect's own objects as the watchdog knows them: runs, deployments, work pools and queues."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime

from monitoring.model.base import Value

StateType = Literal[
    "SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "CRASHED", "PAUSED", "CANCELLING"
]

#: The watchdog's own flows, by name. They are kept out of every finding and figure.
CHECK_FLOW = "watchdog-check"

DIGEST_FLOW = "watchdog-digest"

OWN_FLOWS = (CHECK_FLOW, DIGEST_FLOW)

#: The states in which a run is over (prefect.client.schemas.objects.TERMINAL_STATES).
TERMINAL: frozenset[StateType] = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


class FlowRun(Value):
    """A flow run as the API shows it, slim; its message is redacted."""

    id: str
    name: str
    flow_id: str
    deployment_id: str | None = None
    parent_task_run_id: str | None = None
    state_type: StateType
    state_name: str
    state_timestamp: AwareDatetime
    message: str = ""
    created: AwareDatetime
    expected_start_time: AwareDatetime | None = None
    next_scheduled_start_time: AwareDatetime | None = None
    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None
    auto_scheduled: bool = False
    #: How often the run was started; more than 1 after a retry.
    run_count: int = 0
    #: When a PAUSED or SUSPENDED run gives up by itself.
    pause_timeout: AwareDatetime | None = None
    #: Time in RUNNING over all attempts, without waits; moves only on leaving RUNNING.
    total_run_time: timedelta = timedelta(0)
    work_pool: str | None = None
    work_queue: str | None = None
    #: It awaits its retry in its own process: no worker will take it (prefect/server/database/sql/).
    retries_in_process: bool = False

    @property
    def key(self) -> str:
        """The key of what the run belongs to: its deployment, or its flow where it has none."""
        return self.deployment_id or flow_key(self.flow_id)

    @property
    def ended_at(self) -> datetime:
        """When a run that has ended did: a run that was cancelled before its start has no end time."""
        return self.end_time or self.state_timestamp


def flow_key(flow_id: str) -> str:
    """The key under which the runs of a flow are watched that have no deployment."""
    return f"flow:{flow_id}"


class Deployment(Value):
    """A deployment and what its schedules imply; or a flow, for its runs without a deployment."""

    id: str
    kind: Literal["deployment", "flow"] = "deployment"
    #: ``flow/deployment``: a deployment's own name is unique only within its flow. A flow's own name.
    name: str
    flow_id: str
    flow_name: str
    tags: tuple[str, ...] = ()
    created: AwareDatetime
    paused: bool = False
    #: Names its active schedules; another name means other schedules, and an empty one none: paused, or none active.
    schedule: str = ""
    #: When the newest of them was made. Every ``prefect deploy`` makes them anew.
    scheduled_since: AwareDatetime | None = None
    #: Since when, at the least, it has been paused or all its schedules inactive: nobody has touched either since.
    #: None where it is active, or has no schedules and is not paused.
    inactive_since: AwareDatetime | None = None
    work_pool: str | None = None
    work_queue: str | None = None
    concurrency_limit: int | None = None
    #: Slots of the deployment's own limit that are taken, as the server counts them; None without a limit.
    slots_taken: int | None = None
    #: What comes while that limit is full is cancelled and does not wait (the collision strategy CANCEL_NEW).
    skips_overlaps: bool = False
    #: When it or one of its schedules was last changed, however little; None where that is not known.
    changed: AwareDatetime | None = None
    #: When its active schedules fire next, where that was asked; None where they never do.
    next_due: AwareDatetime | None = None
    #: By when a scheduler that lives has planned that fire, where it was asked whether it has.
    planned_by: AwareDatetime | None = None
    #: The newest due times of its active schedules that are past the policy's grace, ascending; as many
    #: as the policy lets pass, or fewer where the deployment is younger than that.
    due: tuple[AwareDatetime, ...] = ()

    @property
    def key(self) -> str:
        """The key of its runs: ``FlowRun.key``."""
        return self.id if self.kind == "deployment" else flow_key(self.id)

    @property
    def scheduled(self) -> bool:
        """Not paused, and at least one schedule is active."""
        return bool(self.schedule)


class WorkQueue(Value):
    """A work queue of a pool."""

    id: str
    name: str
    paused: bool = False
    concurrency_limit: int | None = None
    #: PENDING and RUNNING runs in it, as the server counts them; None without a limit, or from an older server.
    slots_taken: int | None = None


class WorkPool(Value):
    """A work pool; ``workers`` is None where nobody asked, or where the pool's type has none."""

    id: str
    name: str
    type: str
    paused: bool = False
    concurrency_limit: int | None = None
    #: As for a queue.
    slots_taken: int | None = None
    queues: tuple[WorkQueue, ...] = ()
    #: How many workers sent a heartbeat within three of their own intervals.
    live_workers: int | None = None
    #: When any of its workers was last heard of; None where none ever was, or nobody asked.
    last_heartbeat: AwareDatetime | None = None
