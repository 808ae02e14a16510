"""Pushing to a Pushgateway: what is sent, and the error when it does not arrive."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pytest_httpserver import HTTPServer

from demo.stack import free_port
from monitoring.adapters.exporters.pushgateway import Pushgateway
from monitoring.errors import DeliveryError
from monitoring.metrics import catalog
from monitoring.metrics.snapshot import Snapshot
from tests.support.builders import NOW
from tests.support.metric_samples import ANOTHERS, gauges, large, ordinary
from tests.support.raw_server import raw_server

GROUP = "/metrics/job/prefect_watchdog/target/prod"
QUICK = timedelta(seconds=1)


def refused(address: str) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        Pushgateway(address, QUICK).publish(ordinary())
    error = str(caught.value)
    assert error.startswith(f"metrics.pushgateway: {address} ")
    assert "\n" not in error
    return caught.value


def test_it_puts_all_numbers_under_job_and_target(httpserver: HTTPServer) -> None:
    httpserver.expect_request(GROUP, method="PUT").respond_with_data("")
    Pushgateway(httpserver.url_for("/"), QUICK).publish(ordinary())
    ((request, _),) = httpserver.log
    assert request.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    pushed = {family.name for family in text_string_to_metric_families(request.get_data(as_text=True))}
    assert "prefect_watchdog_server_up" in pushed


def test_a_gateway_behind_a_path_is_found(httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/gateway{GROUP}", method="PUT").respond_with_data("")
    Pushgateway(httpserver.url_for("/gateway"), QUICK).publish(ordinary())
    assert len(httpserver.log) == 1


def test_other_definitions_are_pushed_too(httpserver: HTTPServer) -> None:
    httpserver.expect_request(GROUP, method="PUT").respond_with_data("")
    given = Snapshot(target="prod", at=NOW, samples={ANOTHERS.name: gauges("etl")})
    Pushgateway(httpserver.url_for("/"), QUICK, (*catalog.METRICS, ANOTHERS)).publish(given)
    ((request, _),) = httpserver.log
    assert 'prefect_flow_runs_total{flow_name="etl"} 0.0' in request.get_data(as_text=True)


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(301, True), (400, True), (404, True), (408, False), (429, False), (500, False), (503, False)],
)
def test_a_rejection_is_an_error_with_what_the_gateway_says(
    httpserver: HTTPServer, status: int, permanent: bool
) -> None:
    httpserver.expect_request(GROUP).respond_with_data(
        "pushed metrics are invalid\nor inconsistent", status=status, headers={"Location": "/elsewhere"}
    )
    error = refused(httpserver.url_for("").rstrip("/"))
    assert f"status {status}: pushed metrics are invalid or inconsistent" in str(error)
    assert error.permanent == permanent
    assert len(httpserver.log) == 1, "the next check tries again"


def test_nobody_at_the_address_is_an_error() -> None:
    error = refused(f"http://127.0.0.1:{free_port()}")
    assert "Connection refused" in str(error)
    assert "whether the gateway runs" in str(error)
    assert not error.permanent


@pytest.mark.parametrize(
    "address",
    [
        "http://no-such-host.invalid:9091",
        "http://127.0.0.1:99999",
        f"http://127.0.0.1:{'9' * 30}",
        "http://host:port",
        "http://[::1",
        "http://nul\0byte",
    ],
)
def test_an_address_that_leads_nowhere_is_an_error(address: str) -> None:
    assert "check the address" in str(refused(address))


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 two hundred\r\n\r\n"])
def test_something_else_at_the_address_is_an_error(answer: bytes) -> None:
    with raw_server(answer) as (address, _):
        assert "check the address" in str(refused(address))


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_gateway_that_sends_nothing_is_waited_for_as_long_as_configured(silent: str) -> None:
    error = refused(silent)
    assert "did not answer within 1s" in str(error)
    assert "metrics.timeout" in str(error)
    assert not error.permanent


def test_a_gateway_that_does_not_read_is_waited_for_no_longer(silent: str) -> None:
    # More than the buffers on the way hold.
    with pytest.raises(DeliveryError, match=r"metrics\.timeout"):
        Pushgateway(silent, QUICK).publish(large(2_000))
