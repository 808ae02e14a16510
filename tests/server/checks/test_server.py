"""server: what a real server does by itself, and what is seen when it does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from werkzeug import Response

from demo.stack import Server, wait_until
from monitoring.model.finding import Cause
from tests.conftest import ServerFactory
from tests.support.assessment import Assessed, Found, assess_server
from tests.support.builders import WRITTEN_HISTORY
from tests.support.relay import relayed
from tests.support.seed_values import HOUR, MINUTE, SECOND
from tests.support.seeding import Seed
from tests.support.servers import connected

#: As a user has it who has configured nothing.
DEFAULTS = {"late_marking": "5m", "events_missing": "15m"}
DEAF_AND_IDLE = {
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
}


def faults(looked: Assessed) -> set[str]:
    """What is found of the server itself."""
    return {finding.fingerprint for finding in looked.assessment.findings if finding.check == "server"}


def ran(server: Server) -> datetime:
    """Let a run begin and end on the server, as a client would; returns when it ended by the server's clock."""
    flow = server.request("POST", "/flows/", {"name": "laptop"})
    run = server.request("POST", "/flow_runs/", {"flow_id": flow["id"], "state": {"type": "PENDING"}})
    for state in ("RUNNING", "COMPLETED"):
        server.request("POST", f"/flow_runs/{run['id']}/set_state", {"state": {"type": state}, "force": True})
    row = server.request("GET", f"/flow_runs/{run['id']}")
    assert row["total_run_time"] > 0
    return datetime.fromisoformat(row["end_time"].replace("Z", "+00:00"))


def events(server: Server) -> int:
    return int(server.request("POST", "/events/filter", {"limit": 1})["total"])


def test_a_server_that_does_its_work_is_no_finding(prefect_server: Server, world: Seed) -> None:
    late = world.run(world.deployment("etl/late", pool=world.pool("etl")), "SCHEDULED", due=world.now - MINUTE)
    before = events(prefect_server)
    ended = ran(prefect_server)
    wait_until(lambda: events(prefect_server) >= before + 3, timeout=120, waiting_for="the run's events")

    def marked() -> bool:
        return bool(prefect_server.request("GET", f"/flow_runs/{late.id}")["state_name"] == "Late")

    wait_until(marked, timeout=120, waiting_for="the service to mark the run")
    for ago in (MINUTE, 20 * MINUTE):
        looked = assess_server(ended + ago, server=DEFAULTS)
        assert faults(looked) == set()
        assert "events" not in looked.missing


def test_its_vitals_are_measured(prefect_server: Server, world: Seed) -> None:
    looked = assess_server(world.now)
    vitals = looked.assessment.observation.server.vitals

    assert 5 < vitals.answers <= looked.traffic.requests
    assert vitals.answer_time is not None
    assert timedelta(0) <= vitals.answer_time < 3 * SECOND
    assert vitals.clock_offset is not None
    # Both are the clock of one machine; the header has whole seconds.
    assert abs(vitals.clock_offset) <= SECOND


@pytest.fixture
def dated(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a relay's answers bear another date."""
    return lambda date: monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: date)


@pytest.mark.parametrize(("ahead", "found"), [(HOUR, True), (-HOUR, True), (30 * SECOND, False)])
def test_a_clock_that_is_apart(
    prefect_server: Server, world: Seed, dated: Callable[[str], None], ahead: timedelta, found: bool
) -> None:
    dated(format_datetime(datetime.now(timezone.utc) + ahead, usegmt=True))
    with relayed(prefect_server.ui_url) as relay:
        looked = assess_server(world.now, at=relay.url)

    assert faults(looked) == ({"prefect/server/server/prefect/clock"} if found else set())


def test_an_unreadable_date_says_nothing_of_the_clock(
    prefect_server: Server, world: Seed, dated: Callable[[str], None]
) -> None:
    dated("yesterday")
    with relayed(prefect_server.ui_url) as relay:
        looked = assess_server(world.now, at=relay.url)

    assert looked.assessment.observation.server.vitals.clock_offset is None
    assert faults(looked) == set()


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_a_server_without_events_is_not_broken(prefect_server: Server, seed: Seed, status: int) -> None:
    seed.run(seed.deployment("etl/well"), ended=seed.now - HOUR)
    with relayed(prefect_server.ui_url) as relay:
        relay.answer = lambda request: Response("no", status) if request.path == "/events/filter" else None
        looked = assess_server(seed.now, at=relay.url, server=DEFAULTS)

    assert faults(looked) == set()
    assert "events" not in looked.missing


def test_events_that_cannot_be_read_are_unknown(prefect_server: Server, seed: Seed) -> None:
    seed.run(seed.deployment("etl/well"), ended=seed.now - HOUR)
    with relayed(prefect_server.ui_url) as relay:
        relay.answer = lambda request: Response("[]", 200) if request.path == "/events/filter" else None
        looked = assess_server(seed.now, at=relay.url, server=DEFAULTS)

    assert faults(looked) == set()
    assert looked.missing == {"events": "failed"}


def test_one_short_request_where_events_arrive(prefect_server: Server, world: Seed) -> None:
    with relayed(prefect_server.ui_url) as relay:
        assess_server(world.now, at=relay.url, server=DEFAULTS)
        bodies = [request.body for request in relay.requests if request.path == "/events/filter"]

    assert len(bodies) == 1
    assert bodies[0]["filter"]["occurred"]["since"] == (world.now - 15 * MINUTE).isoformat()


def test_a_server_whose_services_are_dead(fresh_server: ServerFactory) -> None:
    server = fresh_server(DEAF_AND_IDLE)
    seed = Seed(server.database_url)
    pool = seed.pool("etl")
    seed.worker(pool)
    late = seed.run(seed.deployment("etl/late", pool=pool), "SCHEDULED", due=seed.now - 2 * MINUTE)
    for name in ("a", "b"):
        # Without a run ahead, for the scheduler makes none.
        seed.deployment(f"idle/{name}", pool=pool, schedule="*/5 * * * *")
    ended = ran(server)
    names: dict[str, Any] = {
        "marking": "prefect/server/server/prefect/late-marking",
        "events": "prefect/server/server/prefect/events",
        "scheduler": "prefect/server/scheduler/prefect",
    }
    with connected(server):

        def at(moment: datetime, **settings: Any) -> Assessed:
            return assess_server(moment, server={**WRITTEN_HISTORY, **settings})

        assert names["marking"] not in faults(at(seed.now + 3 * MINUTE, late_marking="5m"))
        marking = at(seed.now + 3 * MINUTE + SECOND, late_marking="5m")
        assert names["marking"] in faults(marking)
        assert names["events"] not in faults(at(ended + 15 * MINUTE - SECOND, events_missing="15m"))
        assert names["events"] in faults(at(ended + 15 * MINUTE + SECOND, events_missing="15m"))
        everything = assess_server(seed.now + HOUR, server=DEFAULTS)

    assert faults(everything) == set(names.values())
    found: Found = {(f.check, f.fingerprint): f for f in everything.assessment.findings}
    assert found["server", names["marking"]].flow_run_ids == (str(late.id),)
    assert found["server", names["scheduler"]].cause == Cause(kind="scheduler", name="prefect", reason="not-scheduling")
    assert everything.found["unscheduled", "idle/a"].symptom_of == names["scheduler"]
    assert everything.found["unscheduled", "idle/b"].symptom_of == names["scheduler"]
