"""unscheduled and paused: what nothing is planned for, by a scheduler that is dead or by a decision long forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from demo.stack import Server
from monitoring.model.finding import Cause
from tests.conftest import ServerFactory
from tests.support.assessment import assess_server, by_name
from tests.support.seed_values import DAY, HOUR, MINUTE, SECOND, Deployment, Schedule
from tests.support.seeding import Seed
from tests.support.servers import connected

NO_SCHEDULER = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_SCHEDULED_TIME": "P30D",
}
DEAD = "not-scheduling"


@pytest.fixture
def unplanned(fresh_server: ServerFactory) -> Iterator[Seed]:
    """A server whose scheduler is off, and plans 30 days ahead at the most."""
    server = fresh_server(NO_SCHEDULER)
    with connected(server):
        yield Seed(server.database_url)


def plant(seed: Seed, name: str, schedule: Any, *, ahead: datetime | None = None, **fields: Any) -> Deployment:
    """A deployment that has not been touched for long; with a run ahead, if there is one."""
    values: dict[str, Any] = {"created": seed.now - 90 * DAY, "updated": seed.now - 90 * DAY, **fields}
    deployment = seed.deployment(f"plan/{name}", schedule=schedule, **values)
    if ahead:
        seed.run(deployment, "SCHEDULED", due=ahead)
    return deployment


def test_what_should_have_runs_ahead_and_has_none(unplanned: Seed) -> None:
    now = unplanned.now
    hour = IntervalSchedule(interval=HOUR, anchor_date=now - 20 * MINUTE)
    plant(unplanned, "broken", hour)
    plant(unplanned, "planned", hour, ahead=now + 40 * MINUTE)
    # A run that is overdue is not ahead, one that waits for a retry or a slot neither, nor one that somebody made.
    overdue = plant(unplanned, "overdue", hour)
    unplanned.run(overdue, "SCHEDULED", due=now - 5 * MINUTE)
    for state in ("AwaitingRetry", "AwaitingConcurrencySlot"):
        waiting: dict[str, Any] = {"due": now - 20 * MINUTE, "next_due": now + 30 * SECOND}
        unplanned.run(plant(unplanned, state, hour), state, **waiting)
    for_later = plant(unplanned, "for-later", hour)
    unplanned.run(for_later, "SCHEDULED", due=now + 2 * HOUR, columns={"auto_scheduled": False})
    several = [Schedule(hour), Schedule(CronSchedule(cron="0 3 * * *", timezone="Europe/Berlin"))]
    plant(unplanned, "several", None, schedules=several)

    # The scheduler has its time after a change: to plan anew, or for the first time.
    plant(unplanned, "just-changed", hour, updated=now - 15 * MINUTE)
    plant(unplanned, "changed", hour, updated=now - 15 * MINUTE - SECOND)
    ended_rule = RRuleSchedule(
        rrule=f"DTSTART:{now - 40 * DAY:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=DAILY;COUNT=3", timezone="UTC"
    )
    plant(unplanned, "over", ended_rule)
    plant(unplanned, "never", "0 0 30 2 *")
    # It becomes due to be planned 30 days before it fires.
    for name, late in (("beyond", 15 * MINUTE), ("within", 15 * MINUTE + MINUTE)):
        fires = now + 30 * DAY - late
        plant(unplanned, name, IntervalSchedule(interval=60 * DAY, anchor_date=fires))
    plant(unplanned, "paused", hour, paused=True, updated=now)
    plant(unplanned, "inactive", hour, schedule_active=False, updated=now)
    plant(unplanned, "by-hand", None)

    seen = assess_server(now, stale={"enabled": False}, late={"enabled": False})
    waiting_ones = ("AwaitingRetry", "AwaitingConcurrencySlot", "for-later")
    expected = ("broken", "overdue", *waiting_ones, "several", "changed", "within")
    assert by_name(seen.found, "unscheduled") == dict.fromkeys(expected, "warning")
    assert seen.missing == {}
    broken = seen.found["unscheduled", "plan/broken"]
    assert broken.since == now - 20 * MINUTE
    assert f"{now + 40 * MINUTE:%Y-%m-%d %H:%M} UTC" in broken.observed
    # One that fires as often has a run ahead: the scheduler planned it, so that it is not dead.
    assert broken.cause is None


def test_a_dead_scheduler_is_one_cause(unplanned: Seed) -> None:
    now = unplanned.now
    for minute in range(3):
        plant(unplanned, f"hourly-{minute}", f"{minute} * * * *")
    # What fires seldom still has what was planned before.
    plant(unplanned, "weekly", "0 0 * * 1", ahead=now + 7 * DAY)
    found = assess_server(now, stale={"enabled": False}).found
    causes = {name: finding.cause for (check, name), finding in found.items() if check == "unscheduled"}
    dead = Cause(kind="scheduler", name="prefect", reason=DEAD)
    assert causes == {f"plan/hourly-{minute}": dead for minute in range(3)}


def test_neither_a_new_deployment_nor_one_that_is_over_brings_a_dead_scheduler_to_life(unplanned: Seed) -> None:
    now = unplanned.now
    for minute in range(2):
        plant(unplanned, f"hourly-{minute}", f"{minute} * * * *")
    plant(unplanned, "new", "0 * * * *", created=now - MINUTE, updated=now - MINUTE)
    plant(unplanned, "never", "0 0 30 2 *")
    assert assess_server(now, stale={"enabled": False}).found["server", "prefect"].severity == "critical"


def test_hundreds_without_runs_ahead_among_hundreds_with(unplanned: Seed) -> None:
    now = unplanned.now
    dead = [plant(unplanned, f"d{n}", "0 * * * *") for n in range(5)]
    for n in range(120):
        plant(unplanned, f"n{n}", f"{n % 60} {n % 24} * * *", ahead=now + DAY)
    seen = assess_server(now, stale={"enabled": False})
    assert by_name(seen.found, "unscheduled") == {deployment.name: "warning" for deployment in dead}
    assert seen.traffic.requests < 100


def test_nothing_is_missing_while_the_scheduler_lives(prefect_server: Server, world: Seed) -> None:
    for n in range(4):
        world.deployment(f"plan/alive-{n}", schedule=f"{n} * * * *")
    assert by_name(assess_server(world.now).found, "unscheduled") == {}


def test_paused_for_long_is_reported_and_is_no_problem(prefect_server: Server, world: Seed) -> None:
    now = world.now
    limit = 14 * DAY

    def make(name: str, age: timedelta, **fields: Any) -> None:
        values = {"schedule": "0 * * * *", "created": now - 90 * DAY, "updated": now - age, **fields}
        world.deployment(f"pause/{name}", **values)

    make("long", limit + SECOND, paused=True)
    make("not-yet", limit, paused=True)
    make("by-hand-and-paused", limit + SECOND, paused=True, schedule=None)
    make("inactive", limit + SECOND, schedule_active=False)
    make("inactive-not-yet", limit, schedule_active=False)
    make("by-hand", 60 * DAY, schedule=None)
    one_active = [Schedule(CronSchedule(cron="0 1 * * *"), active=False), Schedule(CronSchedule(cron="0 2 * * *"))]
    make("one-active", 60 * DAY, schedule=None, schedules=one_active)

    seen = assess_server(now, stale={"enabled": False}, unscheduled={"enabled": False})
    assert by_name(seen.found, "paused") == dict.fromkeys(("long", "by-hand-and-paused", "inactive"), "info")
    assert seen.status == "ok"
    assert seen.found["paused", "pause/long"].since == now - limit - SECOND


def test_the_memory_of_a_pause_outlives_an_edit(prefect_server: Server, world: Seed) -> None:
    now = datetime.now(timezone.utc)
    made = world.deployment("pause/edited", schedule="0 * * * *", paused=True, updated=now - 10 * DAY)
    before = assess_server(now)
    assert by_name(before.found, "paused") == {}

    with get_client(sync_client=True) as client:
        client.request("PATCH", "/deployments/{id}", path_params={"id": made.id}, json={"description": "edited"})
    ledger = before.assessment.ledger
    later = assess_server(now + 5 * DAY, ledger=ledger)
    assert by_name(later.found, "paused") == {"edited": "info"}

    with get_client(sync_client=True) as client:
        client.request("POST", "/deployments/{id}/resume_deployment", path_params={"id": made.id})
    resumed = assess_server(now + 5 * DAY, ledger=later.assessment.ledger, stale={"enabled": False})
    with get_client(sync_client=True) as client:
        client.request("POST", "/deployments/{id}/pause_deployment", path_params={"id": made.id})
    again = assess_server(now + 10 * DAY, ledger=resumed.assessment.ledger)
    assert (by_name(resumed.found, "paused"), by_name(again.found, "paused")) == ({}, {})
