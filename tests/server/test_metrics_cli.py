"""``watchdog metrics`` in a process of its own, beside a real server that comes and goes."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.stack import Process, Server, free_port, prefect_env, wait_until
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.documents import PUSHED_DOCUMENT, Documents
from monitoring.adapters.prefect.store.metrics_document import NAME, Measured
from monitoring.metrics.openmetrics import openmetrics, text
from monitoring.metrics.snapshot import Snapshot
from monitoring.model.policy import ApiSettings as ServerSettings
from monitoring.model.target import Target
from tests.conftest import ServerFactory
from tests.support.command_line import CommandResult, watchdog
from tests.support.metric_samples import HOSTILE, gauges, ordinary, snapshot
from tests.support.prometheus import prometheus

LONG, NOT_LONG = timedelta(minutes=31), timedelta(minutes=1)
UP, DOWN = (f'prefect_watchdog_server_up{{target="prod"}} {value}\n' for value in ("1.0", "0.0"))
#: Where the target has the name that it has by default.
DOWN_UNNAMED = DOWN.replace("prod", "prefect")

#: The command with another default for ``metrics.listen``: on this machine, somebody may have taken that port.
WITH_DEFAULT = """
import sys
from monitoring import cli
from monitoring.config import policy
policy._DEFAULTS["metrics.listen"] = policy.Setting(sys.argv.pop(1), "default")
cli.main()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "watchdog.yaml").write_text("target: {name: prod}\nmetrics: {enabled: true, refresh: 1s}\n")
    return tmp_path


class Served(Process):
    """``watchdog metrics serve``."""

    def __init__(self, folder: Path, api_url: str, *, by_default: bool = False, **env: str) -> None:
        """Nothing runs yet.

        Args:
            folder: Where it runs.
            api_url: The Prefect server's address.
            by_default: Whether the command does not say where to listen, and the default is our address.
            env: Further variables of its environment.
        """
        self.host = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.host}"
        installed = [str(Path(sys.executable).with_name("watchdog")), "metrics", "serve", "--listen", self.host]
        command = [sys.executable, "-c", WITH_DEFAULT, self.host, "metrics", "serve"] if by_default else installed
        # Another log for each of several.
        log = folder / f"serve-{self.host.rpartition(':')[2]}.log"
        super().__init__("serve", command, log=log, env=prefect_env(folder, api_url, env), cwd=folder)

    def get(self, path: str = "/metrics") -> httpx.Response:
        return httpx.get(self.url + path, timeout=60, trust_env=False)

    def until(self, wanted: str, path: str = "/metrics") -> None:
        """Wait until a page holds this."""

        def there() -> bool:
            try:
                return wanted in self.get(path).text
            except httpx.TransportError:
                return False

        self.wait(there, timeout=180, waiting_for=f"{wanted!r} on {path}")

    def until_logged(self, wanted: str) -> None:
        """Wait until the log holds this."""
        self.wait(lambda: wanted in self.log.read_text(), timeout=180, waiting_for=f"{wanted!r} in its log")

    def lines(self) -> list[str]:
        """Its log, without the times."""
        return [line.partition(" UTC ")[2] for line in self.log.read_text().splitlines()]

    def end_by(self, number: signal.Signals) -> int | None:
        """Send a signal, and return the status with which it ends."""
        os.kill(self.pid, number)
        wait_until(lambda: not self.running, timeout=120, waiting_for="its end", log=self.log)
        return self.status


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def start(api_url: str, **options: Any) -> Served:
        running.append(Served(folder, api_url, **options))
        running[-1].start()
        return running[-1]

    yield start
    for process in running:
        process.stop()


def measured(server: Server, numbers: Snapshot) -> None:
    """Keep numbers on the server, as a check does."""
    with documents(server) as kept:
        Measured(kept).save(numbers)


@contextmanager
def documents(server: Server) -> Iterator[Documents]:
    with open_api(ServerSettings(), Target(address=server.api_url)) as api:
        yield Documents(api)


def taken(age: timedelta) -> Snapshot:
    """What a check measured so long ago."""
    return ordinary().model_copy(update={"at": datetime.now(timezone.utc) - age})


def printed(server: Server, folder: Path) -> CommandResult:
    return watchdog("metrics", "print", env=prefect_env(folder, server.api_url), cwd=folder)


def test_the_last_numbers_are_served_while_the_server_comes_and_goes(
    folder: Path, fresh_server: ServerFactory, serve: Callable[..., Served]
) -> None:
    server = fresh_server()
    served = serve(server.api_url)
    served.until(UP)
    ready = served.get("/-/ready")
    assert ready.status_code == 503
    assert ready.text.startswith("no metrics yet: ")
    assert served.get().text.count("\nprefect_") == 1, "what is not known is not there"

    measured(server, taken(NOT_LONG))
    served.until("ready", "/-/ready")
    assert served.get().text == text(ordinary()).decode()

    server.kill()
    served.until(DOWN)
    assert served.get().text == text(ordinary()).decode().replace(UP, DOWN)
    assert served.get("/-/ready").status_code == 200, "old numbers are better than none"

    server.start()
    server.wait_ready()
    served.until(UP)
    assert served.end_by(signal.SIGTERM) == 0
    serving, nothing, there, down, back = served.lines()
    assert serving == f"INFO    metrics served: {served.url}/metrics"
    assert nothing.startswith("WARNING metrics not current: no metrics yet: ")
    assert there == back == "INFO    metrics current: the metrics of the last check are served"
    assert down.startswith("WARNING metrics not current: ")
    assert server.api_url in down


def test_a_server_that_was_never_there_is_logged_and_looked_for(serve: Callable[..., Served]) -> None:
    served = serve(f"http://127.0.0.1:{free_port()}/api")
    served.until(DOWN)
    assert served.get().text.count("\nprefect_") == 1
    assert served.get("/-/healthy").status_code == 200
    ready = served.get("/-/ready")
    assert ready.status_code == 503
    assert ready.text.startswith("no answer from http://127.0.0.1:")
    assert served.end_by(signal.SIGINT) == 0
    assert "Traceback" not in served.log.read_text()


def test_what_was_pushed_is_taken_once_the_server_is_back(
    folder: Path, fresh_server: ServerFactory, serve: Callable[..., Served]
) -> None:
    (folder / "watchdog.yaml").unlink()
    server = fresh_server()
    there = f"127.0.0.1:{free_port()}"
    with documents(server) as kept:
        pushed = f"target: {{name: prod}}\nmetrics: {{enabled: true, refresh: 1s, listen: '{there}'}}\n"
        kept.write(PUSHED_DOCUMENT, pushed)
    measured(server, taken(NOT_LONG))
    server.kill()
    served = serve(server.api_url, by_default=True, WATCHDOG_METRICS__REFRESH="1s")
    served.until(DOWN_UNNAMED)
    assert served.get("/-/ready").status_code == 503

    server.start()
    server.wait_ready()
    before, served.url = served.url, f"http://{there}"
    served.until(UP)
    assert served.get().text == text(ordinary()).decode()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{before}/metrics", trust_env=False)
    assert served.end_by(signal.SIGTERM) == 0
    serving, down, again, back = served.lines()
    assert serving == f"INFO    metrics served: {before}/metrics"
    assert down.startswith("WARNING metrics not current: no answer from ")
    assert again == f"INFO    metrics served: {served.url}/metrics"
    assert back.startswith("INFO    metrics current: ")


def test_without_a_file_it_waits_for_the_server_to_say_whether_one_was_pushed(
    folder: Path, fresh_server: ServerFactory, serve: Callable[..., Served]
) -> None:
    (folder / "watchdog.yaml").unlink()
    server = fresh_server()
    server.kill()
    refresh = {"WATCHDOG_METRICS__REFRESH": "1s"}
    enabled = serve(server.api_url, WATCHDOG_METRICS__ENABLED="true", WATCHDOG_TARGET__NAME="prod", **refresh)
    enabled.until(DOWN)
    undecided = serve(server.api_url, **refresh)
    undecided.until(DOWN_UNNAMED)

    server.start()
    server.wait_ready()
    enabled.until(UP)
    wait_until(lambda: not undecided.running, timeout=180, waiting_for="its end", log=undecided.log)
    assert undecided.status == 3
    _, down, refused = undecided.log.read_text().splitlines()
    assert "metrics not current" in down
    assert refused.startswith("defaults: metrics.enabled: false; expected true")


def test_prometheus_scrapes_the_command_while_the_server_is_up_and_down(
    folder: Path, fresh_server: ServerFactory, serve: Callable[..., Served]
) -> None:
    server = fresh_server()
    measured(server, taken(NOT_LONG))
    served = serve(server.api_url)
    late = 'prefect_watchdog_deployment_lateness_seconds{target="prod",deployment="ml/train"}'
    with prometheus(folder, served.host) as known:

        def says(expression: str, *values: float) -> bool:
            return [float(sample["value"][1]) for sample in known.query(expression)] == list(values)

        def until_up_is(value: float) -> None:
            wanted = f"server_up {value} in Prometheus"
            wait_until(lambda: says("prefect_watchdog_server_up", value), timeout=180, waiting_for=wanted)

        until_up_is(1)
        wait_until(lambda: says(late, 4_210.25), timeout=180, waiting_for="the numbers in Prometheus")
        server.stop()
        until_up_is(0)
        # What a scrape lacks, Prometheus takes for gone: the last numbers were in the same scrape.
        assert says(late, 4_210.25)
        assert says('up{job="watchdog"}', 1)


def test_metrics_that_no_check_renews_are_logged(prefect_server: Server, serve: Callable[..., Served]) -> None:
    measured(prefect_server, taken(LONG))
    served = serve(prefect_server.api_url)
    served.until("no check has measured since", "/-/ready")
    assert [served.get(path).status_code for path in ("/-/healthy", "/-/ready", "/metrics")] == [200, 503, 200]
    assert served.get().text == text(ordinary()).decode(), "old numbers are better than none"

    measured(prefect_server, taken(NOT_LONG))
    served.until("ready\n", "/-/ready")
    with documents(prefect_server) as kept:
        kept.write(NAME, "what nobody understands")
        served.until_logged("cannot be read")
        kept.delete(NAME)
    served.until_logged("were deleted from the server")
    assert served.get("/-/ready").status_code == 200, "those that are known are not old yet"
    assert served.get().text == text(ordinary()).decode()
    measured(prefect_server, taken(NOT_LONG))
    served.wait(lambda: "metrics current" in served.lines()[-1], timeout=180, waiting_for="the numbers")

    old, unreadable, gone = (line for line in served.lines() if line.startswith("WARNING metrics not current: "))
    assert "check that the deployment watchdog-check runs" in old
    assert "have the same version here and there" in unreadable
    assert "the next check saves them again" in gone


def test_a_rejected_key_shows_nothing_about_the_server(
    fresh_server: ServerFactory, serve: Callable[..., Served]
) -> None:
    server = fresh_server()
    measured(server, taken(NOT_LONG))
    served = serve(server.api_url)
    served.until(UP)
    server.kill()
    served.until(DOWN)
    auth = {"PREFECT_SERVER_API_AUTH_STRING": "watchdog:let me in"}
    guarded = Server(server.home, port=server.port, database_url=server.database_url, env=auth)
    try:
        guarded.start()
        served.until(UP)
        served.until_logged("refuses requests without credentials")
        assert served.get("/-/ready").status_code == 200
        later = serve(server.api_url)
        later.until("refuses requests without credentials", "/-/ready")
        assert "server_up" not in later.get().text
    finally:
        guarded.stop()


def test_before_the_server_answers_nothing_is_known_of_it_and_a_signal_ends_the_command(
    serve: Callable[..., Served],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        served = serve(f"http://127.0.0.1:{silent.getsockname()[1]}/api")
        served.until("the Prefect server has not answered yet\n", "/-/ready")
        assert "server_up" not in served.get().text
        with silent.accept()[0]:
            assert served.end_by(signal.SIGTERM) == 0
    assert "Traceback" not in served.log.read_text()


def test_the_last_numbers_are_printed(prefect_server: Server, folder: Path) -> None:
    result = printed(prefect_server, folder)
    assert (result.status, result.stdout) == (3, "")
    assert result.stderr.startswith("no metrics yet: ")
    for numbers in (ordinary(), snapshot(deployment_lateness_seconds=gauges(*HOSTILE))):
        measured(prefect_server, numbers)
        result = printed(prefect_server, folder)
        assert (result.status, result.stderr) == (0, "")
        assert result.stdout == openmetrics(numbers).decode()
