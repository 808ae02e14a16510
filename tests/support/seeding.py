"""History for tests, written through the server's own database models.

Prefect's API cannot set past times, so rows go straight into the database, SQLite or PostgreSQL, while the server runs.
`Seed` holds no connection: each call is a transaction of its own and is visible to the API when it returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

import sqlalchemy as sa
from prefect.server.database import orm_models as orm
from prefect.server.schemas.schedules import SCHEDULE_TYPES, CronSchedule
from prefect.server.schemas.states import StateDetails, StateType
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from tests.support.run_rows import TERMINAL, Row, parent_task, run_name, run_rows
from tests.support.seed_values import HOUR, Deployment, Pool, Run, Schedule, State

T = TypeVar("T")

# Enough rows for the insert to be quick, few enough for the server never to wait long for the lock.
_BATCH = 5_000


class Seed:
    """Writes into the database of one server. ``now`` is when this object was made, for times relative to it."""

    def __init__(self, database_url: str, now: datetime | None = None) -> None:
        self.now = now or datetime.now(timezone.utc)
        self._url = database_url
        self._flows: dict[str, UUID] = {}
        self._at_once: Callable[[Callable[[AsyncConnection], Awaitable[Any]]], Any] | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write everything of this block in one transaction, visible when it ends: quicker for many small things."""
        with ThreadPoolExecutor(1) as executor:
            loop = executor.submit(asyncio.new_event_loop).result()

            def run(work: Awaitable[T]) -> T:
                return executor.submit(loop.run_until_complete, work).result()

            transaction = _transaction(self._url)
            try:
                connection = run(transaction.__aenter__())
                self._at_once = lambda work: run(work(connection))
                yield
            except BaseException as error:
                run(transaction.__aexit__(type(error), error, error.__traceback__))
                raise
            else:
                run(transaction.__aexit__(None, None, None))
            finally:
                self._at_once = None
                executor.submit(loop.close).result()

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
        self,
        pool: Pool,
        name: str,
        *,
        paused: bool = False,
        concurrency_limit: int | None = None,
        priority: int = 2,
        polled: datetime | None = None,
    ) -> Pool:
        """Make a further queue; the answer, given to `deployment`, is the pool by way of this queue."""
        queue = Pool(pool.name, pool.id, uuid4(), name)
        row = {"id": queue.queue_id, "name": name, "work_pool_id": pool.id, "priority": priority, "is_paused": paused}
        self._insert(orm.WorkQueue, [row | {"concurrency_limit": concurrency_limit, "last_polled": polled}])
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
        schedules: Sequence[Schedule] = (),
        pool: Pool | None = None,
        paused: bool = False,
        tags: Sequence[str] = (),
        concurrency_limit: int | None = None,
        slots_taken: int = 0,
        collision: str = "ENQUEUE",
        description: str | None = None,
        created: datetime | None = None,
        updated: datetime | None = None,
        polled: datetime | None = None,
        status: str = "NOT_READY",
    ) -> Deployment:
        """Make a deployment, and its flow if there is none; a text as ``schedule`` is a cron line in UTC.

        It has that one schedule, or several ``schedules``. The server's scheduler makes runs for it within seconds if
        it is active. Unless ``updated`` says otherwise, it and its schedules were changed just now.
        """
        flow, _, name = full_name.partition("/")
        if schedule is not None:
            made = CronSchedule(cron=schedule, timezone="UTC") if isinstance(schedule, str) else schedule
            schedules = [Schedule(made, schedule_active, max_scheduled_runs), *schedules]
        deployment = Deployment(full_name, uuid4(), self._flow_ids([flow])[flow], pool, bool(schedules))
        changed = {"updated": updated} if updated else {}
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
            "last_polled": polled,
            "work_queue_id": pool and pool.queue_id,
            "work_queue_name": pool and pool.queue_name,
            "concurrency_limit_id": limit_id,
            "concurrency_options": {"collision_strategy": collision} if limit_id else None,
            **changed,
        }
        limit = {"id": limit_id, "name": f"deployment:{deployment.id}", "limit": concurrency_limit, "active": True}
        limit["active_slots"] = slots_taken
        plans = [
            {
                "created": plan.created or row["created"],
                "deployment_id": deployment.id,
                "schedule": plan.schedule,
                "active": plan.active,
                "max_scheduled_runs": plan.max_scheduled_runs,
                "parameters": dict(plan.parameters),
                **({"updated": plan.updated} if plan.updated else changed),
            }
            for plan in schedules
        ]

        async def write(db: AsyncConnection) -> None:
            if limit_id:
                await db.execute(sa.insert(orm.ConcurrencyLimitV2), [limit])
            await db.execute(sa.insert(orm.Deployment), [row])
            for plan in plans:
                await db.execute(sa.insert(orm.DeploymentSchedule), [plan])

        self._write(write)
        return deployment

    def flow(self, name: str) -> UUID:
        """Make a flow, if there is none of that name; return its id."""
        return self._flow_ids([name])[name]

    def lose_flow(self, deployment: Deployment) -> None:
        """Point a deployment at a flow that is not there, which no server does and a broken restore may."""

        async def write(db: AsyncConnection) -> None:
            if not self._url.startswith("sqlite"):
                await db.execute(sa.text("SET LOCAL session_replication_role = replica"))
            lost = sa.update(orm.Deployment).where(orm.Deployment.id == deployment.id)
            await db.execute(lost.values(flow_id=uuid4(), updated=orm.Deployment.updated))

        self._write(write)

    def lose_deployment(self, deployment: Deployment) -> None:
        """Delete a deployment, and nothing else: its runs keep its id."""

        async def write(db: AsyncConnection) -> None:
            await db.execute(sa.delete(orm.Deployment).where(orm.Deployment.id == deployment.id))

        self._write(write)

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

    def logs(
        self,
        run: Run,
        lines: Iterable[tuple[datetime, int, str]],
        logger: str = "prefect.flow_runs",
        *,
        behind: timedelta = timedelta(0),
    ) -> None:
        """Write a run's log: when, the level as Python's logging numbers it, the text; its clock may be behind."""
        row = {"name": logger, "flow_run_id": run.id}
        self._insert(
            orm.Log,
            [
                {**row, "level": level, "message": text, "timestamp": at - behind, "created": at}
                for at, level, text in lines
            ],
        )

    def task_run(
        self,
        run: Run,
        name: str,
        *,
        state: str = "COMPLETED",
        at: datetime,
        started: datetime | None = None,
        message: str | None = None,
        tags: Sequence[str] = (),
        after: Sequence[UUID] = (),
    ) -> UUID:
        """Write a task run of a flow run, in a state since ``at``, that waited for others; return its id."""
        task = uuid4()
        current = State(state, at, message)
        ended = current.kind in TERMINAL
        row = {
            "id": task,
            "created": started or at,
            "flow_run_id": run.id,
            "name": f"{name}-{task.hex[:3]}",
            "task_key": name,
            # Prefect makes whole UUIDs of them; of three digits, two would soon be alike.
            "dynamic_key": str(task),
            "tags": list(tags),
            "task_inputs": {"wait_for": [{"input_type": "task_run", "id": str(other)} for other in after]},
            "state_type": current.kind,
            "state_name": current.title,
            "state_timestamp": at,
            "expected_start_time": started or at,
            "start_time": started or (at if ended or current.kind is StateType.RUNNING else None),
            "end_time": at if ended else None,
            "run_count": int(ended or current.kind is StateType.RUNNING),
        }
        state_row = {"id": uuid4(), "task_run_id": task, "type": current.kind, "name": current.title, "timestamp": at}
        state_row |= {"message": message, "state_details": StateDetails(flow_run_id=run.id, task_run_id=task)}

        async def write(db: AsyncConnection) -> None:
            await db.execute(sa.insert(orm.TaskRun), [row])
            await db.execute(sa.insert(orm.TaskRunState), [state_row])
            has_state = sa.update(orm.TaskRun).where(orm.TaskRun.id == task)
            await db.execute(has_state.values(state_id=state_row["id"]))

        self._write(write)
        return task

    def tag_limit(self, tag: str, limit: int, holders: Sequence[UUID] = ()) -> None:
        """Limit the task runs with a tag; ``holders`` are the task runs that hold slots."""
        row = {"tag": tag, "concurrency_limit": limit, "active_slots": [str(holder) for holder in holders]}
        self._insert(orm.ConcurrencyLimit, [row])

    def global_limit(self, name: str, limit: int, *, taken: int = 0, active: bool = True) -> UUID:
        """Make a global concurrency limit, so many of its slots taken; return its id."""
        row = {"id": uuid4(), "name": name, "limit": limit, "active_slots": taken, "active": active}
        self._insert(orm.ConcurrencyLimitV2, [row])
        return UUID(str(row["id"]))

    def changed_before(self, variable: str, age: timedelta) -> None:
        """Let a Variable have been changed so long ago, and not since; one that does not exist is fine."""
        at = datetime.now(timezone.utc) - age

        async def write(db: AsyncConnection) -> None:
            await db.execute(sa.update(orm.Variable).where(orm.Variable.name == variable).values(updated=at))

        self._write(write)

    def heartbeats(self, run: Run, times: Iterable[datetime], *, behind: timedelta = timedelta(0)) -> None:
        """Write the events by which a running flow says that it lives; its clock may be behind, or ahead."""
        resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run_name(run)}
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
        self.events("prefect.flow-run.heartbeat", resource, times, related=related, behind=behind)

    def events(
        self,
        event: str,
        resource: Mapping[str, str],
        times: Iterable[datetime],
        *,
        related: Sequence[Mapping[str, str]] = (),
        payload: Mapping[str, Any] | None = None,
        behind: timedelta = timedelta(0),
    ) -> None:
        """Write the same event at several times; each carries a time that is that far behind the server's."""
        events, resources = [], []
        for received in times:
            at = received - behind
            row = {
                "id": uuid4(),
                "occurred": at,
                "received": received,
                "recorded": received,
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
            row, run_states = run_rows(run, flows, self.now)
            rows.append(row)
            states += run_states
            if run.parent:
                tasks.append(parent_task(run.parent, row))
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
        if self._at_once:
            return cast(T, self._at_once(work))

        async def transaction() -> T:
            async with _transaction(self._url) as connection:
                return await work(connection)

        with ThreadPoolExecutor(1) as executor:
            return executor.submit(lambda: asyncio.run(transaction())).result()


@asynccontextmanager
async def _transaction(url: str) -> AsyncIterator[AsyncConnection]:
    wait = {"timeout": 60} if url.startswith("sqlite") else {}
    engine = create_async_engine(url, poolclass=NullPool, connect_args=wait)
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


_RESOURCE_KEYS = {"prefect.resource.id", "prefect.resource.role"}
