"""Prefect's own objects as the watchdog knows them: runs, deployments, work pools and queues."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from monitoring.model.base import Timestamp, Value

StateType = Literal[
    "SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "CRASHED", "PAUSED", "CANCELLING"
]

#: The watchdog's own flows, by name. They are left out of every finding and figure.
CHECK_FLOW = "watchdog-check"

DIGEST_FLOW = "watchdog-digest"

OWN_FLOWS = (CHECK_FLOW, DIGEST_FLOW)
#: What a check completes with that did not get the lock, and so has not checked anything.
SKIPPED = "Another check is running"
#: What a check completes with that a failure has started, if another one reads all that it would.
SUPERSEDED = "A later check covers this one"
#: The window of the automation that starts a check when a run fails: ``within`` in ``prefect.yaml``.
TRIGGER_WINDOW = timedelta(seconds=10)

#: The states of ended runs (prefect.client.schemas.objects.TERMINAL_STATES).
TERMINAL: frozenset[StateType] = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})

#: The message of a run that the server cancels with the collision strategy CANCEL_NEW
#: (prefect/server/orchestration/core_policy.py, ``SecureFlowConcurrencySlots``).
SLOT_REJECTED = "Deployment concurrency limit reached."


class FlowRun(Value):
    """The fields of a flow run that matter here; the message is redacted."""

    id: str
    name: str
    flow_id: str
    deployment_id: str | None = None
    parent_task_run_id: str | None = None
    state_type: StateType
    state_name: str
    state_timestamp: Timestamp
    message: str = ""
    created: Timestamp
    expected_start_time: Timestamp | None = None
    next_scheduled_start_time: Timestamp | None = None
    start_time: Timestamp | None = None
    end_time: Timestamp | None = None
    auto_scheduled: bool = False
    #: How often the run was started: more than once after a retry.
    run_count: int = 0
    #: When a PAUSED or SUSPENDED run times out.
    pause_timeout: Timestamp | None = None
    #: Time in RUNNING over all attempts, without waits; updated only when the run leaves RUNNING.
    total_run_time: timedelta = timedelta(0)
    work_pool: str | None = None
    work_queue: str | None = None
    #: A digest of each of its parameters; the parameters themselves may be large, and secret.
    parameters: tuple[str, ...] = ()
    #: It awaits its retry in its own process: no worker will submit it (prefect/server/database/sql/).
    retries_in_process: bool = False
    #: Its state names the lease of a slot of its deployment's limit. Prefect before 3.4.11 has no leases.
    slot_leased: bool = False

    @property
    def key(self) -> str:
        """The key of the run's deployment, or of its flow if it has none."""
        return self.deployment_id or flow_key(self.flow_id)

    @property
    def ended_at(self) -> datetime:
        """When a run that has ended did: a run that was cancelled before its start has no end time."""
        return self.end_time or self.state_timestamp

    @property
    def cancelled_for_slot(self) -> bool:
        """Whether it was cancelled because its deployment's limit was full: it never held a slot."""
        return self.state_type == "CANCELLED" and self.message == SLOT_REJECTED

    @property
    def skipped(self) -> bool:
        """Whether its own code ended it as Cancelled, under a name of its own, such as Skipped: it chose to do nothing.

        The server itself, its UI and its command line name every such state Cancelled.
        """
        return self.state_type == "CANCELLED" and self.run_count > 0 and self.state_name != "Cancelled"

    @property
    def cancelled_before_start(self) -> bool:
        """Whether it was cancelled, by whomever, without having ever started."""
        return self.state_type == "CANCELLED" and self.run_count == 0

    @property
    def not_served(self) -> bool:
        """Whether it was cancelled after it was due and before it started, other than for lack of a slot."""
        due = self.expected_start_time or self.created
        return self.cancelled_before_start and self.ended_at > due and not self.cancelled_for_slot


def flow_key(flow_id: str) -> str:
    """The key of a flow, for its runs without a deployment."""
    return f"flow:{flow_id}"


def by_key(runs: Iterable[FlowRun]) -> dict[str, list[FlowRun]]:
    """Group runs by the key of their deployment, each group in their order."""
    groups: dict[str, list[FlowRun]] = {}
    for run in runs:
        groups.setdefault(run.key, []).append(run)
    return groups


class ScheduleParameters(Value):
    """Parameters of their own that one or several schedules of a deployment give their runs."""

    #: A digest of all of them: it outlives the schedules, which every ``prefect deploy`` creates anew.
    key: str
    #: For people, redacted: ``region=eu``.
    name: str
    #: A digest of each, as in ``FlowRun.parameters``.
    parameters: frozenset[str]
    #: Whether one of these schedules creates runs now.
    active: bool
    #: When the newest of those that do was last changed; every ``prefect deploy`` makes them anew.
    changed: Timestamp | None = None
    #: As ``Deployment.due``, of these schedules.
    due: tuple[Timestamp, ...] = ()


class Deployment(Value):
    """A deployment and its due times; or a flow, for its runs without a deployment."""

    id: str
    kind: Literal["deployment", "flow"] = "deployment"
    #: ``flow/deployment``, as a deployment's name is unique only within its flow; or the name of a flow.
    name: str
    flow_id: str
    flow_name: str
    tags: tuple[str, ...] = ()
    created: Timestamp
    paused: bool = False
    #: A digest of its active schedules, which changes with them; empty if it is paused or none is active.
    schedule: str = ""
    #: When the newest of them was created. Every ``prefect deploy`` creates them anew.
    scheduled_since: Timestamp | None = None
    #: When the newest of its schedules was created, if it is paused.
    schedules_made: Timestamp | None = None
    #: Where its schedules differ in their own parameters: each set of them, the largest first; else empty.
    schedule_parameters: tuple[ScheduleParameters, ...] = ()
    #: Since when, at least, it has been paused or all its schedules inactive: neither has changed since.
    #: None if it is active, or has no schedules and is not paused.
    inactive_since: Timestamp | None = None
    #: When a worker, or the ``serve()`` process of a deployment without a work pool, last polled for its runs.
    last_polled: Timestamp | None = None
    work_pool: str | None = None
    work_queue: str | None = None
    concurrency_limit: int | None = None
    #: Taken slots of the deployment's own limit, as the server counts them; None without a limit.
    slots_taken: int | None = None
    #: Runs that start while that limit is full are cancelled and do not wait (the collision strategy CANCEL_NEW).
    skips_overlaps: bool = False
    #: When it or one of its schedules was last changed; None if unknown.
    changed: Timestamp | None = None
    #: The next due time of its active schedules, where computed; None if there is none.
    next_due: Timestamp | None = None
    #: The time by which a live scheduler has planned that run, where computed.
    planned_by: Timestamp | None = None
    #: The newest due times of its active schedules that are older than the policy's grace, ascending; as many as the
    #: policy tolerates, or fewer for a younger deployment.
    due: tuple[Timestamp, ...] = ()

    @property
    def key(self) -> str:
        """The key of its runs: ``FlowRun.key``."""
        return self.id if self.kind == "deployment" else flow_key(self.id)

    @property
    def scheduled(self) -> bool:
        """Whether it is not paused and has an active schedule."""
        return bool(self.schedule)

    def parameters_of(self, run: FlowRun) -> ScheduleParameters | None:
        """The schedules' parameters that a run has, whoever started it; the largest set, if it has several."""
        return next((own for own in self.schedule_parameters if own.parameters.issubset(run.parameters)), None)


class WorkQueue(Value):
    """A work queue of a pool."""

    id: str
    name: str
    paused: bool = False
    #: When a worker last polled it; None if none ever did.
    last_polled: Timestamp | None = None
    concurrency_limit: int | None = None
    #: Its PENDING and RUNNING runs, as the server counts them; None without a limit, or from an older server.
    slots_taken: int | None = None


class WorkPool(Value):
    """A work pool; ``live_workers`` is None if they were not counted, or the pool's type has none."""

    id: str
    name: str
    type: str
    paused: bool = False
    concurrency_limit: int | None = None
    #: As for a queue.
    slots_taken: int | None = None
    queues: tuple[WorkQueue, ...] = ()
    #: Workers with a heartbeat within three of their own intervals.
    live_workers: int | None = None
    #: The newest heartbeat of its workers; None without any, or if they were not read.
    last_heartbeat: Timestamp | None = None
