"""The automations of the documentation, made and fired as they stand there."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from demo.stack import Server, wait_until
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.publish.events import PrefectEvents
from monitoring.model.finding import CheckName, Finding, Subject
from monitoring.model.incident import Incident, Step
from monitoring.model.policy import ApiSettings as Settings
from monitoring.notifications.events import incident_event
from tests.support.builders import observation
from tests.support.deployed_watchdog import prefect
from tests.support.paths import PROJECT

BLOCKS: list[str] = re.findall(r"^```yaml\n(.*?)^```", (PROJECT / "docs/automations.md").read_text(), re.M | re.S)
DOCUMENTED = {str(yaml.safe_load(block)["name"]): block for block in BLOCKS}


def made(server: Server, folder: Path, name: str, **changes: str) -> None:
    """Make an automation as the documentation says."""
    text = DOCUMENTED[name]
    for old, new in changes.items():
        text, count = re.subn(rf"{old}: \S+", f"{old}: {new}", text)
        assert count == 1
    (folder / "automation.yaml").write_text(text)
    prefect(server, "automation", "create", "--from-file", "automation.yaml", cwd=folder)


def deployment(server: Server, flow: str, name: str) -> tuple[str, str]:
    flow_id = str(server.request("POST", "/flows/", {"name": flow})["id"])
    return flow_id, str(server.request("POST", "/deployments/", {"name": name, "flow_id": flow_id})["id"])


def opened(check: CheckName, number: int, deployment_id: str, *runs: str, **fields: Any) -> None:
    """Let an incident of a deployment open."""
    now = datetime.now(timezone.utc)
    name = fields.pop("name", "etl/nightly")
    values: dict[str, Any] = {
        "fingerprint": f"prod/{check}/deployment/{deployment_id}",
        "check": check,
        "severity": "critical",
        "subject": Subject(kind="deployment", id=deployment_id, name=name),
        "flow": name.partition("/")[0],
        "deployment": name,
        "flow_run_ids": runs,
        "flow_run_count": len(runs),
        "summary": f"{name}: {check}",
        "observed": "",
        "expected": "",
        "since": now,
    }
    finding = Finding.model_validate({**values, **fields})
    step = Step(to="firing", at=now, reason="found")
    incident = Incident(finding=finding, number=number, opened_at=now, fired_at=now, history=(step,))
    with open_api(Settings()) as api:
        PrefectEvents(api).send([incident_event(incident, step, observation(at=now))])


def test_there_are_two() -> None:
    assert list(DOCUMENTED) == ["crash-mark zombies", "clean up after etl/nightly"]


def test_a_zombies_run_is_marked_as_crashed(prefect_server: Server, tmp_path: Path) -> None:
    flow_id, deployment_id = deployment(prefect_server, "etl", "nightly")

    def running() -> str:
        body = {"flow_id": flow_id, "deployment_id": deployment_id, "state": {"type": "RUNNING"}}
        return str(prefect_server.request("POST", "/flow_runs/", body)["id"])

    def state(run: str) -> str:
        return str(prefect_server.request("GET", f"/flow_runs/{run}")["state_type"])

    slow, silent_longest, silent = running(), running(), running()
    made(prefect_server, tmp_path, "crash-mark zombies")
    opened("slow", 1, deployment_id, slow)
    opened("zombie", 2, deployment_id, silent_longest, silent)
    wait_until(lambda: state(silent_longest) == "CRASHED", timeout=240, waiting_for="the zombie to be marked")
    assert (state(slow), state(silent)) == ("RUNNING", "RUNNING")


def test_another_deployment_is_run(prefect_server: Server, tmp_path: Path) -> None:
    _, watched = deployment(prefect_server, "etl", "nightly")
    _, repair = deployment(prefect_server, "repair", "run")
    made(prefect_server, tmp_path, "clean up after etl/nightly", deployment_id=repair)

    def runs() -> list[Any]:
        rows = prefect_server.request("POST", "/flow_runs/filter", {"deployments": {"id": {"any_": [repair]}}})
        return [row["parameters"] for row in rows]

    opened("late", 1, watched, symptom_of="prod/work-pool/work-pool/id")
    opened("failed", 2, watched, name="etl/hourly")
    opened("failed", 3, watched)
    wait_until(lambda: bool(runs()), timeout=240, waiting_for="the other deployment to be run")
    assert runs() == [{"incident": "W-3", "summary": "etl/nightly: failed"}]
