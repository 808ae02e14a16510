"""What real runs look like to the watchdog: a host that dies, a pause, retries with subflows, runs that start runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from textwrap import dedent

import pytest

from demo.stack import Server, Worker, wait_until
from monitoring.model.finding import Finding
from tests.support.assessment import Found, assess_server
from tests.support.deployed_watchdog import QUICK
from tests.support.noise import noise
from tests.support.seed_values import MINUTE, SECOND
from tests.support.seeding import Seed
from tests.support.servers import Emptier, connected, start_server

POOL = "real"
FLOWS = """
    import time

    from prefect import flow, task
    from prefect.deployments import run_deployment
    from prefect.flow_runs import suspend_flow_run
    from prefect.states import raise_state_exception

    @task(name="load-orders")
    def load_orders():
        raise ValueError("order 4711 has no customer, password=hunter2")

    @flow(name="inner")
    def inner():
        load_orders()

    @flow(name="retries", retries=1, retry_delay_seconds=0)
    def retries():
        inner()

    @flow(name="awaits", retries=1, retry_delay_seconds=7200)
    def awaits():
        inner()

    @flow(name="calls")
    def calls():
        raise_state_exception(run_deployment("retries/real", poll_interval=1).state)

    @flow(name="suspends")
    def suspends():
        suspend_flow_run(timeout=600)

    @flow(name="dies")
    def dies():
        time.sleep(3600)

    @flow(name="is-well")
    def is_well():
        return "well"
"""
NAMES = ("awaits", "calls", "suspends", "dies", "is-well")


class Real:
    """A server whose runs have all come as far as they will come by themselves."""

    def __init__(self, server: Server, worker: Worker, folder: Path) -> None:
        self.server = server
        self.worker = worker
        (folder / "real.py").write_text(dedent(FLOWS))
        pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}]
        self._deployments: dict[str, str] = {}
        for name in (*NAMES, "retries"):
            flow = server.request("POST", "/flows/", {"name": name})
            body = {"name": "real", "flow_id": flow["id"], "work_pool_name": POOL, "pull_steps": pull}
            body["entrypoint"] = f"real.py:{name.replace('-', '_')}"
            self._deployments[name] = server.request("POST", "/deployments/", body)["id"]
        self._runs = {name: self._start(name) for name in NAMES}
        #: Takes the server back to what really ran on it.
        self.without_noise: Callable[[], None] = lambda: None

    def _start(self, name: str) -> str:
        run = self.server.request("POST", f"/deployments/{self._deployments[name]}/create_flow_run", {})
        return str(run["id"])

    def state(self, name: str) -> str:
        """The name of the state of the deployment's run."""
        return str(self.server.request("GET", f"/flow_runs/{self._runs[name]}")["state_name"])

    def wait(self, expected: dict[str, str], timeout: float = 180) -> None:
        """Wait until the runs are in these states."""
        self.worker.wait(
            lambda: {name: self.state(name) for name in expected} == expected,
            timeout=timeout,
            waiting_for=f"runs to be {expected}",
        )

    def beats(self, name: str) -> int:
        """How many heartbeats the deployment's run has sent."""
        resource = {"id": [f"prefect.flow-run.{self._runs[name]}"]}
        body = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": resource}}
        return int(self.server.request("POST", "/events/filter", body)["total"])

    def judged(self, at: datetime) -> Found:
        """What is found at a moment, most likely one to come, among noise as of then."""
        self.without_noise()
        noise(Seed(self.server.database_url, now=at))
        with connected(self.server):
            return assess_server(at).found


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    server = start_server(tmp_path_factory.mktemp("real-server"))
    env = {**QUICK, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    worker = Worker(server, POOL, env=env)
    try:
        worker.start()
        worker.wait_online()
        runs = Real(server, worker, tmp_path_factory.mktemp("real-flows"))
        runs.wait({"awaits": "AwaitingRetry", "calls": "Failed", "suspends": "Suspended", "dies": "Running"})
        wait_until(lambda: runs.beats("dies") > 0, timeout=120, waiting_for="a heartbeat")
        # As when a host dies: nobody is left to report the run's end.
        worker.kill_all()
        runs.without_noise = Emptier(server)
        yield runs
    finally:
        worker.stop()
        server.stop()


@pytest.fixture(scope="module")
def found(real: Real) -> Found:
    """What is found ten minutes after the host has died: the pause is not over yet, nor is the wait for the retry."""
    return real.judged(datetime.now(timezone.utc) + 10 * MINUTE)


def only(found: Found, check: str) -> Finding:
    [finding] = [finding for (name, _), finding in found.items() if name == check]
    return finding


def test_what_is_found_is_what_happened_and_nothing_else(found: Found) -> None:
    assert set(found) == {("zombie", "dies/real"), ("failed", "calls/real"), ("failed", "retries/real")}


def test_a_run_whose_host_died_is_a_zombie(real: Real, found: Found) -> None:
    dead = only(found, "zombie")

    assert real.state("dies") == "Running"
    assert (dead.severity, dead.flow_run_count) == ("critical", 1)


def test_the_deepest_cause_is_named_with_the_path_to_it(found: Found) -> None:
    parent, child = found["failed", "calls/real"], found["failed", "retries/real"]

    assert parent.symptom_of == child.fingerprint
    assert child.symptom_of is None
    assert parent.cause is not None
    assert child.cause is not None
    assert child.cause.path == ("retries", "inner", "load-orders")
    assert parent.cause.path == ("calls", "retries", "inner", "load-orders")


def test_the_reason_is_in_the_evidence_and_the_secret_is_not(found: Found) -> None:
    child = found["failed", "retries/real"]

    assert any("ValueError: order 4711 has no customer" in line for line in child.evidence)
    assert "ValueError" in child.summary
    assert "load-orders" in child.summary
    assert "hunter2" not in "".join(finding.model_dump_json() for finding in found.values())


def test_a_pause_is_stuck_when_its_time_out_is_over_for_long(real: Real) -> None:
    state = real.server.request("GET", f"/flow_runs/{real._runs['suspends']}")["state"]
    timeout = datetime.fromisoformat(state["state_details"]["pause_timeout"].replace("Z", "+00:00"))
    deadline = timeout + 15 * MINUTE

    assert not [name for name in real.judged(deadline) if name[0] == "stuck"]
    found = real.judged(deadline + SECOND)
    assert [name for name in found if name[0] == "stuck"] == [("stuck", "suspends/real")]
    assert only(found, "stuck").since == timeout


def test_a_run_that_awaits_its_retry_has_not_failed_and_is_late_when_it_does_not_come(real: Real) -> None:
    row = real.server.request("GET", f"/flow_runs/{real._runs['awaits']}")
    due = datetime.fromisoformat(row["next_scheduled_start_time"].replace("Z", "+00:00"))
    found = real.judged(due + timedelta(minutes=16))

    assert ("failed", "awaits/real") not in found
    late = found["late", "awaits/real"]
    # It waits in its own process, which died: no worker would take it, so the missing worker is not why.
    assert late.cause is None
    assert late.since == due
    assert "AwaitingRetry" in late.observed
