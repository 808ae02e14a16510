"""What full limits look like when real runs wait for them: a deployment's, a tag's and a global one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import UUID

import pytest

from demo.stack import Server, Worker
from tests.support.assessment import Found, assess_server
from tests.support.deployed_watchdog import QUICK
from tests.support.noise import noise
from tests.support.seed_values import MINUTE, SECOND, Pool
from tests.support.seeding import Seed
from tests.support.servers import connected, start_server

POOL = "limits"
FLOWS = """
    import time

    from prefect import flow, task
    from prefect.concurrency.sync import concurrency

    @task(tags=["database"])
    def query():
        time.sleep(3600)

    @task
    def extract():
        time.sleep(3600)

    @flow(name="limited")
    def limited():
        time.sleep(3600)

    @flow(name="queries")
    def queries():
        query()

    @flow(name="depends")
    def depends():
        query.submit(wait_for=[extract.submit()]).wait()

    @flow(name="calls")
    def calls():
        with concurrency("api"):
            time.sleep(3600)
"""


class Runs:
    """Real runs of four deployments, by their own names."""

    def __init__(self, server: Server, worker: Worker, folder: Path) -> None:
        (folder / "limits.py").write_text(dedent(FLOWS))
        self._server = server
        self.worker = worker
        self._pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}]
        self._deployments = {
            "limited": self._deploy("limited", concurrency_limit=1),
            **{name: self._deploy(name) for name in ("queries", "depends", "calls")},
        }
        self.ids: dict[str, str] = {}

    def _deploy(self, name: str, **fields: Any) -> str:
        flow = self._server.request("POST", "/flows/", {"name": name})
        body = {"name": "real", "flow_id": flow["id"], "work_pool_name": POOL, "pull_steps": self._pull, **fields}
        return str(self._server.request("POST", "/deployments/", {**body, "entrypoint": f"limits.py:{name}"})["id"])

    def start(self, deployment: str, name: str) -> None:
        """Ask for a run."""
        path = f"/deployments/{self._deployments[deployment]}/create_flow_run"
        self.ids[name] = self._server.request("POST", path, {"name": name})["id"]

    def states(self) -> dict[str, str]:
        """What the runs are called to be doing."""
        rows = self._server.request("POST", "/flow_runs/filter", {"flow_runs": {"id": {"any_": [*self.ids.values()]}}})
        return {row["name"]: row["state_name"] for row in rows}

    def tasks(self) -> set[tuple[str, str, str]]:
        """The task runs: the run, the task, the name of the state."""
        names = {id: name for name, id in self.ids.items()}
        rows = self._server.request("POST", "/task_runs/filter", {})
        return {(names[row["flow_run_id"]], row["name"].rpartition("-")[0], row["state_name"]) for row in rows}

    def events(self, event: str) -> int:
        """How many events of a name there are."""
        return int(self._server.request("POST", "/events/filter", {"filter": {"event": {"name": [event]}}})["total"])

    def judged(self, at: datetime) -> Found:
        """What is found at a moment to come, if all that lives now still does."""
        seed = Seed(self._server.database_url, now=at)
        noise(seed)
        pool = self._server.request("GET", f"/work_pools/{POOL}")
        seed.worker(Pool(POOL, UUID(pool["id"]), UUID(pool["default_queue_id"])), name="still-there")
        for id in (id for name, id in self.ids.items() if name != "calls-and-dies"):
            seed.events("prefect.flow-run.heartbeat", {"prefect.resource.id": f"prefect.flow-run.{id}"}, [at - SECOND])
        with connected(self._server):
            # The scheduler has had no time yet for the noise, which by then would be old.
            return assess_server(at, unscheduled={"enabled": False}).found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    server = start_server(tmp_path_factory.mktemp("limits-server"))
    worker = Worker(server, POOL, env=QUICK)
    try:
        server.request("POST", "/concurrency_limits/", {"tag": "database", "concurrency_limit": 1})
        server.request("POST", "/v2/concurrency_limits/", {"name": "api", "limit": 1})
        worker.start()
        worker.wait_online()
        real = Runs(server, worker, tmp_path_factory.mktemp("limits-flows"))
        for deployment, name in (("limited", "holds"), ("queries", "queries-first"), ("calls", "calls-and-dies")):
            real.start(deployment, name)
        holding = {"holds": "Running", "queries-first": "Running", "calls-and-dies": "Running"}
        worker.wait(lambda: real.states() == holding, timeout=180, waiting_for=f"runs to be {holding}")
        worker.wait(
            lambda: (
                ("queries-first", "query", "Running") in real.tasks()
                and real.events("prefect.concurrency-limit.acquired") == 2
            ),
            timeout=240,
            waiting_for="slots to be taken",
        )
        for deployment, name in (("limited", "waits"), ("queries", "queries-next"), ("depends", "depends")):
            real.start(deployment, name)
        worker.kill_flow_runs(real.ids["calls-and-dies"])
        expected = {
            **holding,
            "calls-and-dies": "Crashed",
            "waits": "AwaitingConcurrencySlot",
            "queries-next": "Running",
            "depends": "Running",
        }
        worker.wait(lambda: real.states() == expected, timeout=180, waiting_for=f"runs to be {expected}")
        waiting = {("queries-next", "query", "Pending"), ("depends", "query", "Pending")}
        worker.wait(lambda: waiting <= real.tasks(), timeout=240, waiting_for=f"tasks to be {waiting}")
        yield real
    finally:
        worker.kill_all()
        server.stop()


@pytest.fixture(scope="module")
def found(runs: Runs) -> Found:
    """What is found twenty minutes later."""
    return runs.judged(datetime.now(timezone.utc) + 20 * MINUTE)


def test_what_is_found_is_what_holds_runs_up_and_nothing_else(found: Found) -> None:
    assert set(found) == {
        ("late", "limited/real"),
        ("concurrency", "limited/real"),
        ("concurrency", "database"),
        ("concurrency", "api"),
        ("crashed", "calls/real"),
    }


def test_a_run_that_waits_for_its_deployments_slot_is_late_because_of_the_run_that_holds_it(
    runs: Runs, found: Found
) -> None:
    late, head = found["late", "limited/real"], found["concurrency", "limited/real"]

    assert late.symptom_of == head.fingerprint
    assert head.flow_run_ids == (runs.ids["waits"],)
    assert head.cause
    assert head.cause.flow_run_ids == (runs.ids["holds"],)
    assert [line.partition(" for ")[0] for line in head.evidence] == ["holds: Running"]


def test_a_task_waits_for_its_tags_slot_and_not_for_what_it_depends_on(runs: Runs, found: Found) -> None:
    head = found["concurrency", "database"]

    assert head.flow_run_ids == (runs.ids["queries-next"],)
    assert [line.partition(" for ")[0] for line in head.evidence] == ["queries-first: Running"]


def test_a_killed_run_holds_its_slot_of_a_global_limit_until_the_server_takes_it_back(runs: Runs, found: Found) -> None:
    head = found["concurrency", "api"]

    assert head.flow_run_ids == (runs.ids["calls-and-dies"],)
    assert head.evidence[0].startswith("calls-and-dies: Crashed ")
