"""The page that Prometheus scrapes: what it answers, and to whom else it must not give way."""

from __future__ import annotations

import errno
import gzip
import os
import socket
import socketserver
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from monitoring.adapters.exporters import scrape
from monitoring.adapters.exporters.scrape import ScrapeServer
from monitoring.errors import ConfigError
from monitoring.metrics.openmetrics import Families, openmetrics, text
from monitoring.metrics.snapshot import Metric, Sample, Snapshot
from tests.support.builders import NOW
from tests.support.metric_samples import large, ordinary, snapshot

#: What Prometheus 2 and 3 ask for.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
)


@pytest.fixture(autouse=True)
def _stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server looks whether it is to stop every half second; here more often."""
    monkeypatch.setattr(socketserver.BaseServer.serve_forever, "__defaults__", (0.02,))


@pytest.fixture
def pages() -> Iterator[ScrapeServer]:
    server = ScrapeServer("127.0.0.1:0")
    yield server
    server.stop()


def get(address: str, path: str = "/metrics", **headers: str) -> httpx.Response:
    sent = {
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        **{name.replace("_", "-"): of for name, of in headers.items()},
    }
    return httpx.get(address.replace("/metrics", path), headers=sent, timeout=30, trust_env=False)


@pytest.mark.parametrize("accept", PROMETHEUS)
def test_prometheus_gets_openmetrics(pages: ScrapeServer, accept: str) -> None:
    pages.show(ordinary())
    answer = get(pages.start(), Accept=accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.content == openmetrics(ordinary())


@pytest.mark.parametrize("accept", ["*/*", "", "text/plain;version=0.0.4", "application/openmetrics-text;q=0, */*"])
def test_everybody_else_gets_the_classic_text(pages: ScrapeServer, accept: str) -> None:
    pages.show(ordinary())
    answer = get(pages.start(), Accept=accept)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.content == text(ordinary())


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("deflate, GZIP;q=0.5", True), ("identity", False), ("gzip;q=0", False), ("gzip; q=0.000", False)],
)
def test_it_is_compressed_for_those_who_take_that(pages: ScrapeServer, accepted: str, packed: bool) -> None:
    pages.show(ordinary())
    host = urlsplit(pages.start()).netloc
    connection = HTTPConnection(host, timeout=30)
    connection.request("GET", "/metrics", headers={"Accept-Encoding": accepted})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
    assert (gzip.decompress(body) if packed else body) == text(ordinary())


def test_new_numbers_take_the_place_of_the_old(pages: ScrapeServer) -> None:
    pages.show(large(50))
    address = pages.start()
    pages.show(ordinary())
    assert get(address).content == text(ordinary())


def test_scrapes_render_nothing(pages: ScrapeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[str] = []
    collect, compress = Families.collect, gzip.compress

    def collected(families: Families) -> Iterator[Any]:
        work.append("rendered")
        return collect(families)

    def compressed(body: bytes, *args: Any, **kwargs: Any) -> bytes:
        work.append("compressed")
        return compress(body, *args, **kwargs)

    monkeypatch.setattr(Families, "collect", collected)
    monkeypatch.setattr(gzip, "compress", compressed)
    pages.show(ordinary())
    assert sorted(work) == ["compressed", "compressed", "rendered", "rendered"], "each form, once"
    address = pages.start()
    for encoding in ("gzip", "identity"):
        for accept in (*PROMETHEUS, "*/*"):
            assert get(address, Accept=accept, Accept_Encoding=encoding).status_code == 200
    assert len(work) == 4


def test_it_is_ready_once_there_is_what_it_waits_for(pages: ScrapeServer) -> None:
    address = pages.start()
    assert [get(address, path).status_code for path in ("/-/healthy", "/-/ready", "/metrics")] == [200, 503, 200]
    pages.show(snapshot(server_up=(Sample(value=0.0),)), missing="no metrics yet")
    answer = get(address, "/-/ready")
    assert (answer.status_code, answer.text) == (503, "no metrics yet\n")
    pages.show(ordinary())
    assert get(address, "/-/ready").status_code == 200


@pytest.mark.parametrize("path", ["/", "/metrics/", "/-/reload", "/metrics/../etc/passwd", "/%2e%2e/"])
def test_there_is_nothing_else(pages: ScrapeServer, path: str) -> None:
    pages.show(ordinary())
    assert get(pages.start(), path).status_code == 404


def test_a_query_changes_nothing(pages: ScrapeServer) -> None:
    pages.show(ordinary())
    assert get(pages.start(), "/metrics?name[]=x").content == text(ordinary())


def test_the_head_is_there_without_the_body(pages: ScrapeServer) -> None:
    pages.show(ordinary())
    answer = httpx.head(pages.start(), timeout=30, trust_env=False, headers={"Accept-Encoding": "identity"})
    assert (answer.headers["Content-Length"], answer.content) == (str(len(text(ordinary()))), b"")


def test_nothing_can_be_sent(pages: ScrapeServer) -> None:
    assert httpx.post(pages.start(), timeout=30, trust_env=False).status_code == 501


def test_scrapes_are_not_logged(pages: ScrapeServer, capfd: pytest.CaptureFixture[str]) -> None:
    address = pages.start()
    get(address)
    get(address, "/nothing")
    with connected(address) as client:
        client.sendall(b"\x00\xff rubbish\r\n\r\n")
        client.recv(1_000)
    assert capfd.readouterr() == ("", "")


def connected(address: str, buffer: int | None = None) -> socket.socket:
    parts = urlsplit(address)
    client = socket.socket()
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(30)
    client.connect((parts.hostname, parts.port))
    return client


def until_hung_up(client: socket.socket) -> bytes:
    """All that the server sends until it hangs up."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while part := client.recv(65_536):
            received += part
    return bytes(received)


def test_those_who_send_nothing_delay_nobody(pages: ScrapeServer) -> None:
    pages.show(ordinary())
    address = pages.start()
    with ExitStack() as held:
        for _ in range(30):
            held.enter_context(connected(address))
        assert get(address).status_code == 200


def eventually_answered(address: str) -> None:
    """Ask until a place is free."""
    for _ in range(300):
        try:
            assert get(address).status_code == 200
            return
        except httpx.TransportError:
            sleep(0.1)
    pytest.fail("those who went away still count")


class Clock:
    """A clock that a test moves; how fast the machine is, it does not show."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which the server hangs up."""
    clock = Clock()
    monkeypatch.setattr(scrape, "time", clock)
    return clock


def pass_time(clock: Clock, address: str, seconds: float) -> None:
    """Let time pass once the server knows all who have connected so far; it hangs up between two answers."""
    get(address, "/-/healthy")
    clock.now += seconds
    get(address, "/-/healthy")
    get(address, "/-/healthy")


@pytest.mark.parametrize("begun", [b"", b"GET /metrics", b"GET /metrics HTTP/1.1\r\nX: y\r\n"])
def test_those_who_never_finish_are_hung_up_on(
    pages: ScrapeServer, clock: Clock, capfd: pytest.CaptureFixture[str], begun: bytes
) -> None:
    address = pages.start()
    with connected(address) as client:
        client.sendall(begun)
        pass_time(clock, address, scrape.REQUEST_TIMEOUT + 1)
        assert b"200" not in until_hung_up(client)
    assert capfd.readouterr().err == ""


def test_those_who_send_a_little_again_and_again_are_hung_up_on(pages: ScrapeServer, clock: Clock) -> None:
    address = pages.start()
    with connected(address) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_a_little_for_ever(client, clock, address)


def send_a_little_for_ever(client: socket.socket, clock: Clock, address: str) -> None:
    while True:
        client.sendall(b"X: y\r\n")
        pass_time(clock, address, 0.9)


@pytest.mark.parametrize(("waits", "whole"), [(scrape.REQUEST_TIMEOUT + 1, True), (scrape.ANSWER_TIMEOUT + 1, False)])
def test_those_who_are_slow_to_read_have_a_timeout_of_their_own(
    clock: Clock, capfd: pytest.CaptureFixture[str], waits: float, whole: bool
) -> None:
    # More than the buffers between the two hold.
    huge = Metric(name="huge", kind="gauge", help="x" * 10_000_000)
    pages = ScrapeServer("127.0.0.1:0", [huge])
    metrics = Snapshot(target="prod", at=NOW, samples={"huge": (Sample(value=1.0),)})
    pages.show(metrics)
    address = pages.start()
    with connected(address, buffer=4_096) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        begun = client.recv(1)
        pass_time(clock, address, waits)
        answer = begun + until_hung_up(client)
    pages.stop()
    assert answer.endswith(text(metrics, [huge])) == whole
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("bound", ["MAX_CONNECTIONS", "MAX_PER_ADDRESS"])
def test_the_oldest_that_sends_nothing_makes_room(
    pages: ScrapeServer, clock: Clock, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(scrape, bound, 3)
    pages.show(ordinary())
    address = pages.start()
    with ExitStack() as held:
        oldest, *others = [held.enter_context(connected(address)) for _ in range(3)]
        assert get(address).status_code == 200
        assert until_hung_up(oldest) == b""
        for client in others:
            client.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
            assert b"healthy" in until_hung_up(client)


@pytest.mark.parametrize("bound", ["MAX_CONNECTIONS", "MAX_PER_ADDRESS"])
def test_no_more_are_answered_at_a_time_than_there_can_be(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(scrape, bound, 3)
    huge = Metric(name="huge", kind="gauge", help="x" * 10_000_000)
    pages = ScrapeServer("127.0.0.1:0", [huge])
    pages.show(Snapshot(target="prod", at=NOW, samples={"huge": (Sample(value=1.0),)}))
    address = pages.start()
    with ExitStack() as held:
        for _ in range(3):
            reader = held.enter_context(connected(address, buffer=4_096))
            reader.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            reader.recv(1)
        with connected(address) as another:
            assert until_hung_up(another) == b""
    eventually_answered(address)
    pages.stop()


def test_300_slow_connections_delay_no_scrape(pages: ScrapeServer, clock: Clock) -> None:
    """No time passes by the server's clock: nobody is hung up on for being late."""
    pages.show(ordinary())
    address = pages.start()
    with ExitStack() as held:
        for _ in range(300):
            held.enter_context(connected(address)).sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        assert get(address).status_code == 200


def test_it_serves_on_ipv6_and_under_a_name() -> None:
    for listen in ("[::1]:0", "localhost:0"):
        server = ScrapeServer(listen)
        address = server.start()
        try:
            assert get(address, "/-/healthy").status_code == 200
        finally:
            server.stop()


def test_it_can_be_stopped_and_started_at_the_same_port(pages: ScrapeServer) -> None:
    port = urlsplit(pages.start()).port
    pages.stop()
    again = ScrapeServer(f"127.0.0.1:{port}")
    try:
        assert get(again.start(), "/-/healthy").status_code == 200
    finally:
        again.stop()


def not_started(listen: str) -> str:
    with pytest.raises(ConfigError) as caught:
        ScrapeServer(listen).start()
    error = str(caught.value)
    assert error.startswith(f"metrics.listen: {listen}: ")
    assert "\n" not in error
    return error


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "Address already in use" in not_started(f"127.0.0.1:{other.getsockname()[1]}")


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        ("no-such-host.invalid:9464", ""),
        (f"{'a' * 64}.example:9464", ""),
        ("192.0.2.1:9464", "Cannot assign requested address"),
    ],
)
def test_an_address_that_is_not_this_machines_is_an_error(listen: str, reason: str) -> None:
    assert reason in not_started(listen)


def test_a_port_that_is_not_ours_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may listen everywhere, and in many containers everybody may.
    def forbidden(_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socketserver.TCPServer, "server_bind", forbidden)
    assert "Permission denied" in not_started("127.0.0.1:80")
