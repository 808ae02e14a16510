"""The watchdog as a user has it: deployed to a server, its flows run by a real worker."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

from demo.stack import Process, Server, Worker, wait_until
from tests.support.paths import PROJECT

CHECK, DIGEST = "watchdog-check/check", "watchdog-digest/digest"
POOL = "watchdog"

# By default a run waits up to ten seconds for its worker to look, and a line two for being sent.
QUICK = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
}

_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_FLOWS = """
    from prefect import flow

    @flow(name="etl")
    def etl(fail: bool = False):
        if fail:
            raise ValueError("no rows, password=hunter2")
"""


def copy_of_the_project(folder: Path, *more: str) -> Path:
    """Copy what a deployment needs, and further packages by name; tests may edit the copy."""
    folder.mkdir(parents=True)
    for name in ("flows", "monitoring", *more):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "prefect.yaml", folder)
    return folder


def foreign_repository(folder: Path) -> Path:
    """Make a folder with packages of our names that somebody else has written; to import one of them is an error."""
    for name in ("flows", "monitoring"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError('this is not the watchdog')\n")
    return folder


def run(server: Server, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that talks to the server, without a terminal."""
    return subprocess.run(
        command, cwd=cwd, env=server.client_env(), capture_output=True, text=True, timeout=180, check=False
    )


def prefect(server: Server, *arguments: str, cwd: Path) -> str:
    """Run Prefect's command line, which must succeed."""
    done = run(server, "prefect", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def at_a_terminal(server: Server, *command: str, cwd: Path, log: Path) -> tuple[int, str]:
    """Run a command as a person does, who would be asked and never answers; return its status and what it showed."""
    master, slave = pty.openpty()
    try:
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=server.client_env({"TERM": "xterm", "COLUMNS": "200"}),
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
            os.close(slave)
            slave = -1
            os.set_blocking(master, False)

            def ended() -> bool:
                with suppress(BlockingIOError, OSError):
                    while shown := os.read(master, 65_536):
                        file.write(shown)
                file.flush()
                return process.poll() is not None

            try:
                wait_until(ended, timeout=180, waiting_for=f"{' '.join(command)}: does it ask something?", log=log)
            finally:
                process.kill()
            ended()
            return process.wait(), log.read_text(errors="replace")
    finally:
        os.close(master)
        if slave != -1:
            os.close(slave)


class Deployed:
    """A server on which the watchdog is deployed, and a worker for its pool."""

    def __init__(self, server: Server, worker: Process) -> None:
        self.server = server
        self.worker = worker

    def workload(self, folder: Path) -> None:
        """Deploy a flow that fails when it is told to, as ``etl/nightly``, for the same worker."""
        (folder / "etl.py").write_text(dedent(_FLOWS))
        flow = self.server.request("POST", "/flows/", {"name": "etl"})
        body = {
            "name": "nightly",
            "flow_id": flow["id"],
            "work_pool_name": POOL,
            "entrypoint": "etl.py:etl",
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}],
        }
        self.server.request("POST", "/deployments/", body)

    def start(
        self,
        deployment: str,
        parameters: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        due: datetime | None = None,
    ) -> str:
        """Ask for a run of a deployment, as the UI does, or as its schedule does; return the run's id."""
        found = self.server.request("GET", f"/deployments/name/{deployment}")
        body: dict[str, Any] = {"parameters": dict(parameters or {})}
        if env:
            body["job_variables"] = {"env": dict(env)}
        if due:
            body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        return str(self.server.request("POST", f"/deployments/{found['id']}/create_flow_run", body)["id"])

    def wait(self, run_id: str, timeout: float = 240) -> tuple[str, str]:
        """Wait until a run has ended; return the type and the message of its state."""
        state: dict[str, Any] = {}

        def ended() -> bool:
            state.update(self.server.request("GET", f"/flow_runs/{run_id}")["state"])
            return state["type"] in _ENDED

        self.worker.wait(
            ended,
            timeout=timeout,
            waiting_for=f"run {run_id} to end",
        )
        return str(state["type"]), str(state["message"])

    def run(
        self, deployment: str, parameters: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        """Run a deployment through the worker; return the type and the message of its last state."""
        return self.wait(self.start(deployment, parameters, env))

    def log(self, run_id: str) -> list[str]:
        """Return all lines of a run's log: the last ones arrive after the state, when the run's process ends."""
        worker = self.worker
        assert isinstance(worker, Worker)
        wait_until(lambda: not worker.flow_run_pids(run_id), timeout=120, waiting_for=f"the process of run {run_id}")
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"}
        return [entry["message"] for entry in self.server.request("POST", "/logs/filter", body)]

    def artifact(self, key: str) -> dict[str, Any]:
        """Return the newest version of an artifact, as the UI shows it under its key."""
        [row] = self.server.request("POST", "/artifacts/latest/filter", {"artifacts": {"key": {"any_": [key]}}})
        # The key has a row of its own with an id of its own, which stays the same.
        return {**row, "id": row["latest_id"]}

    def versions(self, key: str) -> int:
        """Return how many versions of an artifact there are."""
        return int(self.server.request("POST", "/artifacts/count", {"artifacts": {"key": {"any_": [key]}}}))

    def findings(self) -> list[dict[str, Any]]:
        """Return the rows of the table of findings, without what is said of the watchdog that the tests have paused."""
        rows: list[dict[str, Any]] = json.loads(self.artifact("watchdog-findings")["data"])
        return [row for row in rows if (row["check"], row["severity"]) != ("watchdog", "info")]

    def documents(self) -> dict[str, Any]:
        """Return the documents that the watchdog keeps, by name."""
        return {row["name"]: json.loads(row["data"]["body"]) for row in self._documents()}

    def spoil(self, document: str) -> None:
        """Turn a document that the watchdog keeps into rubbish."""
        [row] = [row for row in self._documents() if row["name"] == document]
        body = {"data": {"body": "{"}, "merge_existing_data": False}
        self.server.request("PATCH", f"/block_documents/{row['id']}", body)

    def no_longer_wait(self) -> None:
        """Let what waits for its next attempt be sent by the next check."""
        [row] = [row for row in self._documents() if row["name"] == "outbox"]
        document = json.loads(row["data"]["body"])
        for delivery in document["data"]["queue"]:
            delivery.pop("not_before", None)
        body = {"data": {"body": json.dumps(document)}, "merge_existing_data": False}
        self.server.request("PATCH", f"/block_documents/{row['id']}", body)

    def _documents(self) -> list[dict[str, Any]]:
        body = {"block_types": {"slug": {"any_": ["watchdog-document"]}}, "include_secrets": True}
        return list(self.server.request("POST", "/block_documents/filter", body))

    def everything(self) -> str:
        """Return all text that the server holds of runs: logs, states and artifacts."""
        logs = self.server.request("POST", "/logs/filter", {})
        runs = self.server.request("POST", "/flow_runs/filter", {})
        artifacts = self.server.request("POST", "/artifacts/filter", {})
        return json.dumps([logs, runs, artifacts])


def pause_schedules(server: Server, *, triggers: bool = True) -> None:
    """Let nothing run by itself: a test says what runs when; with ``triggers`` false, but for what failures start."""
    for name in (CHECK, DIGEST):
        found = server.request("GET", f"/deployments/name/{name}")
        server.request("POST", f"/deployments/{found['id']}/pause_deployment")
    for trigger in server.request("POST", "/automations/filter", {}) if triggers else ():
        server.request("PATCH", f"/automations/{trigger['id']}", {"enabled": False})


def scheduled(server: Server, deployment: str) -> list[datetime]:
    """Return when the server is going to run a deployment."""
    found = server.request("GET", f"/deployments/name/{deployment}")
    body = {"flow_runs": {"deployment_id": {"any_": [found["id"]]}, "state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs = server.request("POST", "/flow_runs/filter", body)
    return sorted(datetime.fromisoformat(row["expected_start_time"].replace("Z", "+00:00")) for row in runs)


def worker_beside(server: Server, foreign: Path) -> Worker:
    """Make a worker that starts its runs in somebody else's repository, and finds that one's packages first."""
    return Worker(server, POOL, cwd=foreign, env={**QUICK, "PYTHONPATH": str(foreign)})
