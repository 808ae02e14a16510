"""Sending DogStatsD, over UDP and a Unix socket, and the error when nobody takes it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from demo.stack import free_port
from monitoring.adapters.exporters.dogstatsd import DogStatsD
from monitoring.errors import DeliveryError
from monitoring.metrics.snapshot import Sample, Snapshot
from tests.support.builders import NOW
from tests.support.dogstatsd import Line, read
from tests.support.metric_samples import ANOTHERS, SERIES, gauges, large, ordinary, snapshot

QUICK = timedelta(seconds=1)
UP = snapshot(server_up=(Sample(value=1.0),))


@contextmanager
def agent(kind: str, folder: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Something that takes datagrams: its address, and what it has taken when the block is over."""
    path = folder / "dsd.socket"
    with socket.socket(
        socket.AF_INET6 if kind == "ipv6" else socket.AF_UNIX if kind == "unix" else socket.AF_INET, socket.SOCK_DGRAM
    ) as listener:
        listener.bind(str(path) if kind == "unix" else ("::1" if kind == "ipv6" else "127.0.0.1", 0))
        if kind == "unix":
            address = f"unix://{path}"
        else:
            host = {"udp": "127.0.0.1", "name": "localhost", "ipv6": "[::1]"}[kind]
            address = f"{host}:{listener.getsockname()[1]}"
        taken: list[bytes] = []

        def take() -> None:
            while message := listener.recv(65_536):
                taken.append(message)

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield address, taken
        finally:
            with socket.socket(listener.family, socket.SOCK_DGRAM) as last:
                last.sendto(b"", listener.getsockname())
            thread.join()


def refused(address: str, numbers: Snapshot = UP) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        DogStatsD(address, QUICK).publish(numbers)
    error = str(caught.value)
    assert error.startswith(f"metrics.dogstatsd: {address} ")
    assert "\n" not in error
    return caught.value


@pytest.mark.parametrize("kind", ["udp", "name", "ipv6", "unix"])
def test_what_is_sent_arrives(tmp_path: Path, kind: str) -> None:
    with agent(kind, tmp_path) as (address, taken):
        DogStatsD(address, QUICK).publish(ordinary())
    assert Line("prefect_watchdog_server_up", 1, "g", {"target": "prod"}) in read(taken)


@pytest.mark.parametrize(("kind", "most"), [("udp", 1_432), ("unix", 8_192)])
def test_datagrams_are_as_large_as_their_transport_takes_them(tmp_path: Path, kind: str, most: int) -> None:
    with agent(kind, tmp_path) as (address, taken):
        DogStatsD(address, timedelta(seconds=30)).publish(large(30))
    assert len(read(taken)) == SERIES * 30 + 1
    assert most - 200 < max(map(len, taken)) <= most


def test_counters_are_sent_as_what_they_have_risen_to_whatever_was_sent_before(tmp_path: Path) -> None:
    with agent("udp", tmp_path) as (address, taken):
        for value in (7.0, 9.0, 9.0):
            DogStatsD(address, QUICK).publish(snapshot(alerts_sent=(Sample(labels=("default",), value=value),)))
    assert [(line.value, line.kind) for line in read(taken)] == [(7, "g"), (9, "g"), (9, "g")]


def test_other_definitions_are_sent_too(tmp_path: Path) -> None:
    given = Snapshot(target="prod", at=NOW, samples={ANOTHERS.name: gauges("etl")})
    with agent("udp", tmp_path) as (address, taken):
        DogStatsD(address, QUICK, (ANOTHERS,)).publish(given)
    assert read(taken) == [Line("prefect_flow_runs_total", 0, "g", {"flow_name": "etl"})]


@pytest.mark.parametrize("numbers", [UP, large(30)], ids=["one datagram", "many"])
def test_nobody_at_a_port_of_this_machine_is_an_error(numbers: Snapshot) -> None:
    error = refused(f"127.0.0.1:{free_port()}", numbers)
    assert "Connection refused" in str(error)
    assert "whether the agent runs" in str(error)
    assert not error.permanent


@pytest.mark.parametrize(
    "address",
    [
        "no-such-host.invalid:8125",
        f"{'a' * 64}.example:8125",
        "no-port",
        f"127.0.0.1:{'9' * 30}",
        "nul\0byte:8125",
        "unix:///nul\0byte",
    ],
)
def test_an_address_that_leads_nowhere_is_an_error(address: str) -> None:
    assert "check the address" in str(refused(address))


def test_a_socket_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert "No such file or directory" in str(refused(f"unix://{tmp_path}/dsd.socket"))


def test_a_path_that_no_socket_can_have_is_an_error(tmp_path: Path) -> None:
    assert "check the address" in str(refused(f"unix://{tmp_path}/{'long' * 30}/dsd.socket"))


def test_a_socket_that_nobody_reads_any_more_is_an_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(str(tmp_path / "dsd.socket"))
    assert "Connection refused" in str(refused(f"unix://{tmp_path}/dsd.socket"))


def test_a_socket_for_streams_is_an_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "dsd.socket"))
        listener.listen()
        assert "listens for DogStatsD there" in str(refused(f"unix://{tmp_path}/dsd.socket"))


def test_an_agent_that_hangs_is_waited_for_as_long_as_configured(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hanging:
        hanging.bind(str(tmp_path / "dsd.socket"))
        error = refused(f"unix://{tmp_path}/dsd.socket", large(1_000))
    assert "accepted nothing within 1s" in str(error)
    assert "metrics.timeout" in str(error)
