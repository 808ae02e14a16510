"""One check at a time: also when two are started at once, and when one dies together with the server."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from demo.stack import Process, Server
from monitoring.adapters.prefect.store.lock import NAME
from tests.support.deployed_watchdog import Deployed
from tests.support.noise import noise
from tests.support.paths import PROJECT
from tests.support.seed_values import MINUTE
from tests.support.seeding import Seed

# Long enough for a killed server to be back and for one check to find the lock taken.
#: Far longer than a server takes to begin again, on however busy a machine.
EXPIRY = timedelta(minutes=20)

CHECK = """
from flows.check import check

state = check(return_state=True)
print("ended as", state.type.value, state.message)
"""


class Proxy:
    """Passes on what a server and its clients say, and holds back the answer to one request."""

    def __init__(self, server: Server, request: str) -> None:
        """``request`` is how it begins: method and path. Only the first one is held back."""
        self._to = ("127.0.0.1", server.port)
        self._request = request.encode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"
        self.has_come = threading.Event()
        self.release = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self.release.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._to)
                holds = threading.Event()
                for source, sink, ask in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass_on, args=(source, sink, ask, holds), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, ask: bool, holds: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if ask and data.startswith(self._request) and not self.has_come.is_set():
                    holds.set()
                    self.has_come.set()
                elif not ask and holds.is_set():
                    self.release.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def held_back(server: Server, request: str) -> Iterator[Proxy]:
    proxy = Proxy(server, request)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture
def check(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a check, by way of another address if need be."""
    started: list[Process] = []

    def start(server: Server, api_url: str | None = None) -> Process:
        name = f"check-{len(started)}"
        # One whose answer is held back waits for it, however long that is.
        env = {"WATCHDOG_STATE__LOCK_EXPIRY": f"{EXPIRY.seconds}s", "WATCHDOG_SERVER__TIMEOUT": "10m"}
        env |= {"PREFECT_API_URL": api_url, "WATCHDOG_SERVER__DEADLINE": "10m"} if api_url else {}
        # As long, a check waits for another one.
        env.setdefault("WATCHDOG_SERVER__DEADLINE", "30s")
        started.append(
            Process(
                name,
                [sys.executable, "-c", CHECK],
                log=tmp_path / f"{name}.log",
                env=server.client_env(env),
                cwd=PROJECT,
            )
        )
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()


def outcome(process: Process) -> str:
    """Wait for the end of a check and return what it ended as."""

    def ends() -> list[str]:
        return [line for line in process.log.read_text().splitlines() if line.startswith("ended as ")]

    process.wait(lambda: bool(ends()), timeout=180, waiting_for="the check to end")
    return ends()[0].removeprefix("ended as ")


def wait_for(event: threading.Event, process: Process) -> None:
    process.wait(event.is_set, timeout=180, waiting_for="the request that is held back")


def lock(server: Server) -> dict[str, object] | None:
    found = server.request("POST", "/variables/filter", {"variables": {"name": {"any_": [NAME]}}})
    return dict(found[0]) if found else None


def test_of_two_checks_at_once_one_works(prefect_server: Server, seed: Seed, check: Callable[..., Process]) -> None:
    noise(seed)
    with held_back(prefect_server, "POST /api/flow_runs/filter") as proxy:
        first = check(prefect_server, proxy.url)
        wait_for(proxy.has_come, first)
        second = check(prefect_server)
        installation = Deployed(prefect_server, second)
        assert outcome(second) == "COMPLETED Another check is running"
        assert installation.versions("watchdog-health") == 0
        assert installation.documents() == {}

        proxy.release.set()
        assert outcome(first) == "COMPLETED Nothing is wrong."
    assert installation.versions("watchdog-health") == 1
    assert lock(prefect_server) is None
    assert outcome(check(prefect_server)) == "COMPLETED Nothing is wrong."


def test_a_check_that_dies_with_the_server_holds_the_next_ones_up_for_the_locks_expiry_only(
    fresh_server: Callable[..., Server], check: Callable[..., Process]
) -> None:
    server = fresh_server()
    seed = Seed(server.database_url)
    noise(seed)
    seed.run(seed.deployment("etl/nightly"), "FAILED", ended=seed.now - MINUTE)
    with held_back(server, "POST /api/artifacts/") as proxy:
        # The state is saved, the artifact is made, and the check does not know it yet.
        victim = check(server, proxy.url)
        wait_for(proxy.has_come, victim)
        left = lock(server)
        assert left is not None
        server.kill()
        victim.kill()
    server.start()
    server.wait_ready()

    soon = check(server)
    assert outcome(soon) == "COMPLETED Another check is running"
    assert lock(server) == left

    seed.changed_before(NAME, EXPIRY)
    after = check(server)
    assert outcome(after) == "COMPLETED 1 warning."
    assert lock(server) is None

    installation = Deployed(server, after)
    assert [found["subject"] for found in installation.findings()] == ["deployment etl/nightly"]
    health = installation.artifact("watchdog-health")
    assert "etl/nightly" in health["data"]
    [incident] = installation.documents()["incidents"]["data"]["open"].values()
    assert incident["finding"]["subject"]["name"] == "etl/nightly"
    assert "state:" not in json.dumps(health), "all of the saved state could be read"

    assert outcome(check(server)) == "COMPLETED 1 warning."
    assert installation.artifact("watchdog-health")["id"] == health["id"]
