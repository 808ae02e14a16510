"""History for tests, written through the server's own database models.

Prefect's API cannot set past times, so rows go straight into the database, SQLite or PostgreSQL, while the server runs.
`Seed` holds no connection: each call is a transaction of its own and is visible to the API when it returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID, uuid4

import sqlalchemy as sa
from prefect.server.database import orm_models as orm
from prefect.server.schemas.schedules import SCHEDULE_TYPES, CronSchedule
from prefect.server.schemas.states import StateDetails, StateType
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

T = TypeVar("T")
Row = dict[str, Any]

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
    "Retrying": StateType.RUNNING,
    "Suspended": StateType.PAUSED,
    "TimedOut": StateType.FAILED,
    "Cached": StateType.COMPLETED,
    "RolledBack": StateType.COMPLETED,
}
_TERMINAL = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}
# Enough rows for the insert to be quick, few enough for the server never to wait long for the lock.
_BATCH = 5_000


@dataclass(frozen=True)
class Pool:
    """A work pool with its default queue."""

    name: str
    id: UUID
    queue_id: UUID
    queue_name: str = "default"


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
    history: Sequence[State] | None = None
    id: UUID = field(default_factory=uuid4)


class Seed:
    """Writes into the database of one server. ``now`` is when this object was made, for times relative to it."""

    def __init__(self, database_url: str, now: datetime | None = None) -> None:
        self.now = now or datetime.now(timezone.utc)
        self._url = database_url
        self._flows: dict[str, UUID] = {}

    def pool(
        self,
        name: str,
        *,
        type: str = "process",
        paused: bool = False,
        concurrency_limit: int | None = None,
        status: str = "NOT_READY",
    ) -> Pool:
        """Make a work pool and its default queue."""
        pool = Pool(name, uuid4(), uuid4())

        async def write(db: AsyncConnection) -> None:
            row = {"id": pool.id, "name": name, "type": type, "is_paused": paused, "status": status}
            await db.execute(sa.insert(orm.WorkPool), [row | {"concurrency_limit": concurrency_limit}])
            queue = {"id": pool.queue_id, "name": pool.queue_name, "work_pool_id": pool.id, "priority": 1}
            await db.execute(sa.insert(orm.WorkQueue), [queue])
            is_new = sa.update(orm.WorkPool).where(orm.WorkPool.id == pool.id)
            await db.execute(is_new.values(default_queue_id=pool.queue_id))

        self._write(write)
        return pool

    def queue(
        self, pool: Pool, name: str, *, paused: bool = False, concurrency_limit: int | None = None, priority: int = 2
    ) -> Pool:
        """Make a further queue; the answer, given to `deployment`, is the pool by way of this queue."""
        queue = Pool(pool.name, pool.id, uuid4(), name)
        row = {"id": queue.queue_id, "name": name, "work_pool_id": pool.id, "priority": priority, "is_paused": paused}
        self._insert(orm.WorkQueue, [row | {"concurrency_limit": concurrency_limit}])
        return queue

    def worker(
        self,
        pool: Pool,
        *,
        last_heartbeat: datetime | None = None,
        name: str = "worker",
        interval: int = 30,
        status: str = "ONLINE",
    ) -> None:
        """Make a worker's row; its last heartbeat is ``now`` unless given."""
        row = {"name": name, "work_pool_id": pool.id, "last_heartbeat_time": last_heartbeat or self.now}
        self._insert(orm.Worker, [row | {"heartbeat_interval_seconds": interval, "status": status}])

    def deployment(
        self,
        full_name: str,
        *,
        schedule: SCHEDULE_TYPES | str | None = None,
        schedule_active: bool = True,
        max_scheduled_runs: int | None = None,
        pool: Pool | None = None,
        paused: bool = False,
        tags: Sequence[str] = (),
        concurrency_limit: int | None = None,
        collision: str = "ENQUEUE",
        description: str | None = None,
        created: datetime | None = None,
        status: str = "NOT_READY",
    ) -> Deployment:
        """Make a deployment, and its flow if there is none; a text as ``schedule`` is a cron line in UTC.

        The server's scheduler makes runs for it within seconds if it is active.
        """
        flow, _, name = full_name.partition("/")
        deployment = Deployment(full_name, uuid4(), self._flow_ids([flow])[flow], pool, schedule is not None)
        limit_id = uuid4() if concurrency_limit is not None else None
        row = {
            "id": deployment.id,
            "created": created or self.now - 30 * 24 * HOUR,
            "flow_id": deployment.flow_id,
            "name": name,
            "description": description,
            "paused": paused,
            "tags": list(tags),
            "status": status,
            "work_queue_id": pool and pool.queue_id,
            "work_queue_name": pool and pool.queue_name,
            "concurrency_limit_id": limit_id,
            "concurrency_options": {"collision_strategy": collision} if limit_id else None,
        }
        limit = {"id": limit_id, "name": f"deployment:{deployment.id}", "limit": concurrency_limit, "active": True}
        if isinstance(schedule, str):
            schedule = CronSchedule(cron=schedule, timezone="UTC")
        plan = {
            "created": row["created"],
            "deployment_id": deployment.id,
            "schedule": schedule,
            "active": schedule_active,
        }

        async def write(db: AsyncConnection) -> None:
            if limit_id:
                await db.execute(sa.insert(orm.ConcurrencyLimitV2), [limit])
            await db.execute(sa.insert(orm.Deployment), [row])
            if schedule is not None:
                await db.execute(sa.insert(orm.DeploymentSchedule), [plan | {"max_scheduled_runs": max_scheduled_runs}])

        self._write(write)
        return deployment

    def run(self, deployment: Deployment | None = None, state: str = "COMPLETED", **fields: Any) -> Run:
        """Write one `Run`; ``fields`` are its fields."""
        run = Run(deployment=deployment, state=state, **fields)
        self.many([run])
        return run

    def many(self, runs: Iterable[Run]) -> int:
        """Write runs in bulk and return how many; parents come before their children."""
        left, count = iter(runs), 0
        while batch := list(islice(left, _BATCH)):
            flows = self._flow_ids(sorted({run.flow for run in batch if run.deployment is None}))
            self._write(lambda db, batch=batch, flows=flows: self._write_runs(db, batch, flows))  # type: ignore[misc]
            count += len(batch)
        return count

    def heartbeats(self, run: Run, times: Iterable[datetime]) -> None:
        """Write the events by which a running flow says that it lives."""
        resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": _name(run)}
        flow_id = run.deployment.flow_id if run.deployment else self._flow_ids([run.flow])[run.flow]
        related = [
            {
                "prefect.resource.id": f"prefect.flow.{flow_id}",
                "prefect.resource.role": "flow",
                "prefect.resource.name": run.deployment.flow if run.deployment else run.flow,
            }
        ]
        if run.deployment:
            related.append(
                {
                    "prefect.resource.id": f"prefect.deployment.{run.deployment.id}",
                    "prefect.resource.role": "deployment",
                    "prefect.resource.name": run.deployment.name,
                }
            )
        self.events("prefect.flow-run.heartbeat", resource, times, related=related)

    def events(
        self,
        event: str,
        resource: Mapping[str, str],
        times: Iterable[datetime],
        *,
        related: Sequence[Mapping[str, str]] = (),
        payload: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the same event at several times."""
        events, resources = [], []
        for at in times:
            row = {
                "id": uuid4(),
                "occurred": at,
                "received": at,
                "recorded": at,
                "event": event,
                "resource_id": resource["prefect.resource.id"],
                "resource": dict(resource),
                "related": [dict(other) for other in related],
                "related_resource_ids": [other["prefect.resource.id"] for other in related],
                "payload": dict(payload or {}),
            }
            events.append(row)
            resources += [
                {
                    "id": uuid4(),
                    "occurred": at,
                    "event_id": row["id"],
                    "resource_id": involved["prefect.resource.id"],
                    "resource_role": involved.get("prefect.resource.role", ""),
                    "resource": {k: v for k, v in involved.items() if k not in _RESOURCE_KEYS},
                }
                for involved in (resource, *related)
            ]

        async def write(db: AsyncConnection) -> None:
            await db.execute(sa.insert(orm.Event), events)
            await db.execute(sa.insert(orm.EventResource), resources)

        if events:
            self._write(write)

    async def _write_runs(self, db: AsyncConnection, runs: Sequence[Run], flows: Mapping[str, UUID]) -> None:
        rows, states, tasks = [], [], []
        for run in runs:
            row, run_states = _rows(run, flows, self.now)
            rows.append(row)
            states += run_states
            if run.parent:
                tasks.append(_parent_task(run.parent, row))
        if tasks:
            await db.execute(sa.insert(orm.TaskRun), tasks)
        # A run names its state and a state its run, so neither can be complete before the other is there.
        await db.execute(sa.insert(orm.FlowRun), rows)
        await db.execute(sa.insert(orm.FlowRunState), states)
        last = (
            sa.select(orm.FlowRunState.id)
            .where(orm.FlowRunState.flow_run_id == orm.FlowRun.id)
            .order_by(orm.FlowRunState.timestamp.desc())
            .limit(1)
            .scalar_subquery()
        )
        # `updated` stays as it was written: without it, the model sets it to the present.
        written = sa.update(orm.FlowRun).where(orm.FlowRun.id.in_([run.id for run in runs]))
        await db.execute(written.values(state_id=last, updated=orm.FlowRun.updated))

    def _flow_ids(self, names: Sequence[str]) -> Mapping[str, UUID]:
        """Return the ids of flows, made where they are missing."""
        unknown = [name for name in names if name not in self._flows]
        if unknown:

            async def read(db: AsyncConnection) -> dict[str, UUID]:
                found = await db.execute(sa.select(orm.Flow.name, orm.Flow.id).where(orm.Flow.name.in_(unknown)))
                return {row.name: row.id for row in found}

            found = self._write(read)
            made = {name: uuid4() for name in unknown if name not in found}
            self._insert(orm.Flow, [{"id": id, "name": name} for name, id in made.items()])
            self._flows |= found | made
        return self._flows

    def _insert(self, model: type[orm.Base], rows: Sequence[Row]) -> None:
        async def write(db: AsyncConnection) -> None:
            await db.execute(sa.insert(model), rows)

        if rows:
            self._write(write)

    def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do the work in one transaction, in an event loop of its own: the caller may be inside of another."""
        wait = {"timeout": 60} if self._url.startswith("sqlite") else {}

        async def transaction() -> T:
            engine = create_async_engine(self._url, poolclass=NullPool, connect_args=wait)
            try:
                async with engine.begin() as connection:
                    return await work(connection)
            finally:
                await engine.dispose()

        with ThreadPoolExecutor(1) as executor:
            return executor.submit(lambda: asyncio.run(transaction())).result()


_RESOURCE_KEYS = {"prefect.resource.id", "prefect.resource.role"}


def _name(run: Run) -> str:
    return run.name or f"run-{run.id.hex[:8]}"


def _rows(run: Run, flows: Mapping[str, UUID], now: datetime) -> tuple[Row, list[Row]]:
    """Return the rows of a run and of its states, the current one last."""
    kind = State(run.state, now, type=run.state_type).kind
    started, ended, since = run.started, run.ended, run.since
    if kind in _TERMINAL:
        ended = since = ended or since or now
        started = started or ended - MINUTE
    elif kind is StateType.RUNNING:
        started = started or since or now - MINUTE
        since = since or started
    elif kind in (StateType.PAUSED, StateType.CANCELLING):
        since = since or now
        started = started or since - MINUTE
    elif kind is StateType.PENDING:
        since = since or now
    due = run.due or started or since or now + HOUR
    created = run.created or min(due - MINUTE, since or now)
    # The service that marks runs as late does it some seconds after they were due.
    since = since or (due + timedelta(seconds=15) if run.state == "Late" else created)
    next_due = (run.next_due or due) if kind is StateType.SCHEDULED else None
    began = started is not None and started != ended
    current = State(run.state, since, run.message, run.state_type)

    history = run.history
    if history is None:
        history = [State("SCHEDULED", created)] if created < since else []
        if started is not None and began and created < started < since:
            history = [*history, State("RUNNING", started)]
    deployment = run.deployment
    row = {
        "id": run.id,
        "created": created,
        "updated": since,
        "name": _name(run),
        "flow_id": deployment.flow_id if deployment else flows[run.flow],
        "deployment_id": deployment and deployment.id,
        "work_queue_id": deployment and deployment.pool and deployment.pool.queue_id,
        "work_queue_name": deployment and deployment.pool and deployment.pool.queue_name,
        "auto_scheduled": bool(deployment and deployment.scheduled),
        "tags": list(run.tags),
        "parameters": dict(run.parameters),
        "parent_task_run_id": _parent_task_id(run.id) if run.parent else None,
        "state_type": kind,
        "state_name": current.title,
        "state_timestamp": since,
        "expected_start_time": due,
        "next_scheduled_start_time": next_due,
        "start_time": started,
        "end_time": ended,
        "run_count": run.run_count if run.run_count is not None else int(began),
        "total_run_time": run.run_time or (ended - started if ended and started else timedelta(0)),
    }
    states = [
        {
            "id": uuid4(),
            "created": state.at,
            "updated": state.at,
            "flow_run_id": run.id,
            "type": state.kind,
            "name": state.title,
            "timestamp": state.at,
            "message": state.message,
            "state_details": StateDetails(
                flow_run_id=run.id, scheduled_time=next_due or due if state.kind is StateType.SCHEDULED else None
            ),
        }
        for state in (*history, current)
    ]
    return row, states


def _parent_task_id(run_id: UUID) -> UUID:
    """Return the id of the task by which a parent knows its subflow run."""
    return UUID(int=run_id.int ^ 1)


def _parent_task(parent: Run, row: Row) -> Row:
    copied = ("name", "state_type", "state_name", "state_timestamp", "start_time", "end_time")
    return {
        "id": row["parent_task_run_id"],
        "flow_run_id": parent.id,
        "task_key": "subflow",
        "dynamic_key": row["id"].hex,
        "expected_start_time": row["expected_start_time"],
        **{column: row[column] for column in copied},
    }
