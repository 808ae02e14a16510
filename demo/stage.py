"""The stage of the demo: its server, deployments, runs and workers, through the API."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from demo.stack import Process, Server, StackError, Worker

ROOT = Path(__file__).resolve().parent.parent
WATCHDOG_CONFIG = {"WATCHDOG_CONFIG": str(Path(__file__).with_name("watchdog.yaml"))}
WATCHDOG_POOL, WORKLOAD_POOL, DOOMED_POOL = "watchdog", "workloads", "doomed"

# The least that Prefect allows, so that the end of heartbeats shows soon.
HEARTBEAT_SECONDS = 30
# Starting a run costs about 8 s of CPU. Starting more at a time slows all of them down, and the first ones most.
STARTS_AT_A_TIME = 3

FINISHED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED")

# Yields what it waits for, and returns when that has happened.
Steps = Generator[str, None, None]


@dataclass(frozen=True)
class Workload:
    """A deployment of one of the flows in ``demo/workloads.py``."""

    flow: str
    pool: str = WORKLOAD_POOL
    concurrency_limit: int | None = None
    hourly: bool = False
    job_variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The deployment's full name."""
        return f"{self.flow}/demo"


class Run:
    """A flow run as the server had it when the stage was last refreshed."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.row["id"])

    @property
    def state(self) -> str:
        """The type of the run's state."""
        return str(self.row["state_type"])

    @property
    def message(self) -> str:
        """The message of the run's state."""
        return self.row["state"]["message"] or ""

    @property
    def has_begun(self) -> bool:
        """Whether the flow's own code was reached."""
        return self.row["start_time"] is not None

    def seconds_since(self, event: str) -> float:
        """Return the seconds since ``start_time``, ``expected_start_time`` or the start of the ``state``."""
        stamp = self.row["state"]["timestamp"] if event == "state" else self.row[event]
        return (_now() - _time(stamp)).total_seconds()


class Stage:
    """A running server, its workers, and the runs that were started on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        env = {**WATCHDOG_CONFIG, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}
        self.workers = {
            pool: Worker(server, pool, cwd=ROOT, env=env) for pool in (WATCHDOG_POOL, WORKLOAD_POOL, DOOMED_POOL)
        }
        self._runs: list[Run] = []
        self._busy = 0

    # Before the first story.

    def clear(self, workloads: Iterable[Workload]) -> None:
        """Remove the faults and unfinished runs of an earlier demo."""
        for run in self._post("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": UNFINISHED}}}}):
            if run["state_type"] != "SCHEDULED" or _time(run["expected_start_time"]) < _now():
                self._delete(f"/flow_runs/{run['id']}")
        names = [workload.flow for workload in workloads]
        for flow in self._post("/flows/filter", {"flows": {"name": {"any_": names}}}):
            # Its deployments and runs go with it.
            self._delete(f"/flows/{flow['id']}")

    def deploy(self, workloads: Iterable[Workload]) -> None:
        """Create the deployments of the workloads, and missing work pools."""
        pools = {pool["name"] for pool in self._post("/work_pools/filter", {})}
        # No run becomes due while the faults are planted.
        schedule = {"interval": 3600, "anchor_date": (_now() - timedelta(minutes=30)).isoformat()}
        for workload in workloads:
            if workload.pool not in pools:
                # Its first worker adds the job template of the type.
                self._post("/work_pools/", {"name": workload.pool, "type": "process"})
                pools.add(workload.pool)
            flow = self._post("/flows/", {"name": workload.flow})
            self._post(
                "/deployments/",
                {
                    "name": "demo",
                    "flow_id": flow["id"],
                    "work_pool_name": workload.pool,
                    "entrypoint": f"demo/workloads.py:{workload.flow.replace('-', '_')}",
                    "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
                    "concurrency_limit": workload.concurrency_limit,
                    "schedules": [{"schedule": schedule}] if workload.hourly else [],
                    "job_variables": dict(workload.job_variables),
                    "enforce_parameter_schema": False,
                },
            )

    # Waiting.

    def program(self, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> Steps:
        """Run a Python program in its turn, and wait until it succeeds."""
        yield from self._turn()
        log = self.server.home / f"{name}.log"
        process = Process(name, [sys.executable, *arguments], log=log, env=self.server.client_env(env), cwd=ROOT)
        process.start()
        while process.running:
            yield "its program runs"
        self._busy -= 1
        if process.status != 0:
            raise StackError(f"{name} ended with status {process.status}; see {log}")

    def online(self, pool: str) -> Steps:
        """Start the worker of a pool in its turn, and wait until the server knows it."""
        yield from self._turn()
        worker = self.workers[pool]
        worker.start()
        while not worker.is_online():
            yield f"{worker.name} starts"
        self._busy -= 1

    def begin(self, deployment: str, parameters: Mapping[str, Any] | None = None) -> Generator[str, None, Run]:
        """Create a run in its turn, and wait until its code runs."""
        yield from self._turn()
        run = self.submit(deployment, parameters)
        while not run.has_begun:
            yield "its run starts"
        self._busy -= 1
        return run

    def submit(self, deployment: str, parameters: Mapping[str, Any] | None = None) -> Run:
        """Create a run that is due now."""
        body = {"state": {"type": "SCHEDULED"}, "parameters": dict(parameters or {})}
        run = Run(self._post(f"/deployments/{self._id(deployment)}/create_flow_run", body))
        self._runs.append(run)
        return run

    def state(self, run: Run, state: str) -> Steps:
        """Wait until a run's state is of this type."""
        while run.state != state:
            if run.state in FINISHED:
                raise StackError(f"{run.row['name']} was expected to be {state} and is {run.state}: {run.message}")
            yield f"{run.state.lower()}, to be {state.lower()}"

    def age(self, run: Run, event: str, seconds: float) -> Steps:
        """Wait until an event of a run is this many seconds old."""
        while (left := seconds - run.seconds_since(event)) > 0:
            yield f"{run.state.lower()}, {math.ceil(left)} s to go"

    def silence(self, run: Run, beats: int, margin: float) -> Steps:
        """Wait until a killed run has missed this many heartbeats."""
        _, interval, last = self.heartbeats(run)
        while (left := (last + beats * interval - _now()).total_seconds() + margin) > 0:
            yield f"killed, {math.ceil(left)} s of silence to go"

    def refresh(self) -> None:
        """Read the unfinished runs again, and check that all expected processes are running."""
        for process in (self.server, *self.workers.values()):
            # A process that was killed on purpose has a negative status.
            if (process.status or 0) > 0 or (process is self.server and not process.running):
                raise StackError(f"{process.name} ended with status {process.status}; see {process.log}")
        live = {run.id: run for run in self._runs if run.state not in FINISHED}
        if live:
            for row in self._post("/flow_runs/filter", {"flow_runs": {"id": {"any_": list(live)}}}):
                live[row["id"]].row = row

    # Reading.

    def heartbeats(self, run: Run) -> tuple[int, timedelta, datetime]:
        """Return the number of heartbeats of a run, their interval, and the time of the last."""
        now = _now()
        events = {
            "occurred": {"since": (now - timedelta(hours=1)).isoformat(), "until": now.isoformat()},
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        }
        for row in self._post("/events/count-by/resource", {"filter": events}):
            first, last = _time(row["start_time"]), _time(row["end_time"])
            return row["count"], (last - first) / max(row["count"] - 1, 1), last
        return 0, timedelta(), now

    def artifact(self, key: str) -> Any:
        """Return the data of the latest artifact of this key."""
        return self.server.request("GET", f"/artifacts/{key}/latest")["data"]

    def ui(self, path: str = "") -> str:
        """Return the address of a page of the server's user interface."""
        return f"{self.server.ui_url}/{path}"

    # Actions of people.

    def cancel(self, run: Run) -> None:
        """Cancel a run as the button in the UI does."""
        self._post(f"/flow_runs/{run.id}/set_state", {"state": {"type": "CANCELLING"}})

    def cancel_what_comes(self, workload: Workload) -> None:
        """Cancel the runs that a deployment has scheduled within ten minutes."""
        soon = (_now() + timedelta(minutes=10)).isoformat()
        runs = {"state": {"type": {"any_": ["SCHEDULED"]}}, "next_scheduled_start_time": {"before_": soon}}
        deployments = {"id": {"any_": [self._id(workload.name)]}}
        for run in self._post("/flow_runs/filter", {"flow_runs": runs, "deployments": deployments}):
            self._post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLED"}})

    def pause(self, workload: Workload) -> None:
        """Pause a deployment."""
        self._post(f"/deployments/{self._id(workload.name)}/pause_deployment", {})

    def seed(self, workload: Workload) -> Steps:
        """Give a deployment past runs, which no API can do: ``demo/seed.py``."""
        env = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": self.server.database_url}
        yield from self.program(f"seed-{workload.flow}", "-m", "demo.seed", self._id(workload.name), env=env)

    def _turn(self) -> Steps:
        while self._busy >= STARTS_AT_A_TIME:
            yield "its turn"
        self._busy += 1

    def _id(self, deployment: str) -> str:
        return str(self.server.request("GET", f"/deployments/name/{deployment}")["id"])

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self.server.request("POST", path, body)

    def _delete(self, path: str) -> None:
        self.server.request("DELETE", path)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _time(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00"))
