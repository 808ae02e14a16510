"""Writes a described server into a real one's database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

from prefect.server.schemas.schedules import SCHEDULE_TYPES, CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.server.schemas.states import StateType

from tests.corpus import scenario
from tests.corpus.scenario import When, World, moment
from tests.support import seed_values
from tests.support.seeding import Seed

_LIMIT = "prefect.concurrency-limit"


def load(world: World, now: datetime, database_url: str) -> None:
    """Write all that is on a server, in one transaction.

    Args:
        world: What is on it.
        now: What its times are relative to.
        database_url: The database of a real server.
    """
    seed = Seed(database_url, now)
    with seed.together():
        _Loader(seed, now).load(world)


class _Loader:
    def __init__(self, seed: Seed, now: datetime) -> None:
        self._seed = seed
        self._now = now
        self._pools: dict[tuple[str, str], seed_values.Pool] = {}
        self._deployments: dict[str, seed_values.Deployment] = {}
        self._runs: dict[str, seed_values.Run] = {}
        #: By tag: the task runs that hold its slots.
        self._holders: dict[str, list[UUID]] = {}

    def load(self, world: World) -> None:
        for name, pool in world.pools.items():
            self._pool(name, pool)
        for flow in world.flows:
            self._seed.flow(flow)
        for name, deployment in world.deployments.items():
            self._deployment(name, deployment)
        self._load_runs(world.runs)
        for tag, limit in world.tag_limits.items():
            self._seed.tag_limit(tag, limit, self._holders.get(tag, []))
        for event in world.events:
            self._event(event)
        for name, described in world.global_limits.items():
            self._global_limit(name, described)
        for name, deployment in world.deployments.items():
            if deployment.without_flow:
                self._seed.lose_flow(self._deployments[name])
            if deployment.deleted:
                self._seed.lose_deployment(self._deployments[name])

    def _at(self, when: When | None, now: datetime | None = None) -> datetime | None:
        return None if when is None else moment(when, now or self._now)

    def _pool(self, name: str, pool: scenario.Pool) -> None:
        made = self._seed.pool(name, type=pool.type, paused=pool.paused, concurrency_limit=pool.limit)
        self._pools[name, made.queue_name] = made
        for number, worker in enumerate(pool.workers, start=1):
            self._seed.worker(
                made,
                name=f"worker-{number}",
                last_heartbeat=self._at(worker.heard),
                interval=worker.interval,
                status=worker.status,
            )
        for queue_name, queue in pool.queues.items():
            polled = self._at(queue.polled)
            place = self._seed.queue(
                made, queue_name, paused=queue.paused, concurrency_limit=queue.limit, polled=polled
            )
            self._pools[name, queue_name] = place

    def _deployment(self, name: str, deployment: scenario.Deployment) -> None:
        created = moment(deployment.created, self._now)
        touched = self._at(deployment.touched) or created
        schedules = [self._schedule(schedule, created, touched) for schedule in deployment.schedules]
        made = self._seed.deployment(
            name,
            pool=self._pools[deployment.pool, deployment.queue or "default"] if deployment.pool else None,
            schedules=schedules,
            paused=deployment.paused,
            tags=[*deployment.tags, *(f"tag-{number}" for number in range(deployment.more_tags))],
            concurrency_limit=deployment.limit,
            slots_taken=deployment.slots_taken,
            collision=deployment.collision,
            created=created,
            updated=touched,
            polled=self._at(deployment.polled),
        )
        self._deployments[name] = made
        if not deployment.paused:
            active = [schedule.schedule for schedule in schedules if schedule.active]
            self._seed.many(_scheduled(made, active, self._now, created, deployment.ahead))

    def _schedule(self, schedule: scenario.Schedule, created: datetime, touched: datetime) -> seed_values.Schedule:
        return seed_values.Schedule(
            _arithmetic(schedule, self._now),
            active=schedule.active,
            max_scheduled_runs=schedule.max_runs,
            created=self._at(schedule.made) or created,
            updated=self._at(schedule.touched) or self._at(schedule.made) or touched,
            parameters=schedule.parameters,
        )

    def _load_runs(self, runs: Iterable[scenario.Run]) -> None:
        """Write the runs, and what they said; a child needs its parent to be there."""
        waiting: list[seed_values.Run] = []
        speaking: list[tuple[scenario.Run, list[seed_values.Run]]] = []
        for run in runs:
            if run.child_of:
                self._seed.many(waiting)
                waiting = []
            made = list(self._made(run))
            waiting += made
            speaking.append((run, made))
            if run.id:
                self._runs[run.id] = made[0]
        self._seed.many(waiting)
        for run, made in speaking:
            self._said(run, made[0])
            for repeated in made:
                self._worked(run, repeated)

    def _made(self, run: scenario.Run) -> Iterator[seed_values.Run]:
        for number in range(run.repeat):
            base = self._now - number * run.every
            ended, started = self._at(run.ended, base), self._at(run.started, base)
            if started is None and ended is not None and run.took is not None:
                started = ended - run.took
            yield seed_values.Run(
                deployment=self._deployments[run.of] if run.of else None,
                flow=run.flow,
                state=run.state,
                state_type=StateType[run.type] if run.type else None,
                since=self._at(run.since, base),
                due=self._at(run.due, base),
                next_due=self._at(run.next_due, base),
                started=started,
                ended=ended,
                message=run.message,
                name=run.name if run.repeat == 1 else f"{run.name or 'run'}-{number}",
                parent=self._runs[run.child_of] if run.child_of else None,
                run_count=run.attempts,
                run_time=run.run_time,
                created=self._at(run.created, base),
                pause_timeout=self._at(run.pause_timeout, base),
                history=None if run.history is None else [self._state(state, base) for state in run.history],
                columns=dict.fromkeys(run.without),
                parameters=run.parameters,
                id=uuid4(),
            )

    def _state(self, state: scenario.State, now: datetime) -> seed_values.State:
        return seed_values.State(state.state, moment(state.at, now))

    def _said(self, run: scenario.Run, made: seed_values.Run) -> None:
        if beats := run.heartbeats:
            last = moment(beats.last, self._now)
            behind = moment(beats.behind, self._now) - self._now
            times = [last - number * beats.every for number in range(beats.count)]
            self._seed.heartbeats(made, times, behind=behind)
        self._seed.logs(made, [(moment(line.at, self._now), line.level, line.text) for line in run.logs])

    def _worked(self, run: scenario.Run, made: seed_values.Run) -> None:
        for task in (repeated for repeated in run.tasks for _ in range(repeated.times)):
            task_id = self._seed.task_run(
                made,
                task.name,
                state=task.state,
                at=moment(task.at, self._now),
                message=task.message,
                tags=task.tags,
            )
            for tag in task.holds:
                self._holders.setdefault(tag, []).append(task_id)

    def _event(self, event: scenario.Event) -> None:
        resource = {"prefect.resource.id": event.resource, "prefect.resource.name": event.resource}
        self._seed.events(event.event, resource, [moment(event.at, self._now)])

    def _global_limit(self, name: str, limit: scenario.GlobalLimit) -> None:
        made = self._seed.global_limit(name, limit.limit, taken=limit.taken)
        resource = {"prefect.resource.id": f"{_LIMIT}.{made}", "prefect.resource.name": name}
        taken = {**resource, "slots-acquired": "1", "limit": str(limit.limit)}
        for holder in limit.holders:
            since = [moment(limit.since, self._now)]
            self._seed.events(f"{_LIMIT}.acquired", taken, since, related=[_related(self._runs[holder])])


def _related(run: seed_values.Run) -> Mapping[str, str]:
    return {
        "prefect.resource.id": f"prefect.flow-run.{run.id}",
        "prefect.resource.role": "flow-run",
        "prefect.resource.name": run.name,
    }


def _arithmetic(schedule: scenario.Schedule, now: datetime) -> SCHEDULE_TYPES:
    """The schedule as Prefect computes with it."""
    if schedule.cron is not None:
        return CronSchedule(cron=schedule.cron, timezone=schedule.zone)
    if schedule.rrule is not None:
        return RRuleSchedule(rrule=schedule.rrule, timezone=schedule.zone)
    assert schedule.every, "a schedule has one of cron, every and rrule"
    # The type is Prefect's own, with pydantic behind it: any aware datetime will do.
    anchor: Any = moment(schedule.anchor, now)
    return IntervalSchedule(interval=schedule.every, anchor_date=anchor, timezone=schedule.zone)


def _scheduled(
    deployment: seed_values.Deployment,
    schedules: Iterable[SCHEDULE_TYPES],
    now: datetime,
    created: datetime,
    count: int,
) -> Iterator[seed_values.Run]:
    """The runs that the server's scheduler would have made ahead: one for each that was due, so many fires later."""
    for schedule in schedules:
        dates = asyncio.run(schedule.get_dates(n=count + 1, start=now)) if count else []
        fires = [datetime.fromtimestamp(date.timestamp(), timezone.utc) for date in dates]
        ahead = [fire for fire in fires if fire > now][:count]
        step = ahead[1] - ahead[0] if len(ahead) > 1 else timedelta(hours=1)
        for due in ahead:
            made = max(created, min(now, due - count * step))
            yield seed_values.Run(deployment=deployment, state="SCHEDULED", due=due, created=made)
