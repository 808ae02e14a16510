"""The dead-man's switch: pinged after every check, in healthchecks.io's way, and its address shown to nobody."""

from __future__ import annotations

import logging
import socket
from datetime import timedelta

import pytest
from pytest_httpserver import HTTPServer

from monitoring.adapters.receivers import ping
from monitoring.adapters.receivers.ping import HttpPing
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from monitoring.messages.markdown import markdown_page
from monitoring.messages.report_messages import health_message
from tests.support import samples

SECRET = "5f0c2d1e-secret"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ping, "WAITS", (timedelta(0), timedelta(0)))


def switch(server: HTTPServer, query: str = "") -> HttpPing:
    return HttpPing(server.url_for(f"/ping/{SECRET}") + query, config.Ping(timeout=timedelta(seconds=30)))


def refused(ping: HttpPing, caplog: pytest.LogCaptureFixture) -> DeliveryError:
    with caplog.at_level(logging.DEBUG), pytest.raises(DeliveryError) as caught:
        ping.ping(samples.healthy())
    # The test's own server logs what it is asked.
    logged = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    assert SECRET not in "".join([str(caught.value), *logged])
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_check_that_saw_everything_pings_with_its_summary(
    httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    httpserver.expect_request(f"/ping/{SECRET}", method="POST").respond_with_data("OK")
    with caplog.at_level(logging.DEBUG):
        switch(httpserver).ping(samples.bad())
    assert [record for record in caplog.records if SECRET in record.getMessage() and record.name != "werkzeug"] == []
    ((request, _),) = httpserver.log
    assert request.get_data(as_text=True) == markdown_page(health_message(samples.bad()))


@pytest.mark.parametrize("query", ["", "?rid=1&create=1"])
def test_a_check_that_did_not_see_everything_says_fail(httpserver: HTTPServer, query: str) -> None:
    httpserver.expect_request(f"/ping/{SECRET}/fail", method="POST").respond_with_data("OK")
    switch(httpserver, query).ping(samples.incomplete())
    ((request, _),) = httpserver.log
    assert request.query_string == query.lstrip("?").encode()
    assert "page 3 of 9" in request.get_data(as_text=True)


@pytest.mark.parametrize("query", ["", "?rid=1&create=1"])
def test_a_check_that_begins_says_so_with_nothing_more(httpserver: HTTPServer, query: str) -> None:
    httpserver.expect_request(f"/ping/{SECRET}/start", method="POST").respond_with_data("OK")
    switch(httpserver, query).start()
    ((request, _),) = httpserver.log
    assert (request.query_string, request.get_data()) == (query.lstrip("?").encode(), b"")


def test_a_start_is_tried_once_so_that_the_check_begins(httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/ping/{SECRET}/start").respond_with_data("", status=503)
    with pytest.raises(DeliveryError, match=r"in 1 try \(status 503\)"):
        switch(httpserver).start()
    assert len(httpserver.log) == 1


def test_the_body_stays_within_what_is_kept(httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/ping/{SECRET}/fail", method="POST").respond_with_data("OK")
    switch(httpserver).ping(samples.crowd(2_000))
    ((request, _),) = httpserver.log
    assert len(request.get_data()) == ping.MAX_BYTES


def test_a_passing_fault_is_retried(httpserver: HTTPServer) -> None:
    for status in (503, 429, 200):
        httpserver.expect_ordered_request(f"/ping/{SECRET}").respond_with_data("", status=status)
    switch(httpserver).ping(samples.healthy())
    assert len(httpserver.log) == 3


def test_a_lasting_fault_is_temporary_and_retried_within_bounds(
    httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    httpserver.expect_request(f"/ping/{SECRET}").respond_with_data("", status=503)
    error = refused(switch(httpserver), caplog)
    assert not error.permanent
    assert "status 503" in str(error)
    assert len(httpserver.log) == 3


@pytest.mark.parametrize("status", [301, 404, 409])
def test_a_refusal_is_permanent_and_not_retried(
    httpserver: HTTPServer, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    httpserver.expect_request(f"/ping/{SECRET}").respond_with_data("", status=status)
    error = refused(switch(httpserver), caplog)
    assert error.permanent
    assert "WATCHDOG_PING_URL" in str(error)
    assert len(httpserver.log) == 1


def test_nobody_at_the_address_is_temporary(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = refused(HttpPing(f"http://127.0.0.1:{port}/{SECRET}", config.Ping()), caplog)
    assert not error.permanent
    assert "ConnectionRefusedError" in str(error)


@pytest.mark.parametrize(
    "url",
    ["", f"ftp://host/{SECRET}", f"https://[{SECRET}", f"https://host/{SECRET}\0x", f"https://h/a {SECRET}", "hc-ping"],
)
def test_an_address_that_is_none(caplog: pytest.LogCaptureFixture, url: str) -> None:
    error = refused(HttpPing(url, config.Ping()), caplog)
    assert error.permanent
    assert "https://" in str(error)
