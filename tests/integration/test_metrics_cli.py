"""``watchdog metrics`` in a process of its own, beside a real server that comes and goes."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from demo.stack import Process, Server, free_port, prefect_env, wait_until
from monitoring.adapters.prefect_server.api import open_api
from monitoring.adapters.prefect_server.documents import Documents
from monitoring.adapters.prefect_server.measured import Measured
from monitoring.config import Server as ServerSettings
from monitoring.metrics.values import Snapshot
from monitoring.render.openmetrics import openmetrics, text
from tests.conftest import ServerFactory
from tests.render.metric_samples import HOSTILE, gauges, ordinary, snapshot
from tests.support.looking import Said, watchdog

pytestmark = pytest.mark.integration

UP, DOWN = (f'prefect_watchdog_server_up{{target="prod"}} {value}\n' for value in ("1.0", "0.0"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "watchdog.yaml").write_text("target: {name: prod}\nmetrics: {enabled: true, refresh: 1s}\n")
    return tmp_path


class Served(Process):
    """``watchdog metrics serve``."""

    def __init__(self, folder: Path, api_url: str) -> None:
        host = f"127.0.0.1:{free_port()}"
        self.url = f"http://{host}"
        command = [str(Path(sys.executable).with_name("watchdog")), "metrics", "serve", "--listen", host]
        super().__init__("serve", command, log=folder / "serve.log", env=prefect_env(folder, api_url), cwd=folder)

    def get(self, path: str = "/metrics") -> httpx.Response:
        return httpx.get(self.url + path, timeout=10, trust_env=False)

    def until(self, wanted: str, path: str = "/metrics") -> None:
        """Wait until a page holds this."""

        def there() -> bool:
            try:
                return wanted in self.get(path).text
            except httpx.TransportError:
                return False

        self.wait(there, timeout=60, waiting_for=f"{wanted!r} on {path}")

    def told(self, number: signal.Signals) -> int | None:
        """Send a signal, and return the status with which it ends."""
        os.kill(self.pid, number)
        wait_until(lambda: not self.running, timeout=30, waiting_for="its end", log=self.log)
        return self.status


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[[str], Served]]:
    running: list[Served] = []

    def start(api_url: str) -> Served:
        running.append(Served(folder, api_url))
        running[-1].start()
        return running[-1]

    yield start
    for process in running:
        process.stop()


def measured(server: Server, numbers: Snapshot) -> None:
    """Keep numbers on the server, as a check does."""
    with open_api(ServerSettings(), server.api_url) as api:
        Measured(Documents(api)).save(numbers)


def printed(server: Server, folder: Path) -> Said:
    return watchdog("metrics", "print", env=prefect_env(folder, server.api_url), cwd=folder)


def test_the_last_numbers_are_served_while_the_server_comes_and_goes(
    folder: Path, fresh_server: ServerFactory, serve: Callable[[str], Served]
) -> None:
    server = fresh_server()
    served = serve(server.api_url)
    served.until(UP)
    ready = served.get("/-/ready")
    assert ready.status_code == 503
    assert ready.text.startswith("nothing was measured yet: ")
    assert served.get().text.count("\nprefect_") == 1, "what is not known is not there"

    measured(server, ordinary())
    served.until("ready", "/-/ready")
    assert served.get().text == text(ordinary()).decode()

    server.kill()
    served.until(DOWN)
    assert served.get().text == text(ordinary()).decode().replace(UP, DOWN)
    assert served.get("/-/ready").status_code == 200, "old numbers are better than none"

    server.start()
    server.wait_ready()
    served.until(UP)
    assert served.told(signal.SIGTERM) == 0
    lines = [line.partition(" UTC ")[2] for line in served.log.read_text().splitlines()]
    serving, nothing, there, down, back = lines
    assert serving == f"INFO    metrics served: {served.url}/metrics"
    assert nothing.startswith("WARNING metrics not current: nothing was measured yet: ")
    assert there == back == "INFO    metrics current: the numbers of the last check are there"
    assert down.startswith("WARNING metrics not current: ")
    assert server.api_url in down


def test_a_server_that_was_never_there_is_told_of_and_looked_for(serve: Callable[[str], Served]) -> None:
    served = serve(f"http://127.0.0.1:{free_port()}/api")
    served.until(DOWN)
    assert served.get().text.count("\nprefect_") == 1
    assert served.get("/-/healthy").status_code == 200
    ready = served.get("/-/ready")
    assert (ready.status_code, ready.text) == (503, "the Prefect server has not answered yet\n")
    assert served.told(signal.SIGINT) == 0
    assert "Traceback" not in served.log.read_text()


def test_it_ends_while_it_waits_for_a_server_that_says_nothing(serve: Callable[[str], Served]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        served = serve(f"http://127.0.0.1:{silent.getsockname()[1]}/api")
        served.until(DOWN)
        with silent.accept()[0]:
            assert served.told(signal.SIGTERM) == 0
    assert "Traceback" not in served.log.read_text()


def test_the_last_numbers_are_printed(prefect_server: Server, folder: Path) -> None:
    said = printed(prefect_server, folder)
    assert (said.status, said.stdout) == (3, "")
    assert said.stderr.startswith("nothing was measured yet: ")
    for numbers in (ordinary(), snapshot(deployment_lateness_seconds=gauges(*HOSTILE))):
        measured(prefect_server, numbers)
        said = printed(prefect_server, folder)
        assert (said.status, said.stderr) == (0, "")
        assert said.stdout == openmetrics(numbers).decode()
