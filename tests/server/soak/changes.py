"""A server that changes all the time: deployments come and go, runs fail and recover, pools lose their workers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx

from demo.stack import Server

POOLS = ("etl", "reports")
#: As many deployments as there always are.
DEPLOYMENTS = 6


@dataclass
class _Deployment:
    id: str
    name: str
    fails: str = ""
    paused: bool = False


@dataclass
class ChangingServer:
    """What happens on a server, drawn from a seed."""

    server: Server
    draw: random.Random
    _api: httpx.Client = field(init=False)
    _deployments: list[_Deployment] = field(default_factory=list, init=False)
    _running: dict[str, _Deployment] = field(default_factory=dict, init=False)
    _dead: set[str] = field(default_factory=set, init=False)
    _made: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Make the pools and the first deployments."""
        # The server hangs up on connections that it has not heard of for a while.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._api = httpx.Client(base_url=self.server.api_url, timeout=120, trust_env=False, limits=limits)
        for pool in POOLS:
            self._request("POST", "/work_pools/", {"name": pool, "type": "process"})
        for _ in range(DEPLOYMENTS):
            self._deploy()

    def happen(self) -> None:
        """Let happen what happens between two checks."""
        for pool in POOLS:
            if pool not in self._dead:
                beat = {"name": "worker", "heartbeat_interval_seconds": 1800}
                self._request("POST", f"/work_pools/{pool}/workers/heartbeat", beat)
        self._end_runs()
        self._start_runs()
        for chance, change in (
            (0.15, self._break),
            (0.15, self._repair),
            (0.05, self._pause_or_resume),
            (0.05, self._replace),
            (0.05, self._lose_or_start_workers),
        ):
            if self.draw.random() < chance:
                change()

    def close(self) -> None:
        """End the connection."""
        self._api.close()

    def _deploy(self) -> None:
        self._made += 1
        flow = self._request("POST", "/flows/", {"name": f"etl-{self._made}"})
        body: dict[str, Any] = {
            "name": "nightly",
            "flow_id": flow["id"],
            "work_pool_name": self.draw.choice(POOLS),
            "tags": ["team-a"],
        }
        if self._made % DEPLOYMENTS == 0:
            body["schedules"] = [{"schedule": {"interval": 7200}, "active": True}]
        made = self._request("POST", "/deployments/", body)
        self._deployments.append(_Deployment(made["id"], f"etl-{self._made}/nightly"))

    def _end_runs(self) -> None:
        for run_id, deployment in list(self._running.items()):
            # Some take longer than the time between two checks.
            if self.draw.random() < 0.2:
                continue
            kind = deployment.fails or "COMPLETED"
            message = (
                f"ValueError: {deployment.name}: row {self.draw.randrange(10_000)} is bad"
                if kind != "COMPLETED"
                else ""
            )
            self._set_state(run_id, kind, message)
            del self._running[run_id]

    def _start_runs(self) -> None:
        for deployment in self.draw.sample(self._deployments, 1):
            self._request("POST", f"/deployments/{deployment.id}/create_flow_run", {})
        live = [pool for pool in POOLS if pool not in self._dead]
        due = {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "next_scheduled_start_time": {"before_": (datetime.now(timezone.utc) + timedelta(seconds=1)).isoformat()},
        }
        known = {deployment.id: deployment for deployment in self._deployments}
        rows = (
            self._request(
                "POST", "/flow_runs/filter", {"flow_runs": due, "work_pools": {"name": {"any_": live}}, "limit": 50}
            )
            if live
            else []
        )
        for row in rows:
            if row["deployment_id"] in known:
                self._set_state(row["id"], "RUNNING")
                self._running[row["id"]] = known[row["deployment_id"]]

    def _break(self) -> None:
        self.draw.choice(self._deployments).fails = self.draw.choice(["FAILED", "FAILED", "CRASHED"])

    def _repair(self) -> None:
        broken = [deployment for deployment in self._deployments if deployment.fails]
        if broken:
            self.draw.choice(broken).fails = ""

    def _pause_or_resume(self) -> None:
        deployment = next((known for known in self._deployments if known.paused), None) or self.draw.choice(
            self._deployments
        )
        deployment.paused = not deployment.paused
        verb = "pause" if deployment.paused else "resume"
        self._request("POST", f"/deployments/{deployment.id}/{verb}_deployment")

    def _replace(self) -> None:
        gone = self._deployments.pop(self.draw.randrange(len(self._deployments)))
        self._request("DELETE", f"/deployments/{gone.id}")
        self._running = {run_id: one for run_id, one in self._running.items() if one is not gone}
        self._deploy()

    def _lose_or_start_workers(self) -> None:
        if self._dead:
            self._dead.clear()
        else:
            self._dead.add(self.draw.choice(POOLS))

    def _set_state(self, run_id: str, kind: str, message: str = "") -> None:
        body = {"state": {"type": kind, "message": message}, "force": True}
        self._request("POST", f"/flow_runs/{run_id}/set_state", body)

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        for _ in range(20):
            answer = self._api.request(method, path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
        answer.raise_for_status()
        return answer.json() if answer.content else None
