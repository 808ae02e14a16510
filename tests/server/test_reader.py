"""What is read of a real server: whole answers in pages, windows, coverage, and by whom."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL, temporary_settings
from werkzeug import Response

from demo.stack import Server
from monitoring.errors import CredentialsRefused
from tests.support.assessment import assess_server
from tests.support.noise import noise
from tests.support.relay import ApiRequest, relayed
from tests.support.seed_values import DAY, HOUR, MINUTE, Run
from tests.support.seeding import Seed
from tests.support.servers import Postgres, connected, start_server

SECOND = timedelta(seconds=1)
RUNS = "/flow_runs/filter"
#: An odd number, so that no page ends where ours would.
CEILING = 7


@pytest.fixture(scope="module")
def guarded(_postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with everything that makes reading harder: PostgreSQL, small pages, an auth string, CSRF protection."""
    server = start_server(
        tmp_path_factory.mktemp("guarded"),
        database_url=_postgres.new_database(),
        env={
            "PREFECT_SERVER_API_DEFAULT_LIMIT": str(CEILING),
            "PREFECT_SERVER_API_AUTH_STRING": "watchdog:let me in",
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        },
    )
    yield server
    server.stop()


def pages_of(requests: list[ApiRequest], kind: str) -> list[ApiRequest]:
    """The requests for flow runs by one filter (``end_time``, or the state's type)."""
    found = [ask for ask in requests if ask.path == RUNS]
    return [ask for ask in found if kind in str(ask.body.get("flow_runs"))]


def forget(server: Server, runs: list[str]) -> None:
    """Delete runs at once, in the database."""
    with closing(sqlite3.connect(server.home / "prefect.db", timeout=60)) as database, database:
        database.executemany("DELETE FROM flow_run WHERE id = ?", [(run,) for run in runs])


# --- whole answers -----------------------------------------------------------------------------------


def test_small_pages_postgresql_auth_string_and_csrf_hide_nothing(guarded: Server) -> None:
    seed = Seed(guarded.database_url)
    noise(seed)
    now = seed.now
    # As many equal times and names as there are on servers where everything runs on the hour and is called "prod".
    late = [seed.deployment(f"flow-{n}/prod", pool=seed.pool(f"pool-{n}")) for n in range(20)]
    seed.many(Run(deployment=late[n % 20], state="Late", due=now - HOUR) for n in range(450))
    ended = seed.deployment("many/ended")
    seed.many(Run(deployment=ended, state="FAILED", ended=now - HOUR - n * SECOND, history=()) for n in range(60))
    with connected(guarded):
        seen = assess_server(now)
    assert seen.missing == {}
    late_runs = {name: f.flow_run_count for (check, name), f in seen.found.items() if check == "late"}
    assert sorted(late_runs) == sorted(f"flow-{n}/prod" for n in range(20))
    assert sum(late_runs.values()) == 450
    assert all(
        f.cause and f.cause.reason == "no-live-worker" for (check, _), f in seen.found.items() if check == "late"
    )
    assert seen.found["failed", "many/ended"].flow_run_count == 60
    heads = {name for check, name in seen.found if check == "work-pool"}
    assert heads == {f"pool-{n}" for n in range(20)}
    assert len(seen.found) == 41
    # Every pool's queue is called "default", and none is missing.
    assert all(pool.queues for pool in seen.assessment.observation.pools.work_pools.values())


@pytest.mark.parametrize("secret", ["", "watchdog:let me out"])
def test_a_wrong_auth_string_is_rejected_and_not_repeated(guarded: Server, seed: Seed, secret: str) -> None:
    settings: dict[Any, Any] = {PREFECT_API_URL: guarded.api_url, PREFECT_API_AUTH_STRING: secret or None}
    with temporary_settings(settings), pytest.raises(CredentialsRefused, match="PREFECT_API_AUTH_STRING") as refused:
        assess_server(seed.now)
    assert "let me" not in str(refused.value)


#: What every look rests on, and a key must be allowed to read.
ESSENTIAL = ("flows", "deployments", "flow_runs", "work_pools", "work_queues")


@pytest.mark.parametrize("status", [401, 403])
def test_what_a_key_may_not_read_is_missing_and_the_rest_is_reported(
    prefect_server: Server, world: Seed, status: int
) -> None:
    world.run(world.deployment("etl/broken"), "FAILED", ended=world.now - HOUR, message="no rows")
    may_read = {f"/{name}/filter" for name in ESSENTIAL} | {"/ready", "/csrf-token"}
    with relayed(prefect_server.ui_url) as relay:
        relay.answer = lambda request: None if request.path in may_read else Response("no", status)
        seen = assess_server(world.now, at=relay.url)

    assert seen.found["failed", "etl/broken"].flow_run_count == 1
    assert seen.status == "unknown"
    assert {"failure-logs", "failed-tasks", "heartbeats"} <= seen.missing.keys()
    # As on a server that has none.
    assert not {"limits", "events"} & seen.missing.keys()


@pytest.mark.parametrize("name", ESSENTIAL)
def test_a_key_that_may_not_read_what_every_check_needs_is_rejected(
    prefect_server: Server, world: Seed, name: str
) -> None:
    with relayed(prefect_server.ui_url) as relay:
        relay.answer = lambda request: Response("no", 403) if request.path == f"/{name}/filter" else None
        with pytest.raises(CredentialsRefused):
            assess_server(world.now, at=relay.url)


def test_an_api_key_and_an_auth_string_reach_the_server(prefect_server: Server, world: Seed) -> None:
    basic = "Basic " + base64.b64encode(b"user:word").decode()
    for setting, value, header in (
        (PREFECT_API_KEY, "pnu_1234", "Bearer pnu_1234"),
        (PREFECT_API_AUTH_STRING, "user:word", basic),
    ):
        with relayed(prefect_server.ui_url) as relay, temporary_settings({setting: value}):
            assert assess_server(world.now, at=relay.url).status == "ok"
        assert {request.headers.get("Authorization") for request in relay.requests} == {header}


@pytest.mark.parametrize("leaving", [1, 5, 230])
def test_rows_that_leave_between_two_pages_hide_no_others(prefect_server: Server, world: Seed, leaving: int) -> None:
    """Runs that were read on the first page are gone before the second is asked for."""
    now = world.now
    deployment = world.deployment("late/backlog")
    runs = [Run(deployment=deployment, state="Late", due=now - HOUR, history=()) for _ in range(450)]
    world.many(runs)
    gone = sorted((str(run.id) for run in runs), reverse=True)[:leaving]
    stay = {str(run.id) for run in runs} - set(gone)

    def leave(request: ApiRequest, _: object) -> None:
        if pages_of([request], "SCHEDULED") and request.body.get("offset") == 0 and gone:
            forget(prefect_server, gone)
            gone.clear()

    with relayed(prefect_server.ui_url) as relay:
        relay.after = leave
        seen = assess_server(now, at=relay.url)
    assert not gone
    assert stay <= set(seen.found["late", "late/backlog"].flow_run_ids)
    assert seen.missing == {}


def test_rows_that_arrive_between_two_pages_are_no_repeats(prefect_server: Server, world: Seed) -> None:
    now = world.now
    deployment = world.deployment("etl/busy")
    world.many(
        Run(deployment=deployment, state="FAILED", ended=now - HOUR - n * SECOND, history=()) for n in range(450)
    )
    arrived: list[Run] = []

    def arrive(request: ApiRequest, _: object) -> None:
        if pages_of([request], "end_time") and len(arrived) < 20:
            new = [Run(deployment=deployment, state="FAILED", ended=now - MINUTE) for _ in range(10)]
            world.many(new)
            arrived.extend(new)

    with relayed(prefect_server.ui_url) as relay:
        relay.after = arrive
        seen = assess_server(now, at=relay.url)
    assert len(arrived) == 20
    failed = seen.found["failed", "etl/busy"]
    assert 450 <= failed.flow_run_count <= 470
    ended = [run.id for run in seen.assessment.observation.runs.ended]
    assert len(ended) == len(set(ended))


# --- windows -----------------------------------------------------------------------------------------


def test_the_window_bounds_what_is_read_of_ended_runs(prefect_server: Server, world: Seed) -> None:
    now = world.now
    for name, ago in {"inside": 3 * HOUR, "outside": 3 * HOUR + SECOND, "future": -SECOND}.items():
        world.run(world.deployment(f"etl/{name}"), "FAILED", ended=now - ago)
    assert set(assess_server(now, target={"window": "3h"}).found) == {("failed", "etl/inside")}


def test_active_runs_are_read_however_old_they_are(prefect_server: Server, world: Seed) -> None:
    old = world.now - timedelta(days=200)
    world.run(world.deployment("old/pending"), "PENDING", since=old)
    world.run(world.deployment("old/late"), "Late", due=old)
    assert set(assess_server(world.now, target={"window": "1h"}).found) == {
        ("stuck", "old/pending"),
        ("late", "old/late"),
    }


def test_a_second_check_reads_only_what_is_new(prefect_server: Server, world: Seed) -> None:
    deployment = world.deployment("etl/nightly")
    world.many(Run(deployment=deployment, ended=world.now - HOUR - n * SECOND, history=()) for n in range(450))
    with relayed(prefect_server.ui_url) as relay:
        first = assess_server(world.now, at=relay.url)
    # Not so much later that the noise's worker would have been silent for too long.
    later = world.now + MINUTE
    world.many(Run(deployment=deployment, ended=world.now + n * SECOND) for n in range(1, 4))
    with relayed(prefect_server.ui_url) as second_relay:
        second = assess_server(later, at=second_relay.url, ledger=first.assessment.ledger)

    active = len(first.assessment.observation.runs.active)
    # The noise's hourly run ended four minutes before the first check: the overlap reads it again, and counts it once.
    assert relay.rows[RUNS] >= 450
    assert second_relay.rows[RUNS] <= active + 3 + 1
    assert len(pages_of(second_relay.requests, "end_time")) == 1
    assert second.traffic.requests <= len(second_relay.requests) < 23
    assert second.status == "ok"


def test_a_run_that_ends_late_within_the_overlap_is_counted_once(prefect_server: Server, world: Seed) -> None:
    """Ends are stamped by other machines' clocks: one can arrive behind the cursor."""
    now = world.now
    deployment = world.deployment("etl/nightly")
    world.run(deployment, "FAILED", ended=now - MINUTE)
    ledger = assess_server(now).assessment.ledger
    for step in range(1, 4):
        again = assess_server(now + step * MINUTE, ledger=ledger)
        ledger = again.assessment.ledger
        assert again.found["failed", "etl/nightly"].flow_run_count == 1
    other = world.deployment("etl/behind")
    world.run(other, "FAILED", ended=now + 2 * MINUTE)
    seen = assess_server(now + 4 * MINUTE, ledger=ledger)
    assert ("failed", "etl/behind") in seen.found


def test_the_last_success_is_searched_for_once(prefect_server: Server, world: Seed) -> None:
    world.deployment("stale/never", schedule="*/10 * * * *", updated=world.now - 30 * DAY)
    with relayed(prefect_server.ui_url) as relay:
        first = assess_server(world.now, at=relay.url)
        searched = len(pages_of(relay.requests, "not_any_"))
        second = assess_server(world.now, at=relay.url, ledger=first.assessment.ledger)
    assert searched >= 1
    assert len(pages_of(relay.requests, "not_any_")) == searched
    for seen in (first, second):
        assert seen.found["stale", "stale/never"].severity == "critical"
