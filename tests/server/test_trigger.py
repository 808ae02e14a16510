"""What starts a check besides its schedule: a failure of anybody's, and never the watchdog's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from demo.stack import Server, wait_until
from monitoring.model.prefect import SUPERSEDED, TRIGGER_WINDOW
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
from tests.support.servers import start_server


def deployed(server: Server, project: Path) -> None:
    """Deploy, twice as people do, and let only failures start anything."""
    prefect(server, "work-pool", "create", POOL, "--type", "process", cwd=server.home)
    for _ in range(2):
        prefect(server, "deploy", "--all", cwd=project)
    pause_schedules(server, triggers=False)


def ended(server: Server, flow: str, state: str, name: str, deployment: str | None = None) -> str:
    """Let a run of a flow, or of a new deployment of it, end in a state; return the run's id."""
    flow_id = server.request("POST", "/flows/", {"name": flow})["id"]
    body = {"flow_id": flow_id, "state": {"type": "RUNNING"}}
    if deployment:
        made = server.request("POST", "/deployments/", {"name": deployment, "flow_id": flow_id})
        body["deployment_id"] = made["id"]
    run_id = str(server.request("POST", "/flow_runs/", body)["id"])
    server.request("POST", f"/flow_runs/{run_id}/set_state", {"state": {"type": state, "name": name}, "force": True})
    return run_id


def events(server: Server, name: str, **criteria: Any) -> list[dict[str, Any]]:
    since = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    criteria |= {"occurred": {"since": since}, "event": {"name": [name]}, "order": "ASC"}
    return list(server.request("POST", "/events/filter", {"filter": criteria})["events"])


def heard(server: Server) -> list[str]:
    """The runs whose ends have started a check."""
    fired = events(server, "prefect.automation.triggered")
    return [
        str(event["payload"]["triggering_event"]["resource"]["prefect.resource.id"]).rpartition(".")[2]
        for event in fired
    ]


def storm(failures: int, lasts: timedelta) -> list[dict[str, Any]]:
    """The events of failures that have happened since, evenly."""
    begin = datetime.now(timezone.utc) - lasts
    flow = {"prefect.resource.id": "prefect.flow.etl", "prefect.resource.role": "flow", "prefect.resource.name": "etl"}
    return [
        {
            "id": str(uuid4()),
            "occurred": (begin + lasts * number / failures).isoformat(),
            "event": "prefect.flow-run.Failed",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{uuid4()}"},
            "related": [flow],
        }
        for number in range(failures)
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
    # The trigger would drop what comes within its window.
    assert text.count("within: 10\n") == 1
    file.write_text(text.replace("within: 10\n", "within: 0\n"))
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


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The watchdog as it is deployed, with a worker that has not started yet."""
    folder = tmp_path_factory.mktemp("installation")
    server, project = start_server(folder / "server"), copy_of_the_project(folder / "project")
    worker = worker_beside(server, foreign_repository(folder / "foreign"))
    try:
        deployed(server, project)
        yield Deployed(server, worker)
    finally:
        worker.stop()
        server.kill()


def test_500_failures_in_a_minute_start_few_checks_and_not_all_of_these_work(installation: Deployed) -> None:
    server, minute = installation.server, timedelta(minutes=1)
    failures = storm(500, minute)
    server.request("POST", "/events", failures)
    last = {failure["resource"]["prefect.resource.id"].rpartition(".")[2] for failure in failures[-100:]}
    wait_until(lambda: bool(last.intersection(heard(server))), timeout=240, waiting_for="the storm's end to be heard")
    assert len(heard(server)) in (minute / TRIGGER_WINDOW, minute / TRIGGER_WINDOW + 1)
    wait_until(
        lambda: len(started_by_triggers(server)) == len(heard(server)), timeout=240, waiting_for="all of the checks"
    )

    # All of them have waited for a worker for longer than the trigger's window.
    time.sleep(TRIGGER_WINDOW.total_seconds())
    installation.worker.start()
    outcomes = [installation.wait(check["id"]) for check in started_by_triggers(server)]
    assert {state for state, _ in outcomes} == {"COMPLETED"}, outcomes
    work = [message for _, message in outcomes if message != SUPERSEDED]
    assert 0 < len(work) < len(outcomes), outcomes


def test_failures_that_the_trigger_drops_are_found_and_our_own_failures_start_nothing(installation: Deployed) -> None:
    server = installation.server
    earlier = {check["id"] for check in started_by_triggers(server)}
    unusable = {"WATCHDOG_LATE__AFTER": "soon"}
    for name in (CHECK, DIGEST):
        assert installation.run(name, env=unusable)[0] == "FAILED"

    names = [f"load-{number}" for number in range(10)]
    failed = []
    for name in names:
        failed.append(ended(server, "etl", "FAILED", "Failed", deployment=name))
        # Most of the trigger's window; the worker starts the check in the middle of it.
        time.sleep(0.8)
    of_theirs = {"id": [f"prefect.flow-run.{run_id}" for run_id in failed]}
    wait_until(
        lambda: len(events(server, "prefect.flow-run.Failed", resource=of_theirs)) == len(failed),
        timeout=240,
        waiting_for="the failures to be stored",
    )
    installation.worker.wait(
        lambda: len(heard(server)) == len(started_by_triggers(server)) > len(earlier),
        timeout=240,
        waiting_for="a check to be started",
    )
    checks = [check["id"] for check in started_by_triggers(server) if check["id"] not in earlier]
    assert len(checks) < len(failed)
    outcomes = [installation.wait(check) for check in checks]
    assert {state for state, _ in outcomes} == {"COMPLETED"}, outcomes
    assert {row["subject"] for row in installation.findings()} == {f"deployment etl/{name}" for name in names}
    # The check and the digest that failed have started nothing.
    assert set(heard(server)[len(earlier) :]) <= set(failed)
