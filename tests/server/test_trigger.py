"""What starts a check besides its schedule: a failure of anybody's, and never the watchdog's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from demo.stack import Server, Worker, wait_until
from tests.conftest import ServerFactory
from tests.support.deployed_watchdog import (
    CHECK,
    DIGEST,
    POOL,
    Deployed,
    copy_of_the_project,
    foreign_repository,
    pause_schedules,
    prefect,
    worker_beside,
)


def deployed(server: Server, project: Path) -> None:
    """Deploy, twice as people do, and let only failures start anything."""
    prefect(server, "work-pool", "create", POOL, "--type", "process", cwd=server.home)
    for _ in range(2):
        prefect(server, "deploy", "--all", cwd=project)
    pause_schedules(server, triggers=False)


def ended(server: Server, flow: str, state: str, name: str) -> str:
    """Let a run of a flow end in a state; return the run's id."""
    flow_id = server.request("POST", "/flows/", {"name": flow})["id"]
    run_id = str(server.request("POST", "/flow_runs/", {"flow_id": flow_id, "state": {"type": "RUNNING"}})["id"])
    server.request("POST", f"/flow_runs/{run_id}/set_state", {"state": {"type": state, "name": name}, "force": True})
    return run_id


def events(server: Server, name: str) -> list[dict[str, Any]]:
    since = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    criteria = {"occurred": {"since": since}, "event": {"name": [name]}, "order": "ASC"}
    return list(server.request("POST", "/events/filter", {"filter": criteria})["events"])


def heard(server: Server) -> list[str]:
    """The runs whose ends have started a check."""
    fired = events(server, "prefect.automation.triggered")
    return [
        str(one["payload"]["triggering_event"]["resource"]["prefect.resource.id"]).rpartition(".")[2] for one in fired
    ]


def started_by_triggers(server: Server) -> list[dict[str, Any]]:
    """The runs of the check that nobody asked for."""
    found = server.request("GET", f"/deployments/name/{CHECK}")
    runs = server.request("POST", "/flow_runs/filter", {"deployments": {"id": {"any_": [found["id"]]}}})
    return [run for run in runs if (run["created_by"] or {}).get("type") == "AUTOMATION"]


def test_of_all_that_ends_badly_only_the_watchdogs_own_starts_no_check(
    fresh_server: ServerFactory, tmp_path: Path
) -> None:
    server, project = fresh_server(), copy_of_the_project(tmp_path / "project")
    file = project / "prefect.yaml"
    text = file.read_text()
    # What comes within a minute of another would not be heard.
    assert text.count("within: 60\n") == 1
    file.write_text(text.replace("within: 60\n", "within: 0\n"))
    deployed(server, project)

    for flow in ("watchdog-check", "watchdog-digest"):
        for state, name in (("FAILED", "Failed"), ("CRASHED", "Crashed"), ("FAILED", "TimedOut")):
            ended(server, flow, state, name)
    for state, name in (("COMPLETED", "Completed"), ("CANCELLED", "Cancelled")):
        ended(server, "etl", state, name)
    bad = [
        ended(server, "etl", "FAILED", "Failed"),
        ended(server, "etl", "CRASHED", "Crashed"),
        ended(server, "etl", "FAILED", "TimedOut"),
        ended(server, "watchdog-check-of-mine", "FAILED", "Failed"),
        ended(server, "my-watchdog-digest", "FAILED", "Failed"),
    ]
    wait_until(lambda: len(heard(server)) >= len(bad), timeout=240, waiting_for="the failures to be heard")
    assert sorted(heard(server)) == sorted(bad)
    wait_until(lambda: len(started_by_triggers(server)) == len(bad), timeout=180, waiting_for="the checks")


@pytest.fixture
def installation(fresh_server: ServerFactory, tmp_path: Path) -> Iterator[Deployed]:
    """The watchdog as it is deployed, with a worker, and a flow that fails when it is told to."""
    server, project = fresh_server(), copy_of_the_project(tmp_path / "project")
    deployed(server, project)
    worker: Worker = worker_beside(server, foreign_repository(tmp_path / "foreign"))
    worker.start()
    try:
        worker.wait_online()
        found = Deployed(server, worker)
        found.workload(tmp_path)
        yield found
    finally:
        worker.stop()


def test_a_failure_starts_a_check_a_storm_one_and_our_own_failures_none(installation: Deployed) -> None:
    server = installation.server
    unusable = {"WATCHDOG_LATE__AFTER": "soon"}
    for name in (CHECK, DIGEST):
        assert installation.run(name, env=unusable)[0] == "FAILED"
    failed = installation.start("etl/nightly", {"fail": True})
    assert installation.wait(failed)[0] == "FAILED"
    installation.worker.wait(
        lambda: bool(started_by_triggers(server)), timeout=240, waiting_for="a check to be started"
    )
    [check] = started_by_triggers(server)
    state, message = installation.wait(check["id"])
    assert state == "COMPLETED", message
    assert [row["subject"] for row in installation.findings()] == ["deployment etl/nightly"]

    for _ in range(10):
        ended(server, "etl", "FAILED", "Failed")
    wait_until(
        lambda: len(events(server, "prefect.flow-run.Failed")) == 13, timeout=240, waiting_for="the storm to be stored"
    )
    assert heard(server) == [failed]
    assert [run["id"] for run in started_by_triggers(server)] == [check["id"]]
