"""Exporters that fail, in whole checks of a real server: one line and a finding each, and no more."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from threading import Thread

import pytest

from demo.stack import Server
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.metrics_document import Measured
from monitoring.adapters.prefect.store.state import BlockState
from monitoring.config.settings import Config
from monitoring.metrics.catalog import SERVER_UP
from monitoring.model.outbox import Trouble
from monitoring.model.target import Target
from tests.support.dogstatsd import read
from tests.support.measured_server import MeasuredServers, lines, named, series

TEXTFILE, GATEWAY = "metrics.textfile", "metrics.pushgateway"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[str, list[bytes]]]:
    """A Datadog agent's socket, and the datagrams that arrive there."""
    path, datagrams = tmp_path / "dsd.socket", list[bytes]()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))

        def receive() -> None:
            # An empty datagram is the end.
            while datagram := listening.recv(65_536):
                datagrams.append(datagram)

        thread = Thread(target=receive)
        thread.start()
        yield f"unix://{path}", datagrams
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(path))
        thread.join()


def troubles(server: Server) -> dict[str, Trouble]:
    """What is remembered of exporters that fail."""
    with open_api(Config().server, Target(address=server.api_url)) as api:
        state, _ = BlockState(Documents(api), Config().state, datetime.now(timezone.utc), lambda: None).load()
        return dict(state.outbox.outlets)


def test_a_gateway_that_hangs_and_a_file_that_cannot_be_written_do_not_fail_a_check_with_a_short_lock(
    measured_server: MeasuredServers, prefect_server: Server, tmp_path: Path, silent: str
) -> None:
    settings = {
        "WATCHDOG_METRICS__PUSHGATEWAY": silent,
        "WATCHDOG_METRICS__TIMEOUT": "25s",
        "WATCHDOG_STATE__LOCK_EXPIRY": "30s",
        "WATCHDOG_METRICS__TEXTFILE": str(tmp_path / "nowhere" / "watchdog.prom"),
    }
    place = measured_server(**settings)
    first = lines(place.check())
    assert {line["way_out"] for line in named(first, "numbers not taken")} == {TEXTFILE, GATEWAY}
    begun = troubles(prefect_server)
    assert begun.keys() == {TEXTFILE, GATEWAY}
    place.check()
    # What becomes a warning after a while is counted from its beginning.
    assert {name: trouble.since for name, trouble in troubles(prefect_server).items()} == {
        name: trouble.since for name, trouble in begun.items()
    }
    with open_api(Config().server, Target(address=prefect_server.api_url)) as api:
        kept = Measured(Documents(api)).load()
    assert kept is not None
    assert [sample.value for sample in kept.samples[SERVER_UP.name]] == [1]


def test_the_names_of_prefects_exporter_leave_by_every_exporter(
    measured_server: MeasuredServers, agent: tuple[str, list[bytes]]
) -> None:
    address, datagrams = agent
    place = measured_server(WATCHDOG_METRICS__DOGSTATSD=address)
    place.settings["WATCHDOG_METRICS__COMPATIBILITY__ENABLED"] = "true"
    place.check()
    sent = {line.name for line in read(datagrams)}
    assert {"prefect_watchdog_server_up", "prefect_deployments_total", "prefect_info_deployment"} <= sent
    assert ("prefect_deployments_total", frozenset()) in series(place.textfile.read_text())
