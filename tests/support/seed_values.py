"""What tests write into a server's database: work pools, schedules, deployments and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from prefect.server.schemas.schedules import SCHEDULE_TYPES
from prefect.server.schemas.states import StateType

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# Names of states that differ from their type; any other name needs its type said.
_TYPES = {
    **{kind.value.capitalize(): kind for kind in StateType},
    "Late": StateType.SCHEDULED,
    "AwaitingRetry": StateType.SCHEDULED,
    "AwaitingConcurrencySlot": StateType.SCHEDULED,
    "Resuming": StateType.SCHEDULED,
    "Submitting": StateType.PENDING,
    "InfrastructurePending": StateType.PENDING,
    "NotReady": StateType.PENDING,
    "Retrying": StateType.RUNNING,
    "Suspended": StateType.PAUSED,
    "TimedOut": StateType.FAILED,
    "Cached": StateType.COMPLETED,
    "RolledBack": StateType.COMPLETED,
}


@dataclass(frozen=True)
class Pool:
    """A work pool with its default queue."""

    name: str
    id: UUID
    queue_id: UUID
    queue_name: str = "default"


@dataclass(frozen=True)
class Schedule:
    """One of a deployment's schedules; it was made with the deployment, and never changed, unless that is said."""

    schedule: SCHEDULE_TYPES
    active: bool = True
    max_scheduled_runs: int | None = None
    created: datetime | None = None
    updated: datetime | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Deployment:
    """A deployment, called ``flow/name`` as Prefect's command line calls it."""

    full_name: str
    id: UUID
    flow_id: UUID
    pool: Pool | None
    scheduled: bool

    @property
    def flow(self) -> str:
        """The name of its flow."""
        return self.full_name.partition("/")[0]

    @property
    def name(self) -> str:
        """Its name within its flow."""
        return self.full_name.partition("/")[2]


@dataclass(frozen=True)
class State:
    """One state of a run's history. ``name`` says the type too (``Late``); else it is the type's name (``PENDING``)."""

    name: str
    at: datetime
    message: str | None = None
    type: StateType | None = None

    @property
    def kind(self) -> StateType:
        """The state's type."""
        return self.type or _TYPES.get(self.name) or StateType[self.name]

    @property
    def title(self) -> str:
        """The state's name as Prefect shows it."""
        return self.name.capitalize() if self.name in StateType.__members__ else self.name


@dataclass(frozen=True, kw_only=True)
class Run:
    """A flow run. What is left out follows from the rest, as it would in Prefect.

    ``state`` is a state's name or type. An ended run took the minute before ``ended`` unless ``started`` is given; with
    ``started`` equal to ``ended`` it never began. ``since`` is when the current state was entered. ``history`` replaces
    the derived states before the current one; ``()`` leaves the current one alone, which is quickest in bulk.
    """

    deployment: Deployment | None = None
    flow: str = "laptop"
    state: str = "COMPLETED"
    state_type: StateType | None = None
    since: datetime | None = None
    due: datetime | None = None
    next_due: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    message: str | None = None
    name: str = ""
    parent: Run | None = None
    tags: Sequence[str] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    run_count: int | None = None
    run_time: timedelta | None = None
    created: datetime | None = None
    #: When a paused run gives up by itself.
    pause_timeout: datetime | None = None
    history: Sequence[State] | None = None
    #: Columns as they are to stand in the database, whatever follows from the rest.
    columns: Mapping[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid4)
