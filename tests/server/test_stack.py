"""The ground that the other integration tests stand on: server, worker, seeding, Slack."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
from prefect.client.orchestration import get_client
from slack_sdk import WebClient

from demo.stack import Server, StackError, Worker, prefect_env, stop_leftovers, wait_until
from tests.support.noise import noise
from tests.support.seed_values import HOUR, MINUTE, Run, State
from tests.support.seeding import Seed
from tests.support.servers import Emptier, connected
from tests.support.slack import SlackEmulator

FLOW = """
    import time
    from prefect import flow

    @flow
    def sleeper(seconds: float = 0):
        time.sleep(seconds)
"""


@pytest.fixture
def sleeper(tmp_path: Path) -> dict[str, object]:
    """The body of a deployment whose flow is a file in this test's folder."""
    (tmp_path / "sleeper.py").write_text(dedent(FLOW))
    return {
        "name": "test",
        "entrypoint": "sleeper.py:sleeper",
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}],
    }


def deploy(server: Server, pool: str, body: dict[str, object], **fields: object) -> str:
    flow = server.request("POST", "/flows/", {"name": "sleeper"})
    made = server.request("POST", "/deployments/", {**body, "flow_id": flow["id"], "work_pool_name": pool, **fields})
    return str(made["id"])


def runs(server: Server, **filters: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = server.request("POST", "/flow_runs/filter", filters)
    return found


def states(server: Server, run_id: object) -> list[str]:
    found = server.request("GET", f"/flow_run_states/?flow_run_id={run_id}")
    return [state["name"] for state in sorted(found, key=lambda state: str(state["timestamp"]))]


def test_a_scheduled_run_is_created_and_executed_by_a_worker(
    prefect_server: Server, sleeper: dict[str, object]
) -> None:
    # Wrong versions of FastAPI and SQLAlchemy show here: the server does not start, or schedules nothing.
    worker = Worker(prefect_server, "scheduled")
    worker.start()
    try:
        worker.wait_online()
        deploy(prefect_server, "scheduled", sleeper, schedules=[{"schedule": {"interval": 5}, "active": True}])
        completed = {"state": {"type": {"any_": ["COMPLETED"]}}}
        worker.wait(
            lambda: bool(runs(prefect_server, flow_runs=completed)), timeout=180, waiting_for="a run to complete"
        )
        assert runs(prefect_server, flow_runs=completed)[0]["auto_scheduled"] is True
    finally:
        worker.stop()


def test_a_flow_run_is_killed_alone_and_together_with_its_worker(
    prefect_server: Server, sleeper: dict[str, object]
) -> None:
    worker = Worker(prefect_server, "killed")
    worker.start()
    try:
        worker.wait_online()
        deployment = deploy(prefect_server, "killed", sleeper, parameters={"seconds": 600})

        def start() -> str:
            run = prefect_server.request("POST", f"/deployments/{deployment}/create_flow_run", {})
            wait_for(run["id"], "RUNNING")
            return str(run["id"])

        def state(run: str) -> str:
            return str(prefect_server.request("GET", f"/flow_runs/{run}")["state_type"])

        def wait_for(run: str, wanted: str) -> None:
            worker.wait(lambda: state(run) == wanted, timeout=180, waiting_for=f"the run to be {wanted}")

        crashed, zombie = start(), start()
        assert worker.kill_flow_runs(crashed) > 0
        wait_for(crashed, "CRASHED")
        assert worker.flow_run_pids(zombie)

        worker.kill_all()

        assert not worker.running
        assert not worker.flow_run_pids()
        assert state(zombie) == "RUNNING"
    finally:
        worker.stop()


def test_seeding_is_what_the_api_reports(prefect_server: Server, seed: Seed) -> None:
    check_seeding(prefect_server, seed)


def test_seeding_on_postgresql(fresh_server: Callable[..., Server]) -> None:
    server = fresh_server(database="postgresql")
    seed = Seed(server.database_url)
    check_seeding(server, seed)
    noise(seed)
    assert len(runs(server, flows={"name": {"any_": ["noise-hourly"]}}, flow_runs=ENDED)) == 49


ENDED = {"end_time": {"is_null_": False}}


def check_seeding(server: Server, seed: Seed) -> None:
    now = seed.now
    pool = seed.pool("etl", concurrency_limit=3)
    seed.worker(pool, name="dead", last_heartbeat=now - HOUR)
    nightly = seed.deployment(
        "etl/nightly", pool=pool, schedule="0 2 * * *", tags=["prod"], concurrency_limit=1, status="READY"
    )
    failed = seed.run(nightly, "FAILED", ended=now - HOUR, started=now - 2 * HOUR, message="boom", name="the-one")
    since = now - 40 * MINUTE
    pending = seed.run(nightly, "Submitting", since=now - MINUTE, history=[State("PENDING", since)])
    late = seed.run(nightly, "Late", due=now - HOUR)
    child = seed.run(None, "CRASHED", flow="child", parent=failed, ended=now - HOUR)
    running = seed.run(nightly, "RUNNING", started=now - HOUR)
    seed.heartbeats(running, [now - 9 * MINUTE, now - 6 * MINUTE, now - 3 * MINUTE])

    found = server.request("GET", f"/flow_runs/{failed.id}")
    assert (found["name"], found["state"]["type"], found["state"]["name"]) == ("the-one", "FAILED", "Failed")
    assert (found["state"]["message"], found["total_run_time"]) == ("boom", 3600)
    assert found["deployment_id"] == str(nightly.id)
    assert found["work_pool_name"] == "etl"
    assert states(server, failed.id) == ["Scheduled", "Running", "Failed"]
    assert states(server, pending.id) == ["Pending", "Submitting"]
    found = server.request("GET", f"/flow_runs/{late.id}")
    assert (found["state_type"], found["state_name"], found["start_time"]) == ("SCHEDULED", "Late", None)
    assert found["estimated_start_time_delta"] >= 3600
    found = server.request("GET", f"/flow_runs/{child.id}")
    assert found["deployment_id"] is None
    subflows = {"parent_flow_run_id": {"any_": [str(failed.id)]}}
    assert [run["id"] for run in runs(server, flow_runs=subflows)] == [str(child.id)]

    deployment = server.request("GET", "/deployments/name/etl/nightly")
    assert (deployment["tags"], deployment["work_pool_name"]) == (["prod"], "etl")
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["schedules"][0]["schedule"] == {"cron": "0 2 * * *", "timezone": "UTC", "day_or": True}
    assert [w["name"] for w in server.request("POST", "/work_pools/etl/workers/filter", {})] == ["dead"]

    events = {"event": {"name": ["prefect.flow-run.heartbeat"]}}
    window = {"occurred": {"since": (now - HOUR).isoformat(), "until": now.isoformat()}}
    counted = server.request("POST", "/events/count-by/resource", {"filter": {**events, **window}})
    [beats] = [c for c in counted if c["value"] == f"prefect.flow-run.{running.id}"]
    assert beats["count"] == 3


def test_many_runs_are_seeded_quickly(prefect_server: Server, seed: Seed) -> None:
    deployment = seed.deployment("bulk/daily")
    ends = (seed.now - n * MINUTE for n in range(10_000))
    assert seed.many(Run(deployment=deployment, ended=end, history=()) for end in ends) == 10_000
    assert prefect_server.request("POST", "/flow_runs/count", {"flow_runs": ENDED}) == 10_000


def test_a_shared_server_is_emptied(prefect_server: Server, seed: Seed) -> None:
    empty = Emptier(prefect_server)
    kinds = ("flows", "flow_runs", "deployments", "work_pools", "variables", "artifacts")
    noise(seed)
    prefect_server.request("POST", "/variables/", {"name": "left", "value": 1})
    prefect_server.request("POST", "/artifacts/", {"key": "left", "type": "markdown", "data": "x"})
    block_types = prefect_server.request("POST", "/block_types/filter", {})
    assert all(prefect_server.request("POST", f"/{kind}/count", {}) for kind in kinds)

    empty()

    assert not any(prefect_server.request("POST", f"/{kind}/count", {}) for kind in kinds)
    # What the server itself brought is still there.
    assert prefect_server.request("POST", "/block_types/filter", {}) == block_types


def test_a_server_can_ask_for_a_password_and_a_token(fresh_server: Callable[..., Server]) -> None:
    server = fresh_server(
        {
            "PREFECT_SERVER_API_AUTH_STRING": "admin:secret",
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_API_DEFAULT_LIMIT": "2",
        }
    )
    assert httpx.get(f"{server.api_url}/admin/version", trust_env=False).status_code == 401
    server.request("POST", "/flows/", {"name": "allowed"})
    with pytest.raises(httpx.HTTPStatusError, match="422"):
        server.request("POST", "/flows/filter", {"limit": 3})
    with connected(server), get_client(sync_client=True) as client:
        assert [flow.name for flow in client.read_flows()] == ["allowed"]
    worker = Worker(server, "guarded")
    worker.start()
    try:
        worker.wait_online()
    finally:
        worker.stop()


def test_the_noise_stays_healthy(prefect_server: Server, seed: Seed) -> None:
    noise(seed)
    active = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING", "PAUSED"]}}}
    [run] = runs(prefect_server, flow_runs=active)
    assert run["state_name"] == "Running"
    overdue = {"next_scheduled_start_time": {"before_": (seed.now + MINUTE).isoformat()}}
    assert runs(prefect_server, flow_runs=overdue) == []
    [last] = runs(prefect_server, flows={"name": {"any_": ["noise-hourly"]}}, sort="END_TIME_DESC", limit=1)
    assert last["state_type"] == "COMPLETED"


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = Server(tmp_path, database_url="sqlite+aiosqlite:////nonexistent/prefect.db")
    server.start()
    with pytest.raises(StackError, match="unable to open database file"):
        server.wait_ready()


def test_nothing_is_taken_from_the_callers_prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "the caller's own")
    env = prefect_env(tmp_path, "http://127.0.0.1:1/api")
    assert "PREFECT_API_KEY" not in env
    assert env["PREFECT_HOME"] == str(tmp_path)
    assert env["PATH"].startswith(str(Path(sys.executable).parent))


def test_leftovers_of_a_killed_stack_are_stopped(tmp_path: Path, prefect_server: Server) -> None:
    worker = Worker(prefect_server, "left", env={"LOCAL_STACK_HOME": str(tmp_path)})
    worker.start()
    try:
        worker.wait_online()
        assert stop_leftovers(tmp_path) == 1
        wait_until(lambda: not worker.running, timeout=180, waiting_for="the worker to end")
        assert prefect_server.is_ready()
    finally:
        worker.stop()


def test_slack_messages_are_read_back(slack_emulator: SlackEmulator) -> None:
    client = WebClient(slack_emulator.token, base_url=slack_emulator.base_url)
    blocks = [{"type": "header", "text": {"type": "plain_text", "text": "Hello"}}]
    first = client.chat_postMessage(channel="alerts", text="one", blocks=blocks)
    client.chat_postMessage(channel="alerts", text="a reply", thread_ts=first["ts"])
    client.chat_postMessage(channel="alerts", text="two")

    posted = slack_emulator.messages("alerts")
    assert [message["text"] for message in posted] == ["one", "two"]
    assert posted[0]["blocks"] == blocks
    assert [message["text"] for message in slack_emulator.replies("alerts", first["ts"])] == ["one", "a reply"]
    assert slack_emulator.messages("digest") == []

    slack_emulator.clear()
    assert slack_emulator.messages("alerts") == []
