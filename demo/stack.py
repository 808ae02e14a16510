"""Prefect servers and workers as local processes, for the demo and for the tests.

Everything listens on the loopback interface only, inherits none of the caller's Prefect settings, and carries its home
directory in its environment. This marker identifies the processes later: flow runs execute in sessions of their own and
outlive their worker, and the process that started a stack may have been killed. The marker is read from ``/proc``, so
finding flow runs and leftovers needs Linux.
"""

from __future__ import annotations

import atexit
import base64
import os
import random
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx

_MARK = "LOCAL_STACK_HOME"
_MEMBER = "LOCAL_STACK_MEMBER"
_LOOPBACK = "127.0.0.1"


class StackError(RuntimeError):
    """A process of the stack did not start, or did not become ready in time."""


def prefect_env(home: Path, api_url: str | None = None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment for subprocesses that knows this home and this server, and no other Prefect setting."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env |= {
        _MARK: str(home.resolve()),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)]),
        # A proxy meant for the internet would otherwise get requests for this machine's own server.
        "NO_PROXY": ",".join(filter(None, [env.get("NO_PROXY"), _LOOPBACK, "localhost"])),
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Without this, a client that has no address silently starts a server of its own.
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if api_url is not None:
        env["PREFECT_API_URL"] = api_url
    return env | dict(extra or {})


def free_port() -> int:
    """Return a free loopback port below the range from which the system gives ports to outgoing connections.

    A port from that range could be taken while a server restarts.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((_LOOPBACK, port))
                return port
    raise StackError(f"no free port on {_LOOPBACK}")


def wait_until(
    done: Callable[[], bool], *, timeout: float, waiting_for: str, interval: float = 0.1, log: Path | None = None
) -> None:
    """Poll until ``done`` answers true; raise `StackError` with the tail of the log after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() >= deadline:
            raise StackError(f"waited {timeout:.0f} s in vain for {waiting_for}{_tail(log)}")
        time.sleep(interval)


class Process:
    """One program in a session of its own, logging to a file. It can be started again after it ended."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path) -> None:
        """Describe the program; nothing runs before `start`."""
        self.name = name
        self.log = log
        self._command = list(command)
        self._env = {**env, _MEMBER: name}
        self._cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status of the program; none while it runs or before it was started."""
        return self._popen.poll() if self._popen else None

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group and session."""
        if self._popen is None:
            raise StackError(f"{self.name} was not started")
        return self._popen.pid

    def start(self) -> None:
        """Start the program and return at once."""
        if self.running:
            raise StackError(f"{self.name} is running already")
        self._cwd.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._cwd,
                env=self._env,
                start_new_session=True,
            )
        _started.add(self)

    def wait(self, done: Callable[[], bool], *, timeout: float, waiting_for: str) -> None:
        """Poll until ``done`` answers true; raise `StackError` with the log's tail if this process ends first."""

        def done_or_ended() -> bool:
            if done():
                return True
            if self.running:
                return False
            raise StackError(f"{self.name} ended (status {self.status}) before {waiting_for}{_tail(self.log)}")

        wait_until(done_or_ended, timeout=timeout, waiting_for=waiting_for, log=self.log)

    def stop(self, timeout: float = 15) -> None:
        """Ask the program to end; kill its process group when it has not ended in time."""
        if self._popen is not None and self.running:
            self._popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """Kill the whole process group and wait for its end."""
        if self._popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
        _started.discard(self)


class Server(Process):
    """A Prefect server on SQLite in its home, or on another database."""

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        database_url: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Choose port and database; ``env`` holds further Prefect settings for the server."""
        self.home = home.resolve()
        self.port = port or free_port()
        self.database_url = database_url or f"sqlite+aiosqlite:///{self.home / 'prefect.db'}"
        self.auth_string = (env or {}).get("PREFECT_SERVER_API_AUTH_STRING")
        self._csrf = (env or {}).get("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "").lower() in ("1", "true")
        settings = {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.database_url,
            # The pages would look for the API on the default port.
            "PREFECT_SERVER_UI_API_URL": self.api_url,
            **(env or {}),
        }
        super().__init__(
            "server",
            [sys.executable, "-m", "prefect", "server", "start", "--host", _LOOPBACK, "--port", str(self.port)],
            log=self.home / "server.log",
            env=prefect_env(self.home, extra=settings),
            cwd=self.home,
        )

    @property
    def ui_url(self) -> str:
        """The address of the UI."""
        return f"http://{_LOOPBACK}:{self.port}"

    @property
    def api_url(self) -> str:
        """The value of ``PREFECT_API_URL``."""
        return f"{self.ui_url}/api"

    def client_env(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return an environment for subprocesses that use this server."""
        auth = {"PREFECT_API_AUTH_STRING": self.auth_string} if self.auth_string else {}
        return prefect_env(self.home, self.api_url, auth | dict(extra or {}))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request to the API and return the decoded answer; errors raise."""
        headers = {}
        if self.auth_string:
            headers["Authorization"] = "Basic " + base64.b64encode(self.auth_string.encode()).decode()
        # On a busy disk, one of many writers can wait a minute for its turn in SQLite.
        with httpx.Client(headers=headers, timeout=120, trust_env=False) as client:
            if self._csrf and method != "GET":
                token = client.get(f"{self.api_url}/csrf-token", params={"client": _MARK}).raise_for_status().json()
                client.headers.update({"Prefect-Csrf-Token": token["token"], "Prefect-Csrf-Client": _MARK})
            for _ in range(20):
                answer = client.request(method, self.api_url + path, json=body)
                # Two writers met in SQLite, and this one was rolled back. Prefect's own clients try again, too.
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    break
                time.sleep(0.5)
            answer.raise_for_status()
            return answer.json() if answer.content else None

    def is_ready(self) -> bool:
        """Whether the API answers and reaches its database."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.api_url}/ready", timeout=5, trust_env=False).is_success
        return False

    def wait_ready(self, timeout: float = 90) -> None:
        """Wait until the API is ready; raise `StackError` when the server dies before that."""
        self.wait(self.is_ready, timeout=timeout, waiting_for=f"the Prefect server at {self.ui_url} to be ready")


class Worker(Process):
    """A process worker, and the processes of the flow runs that it started."""

    def __init__(
        self,
        server: Server,
        pool: str,
        *,
        name: str | None = None,
        log: Path | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Choose a pool; ``cwd`` is where flow runs start from, ``env`` is theirs too."""
        self.server = server
        self.pool = pool
        name = name or f"{pool}-worker"
        self._started_at = datetime.now(timezone.utc)
        super().__init__(
            name,
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process", "--name", name],
            log=log or server.home / f"{name}.log",
            env=server.client_env(env),
            cwd=cwd or server.home,
        )

    def start(self) -> None:
        """Start the worker and return at once; it makes the pool if there is none."""
        self._started_at = datetime.now(timezone.utc)
        super().start()

    def is_online(self) -> bool:
        """Whether the server has had a heartbeat of this worker since it was started."""
        with suppress(httpx.HTTPError):
            workers = self.server.request("POST", f"/work_pools/{self.pool}/workers/filter", {})
            beats = [w["last_heartbeat_time"] for w in workers if w["name"] == self.name and w["last_heartbeat_time"]]
            return any(datetime.fromisoformat(beat.replace("Z", "+00:00")) >= self._started_at for beat in beats)
        return False

    def wait_online(self, timeout: float = 60) -> None:
        """Wait until the worker polls its pool; raise `StackError` when it dies before that."""
        self.wait(self.is_online, timeout=timeout, waiting_for=f"worker {self.name!r} of pool {self.pool!r}")

    def flow_run_pids(self, flow_run_id: str | None = None) -> list[int]:
        """Return the processes of one or all flow runs of this worker, found also after the worker's death."""
        return [
            pid
            for pid, env in _stack_processes(self.server.home)
            if env.get(_MEMBER) == self.name and _runs(env, flow_run_id)
        ]

    def kill_flow_runs(self, flow_run_id: str | None = None) -> int:
        """Kill the processes of one or all flow runs, the worker stays; return how many processes were killed."""
        return _kill(lambda: self.flow_run_pids(flow_run_id))

    def kill_all(self) -> int:
        """Kill the worker and then its flow runs, as a dying host does, so that nobody reports their end."""
        self.kill()
        return self.kill_flow_runs()

    def stop(self, timeout: float = 15) -> None:
        """Stop the worker, and whatever flow runs it leaves behind."""
        super().stop(timeout)
        self.kill_flow_runs()


def stop_leftovers(home: Path) -> int:
    """Stop everything that a stack in this home left running, whoever started it; return how many were stopped.

    Workers and flow runs go with the server, so there is no order to keep.
    """
    home = home.resolve()
    left = [pid for pid, _ in _stack_processes(home)]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    with suppress(StackError):
        wait_until(lambda: not any(_stack_processes(home)), timeout=10, waiting_for="the stack to end")
    _kill(lambda: [pid for pid, _ in _stack_processes(home)])
    return len(left)


def _runs(env: Mapping[str, str], flow_run_id: str | None) -> bool:
    """Tell a flow run's process (any flow run's, without an id) by the variable that Prefect gives it."""
    run = env.get("PREFECT__FLOW_RUN_ID")
    return run is not None and flow_run_id in (None, run)


def _stack_processes(home: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield process id and environment of the living processes of one stack, this very process excepted."""
    for entry in Path("/proc").glob("[0-9]*"):
        # Processes end while they are looked at, and those of other users are none of ours.
        with suppress(OSError):
            pairs = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
            env = dict(pair.partition("=")[::2] for pair in pairs)
            if env.get(_MARK) == str(home) and int(entry.name) != os.getpid():
                yield int(entry.name), env


def _kill(find: Callable[[], list[int]]) -> int:
    """Kill what ``find`` finds until it finds nothing, and return the number of processes killed."""
    killed: set[int] = set()

    def none_left() -> bool:
        found = find()
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        return not found

    wait_until(none_left, timeout=10, waiting_for="killed processes to end")
    return len(killed)


def _tail(log: Path | None, lines: int = 20) -> str:
    """Return the end of a log as an indented paragraph for an error message."""
    if log is None or not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        tail = file.read().decode(errors="replace").splitlines()[-lines:]
    return "".join(f"\n    {line}" for line in (f"the end of {log}:", *tail))


_started: weakref.WeakSet[Process] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Leave nothing running when the interpreter ends, however it came to that."""
    for process in sorted(_started, key=lambda process: isinstance(process, Server)):
        process.stop(timeout=5)
