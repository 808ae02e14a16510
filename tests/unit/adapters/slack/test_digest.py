"""Posting the digest to Slack: once, and with one clear line when it fails."""

from __future__ import annotations

import logging
import socket
import threading
from datetime import timedelta

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from monitoring.adapters.slack.bot import SlackBot
from monitoring.adapters.slack.webhook import SlackWebhook
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from tests.support import samples
from tests.support.digests import digest_delivery
from tests.support.raw_server import raw_server

TOKEN = "xoxb-secret-token"
DIGEST = digest_delivery(samples.digest(samples.bad()))
OK = {"ok": True, "ts": "1.2", "channel": "C1"}


def channel(server: HTTPServer, token: str = TOKEN, timeout: float = 30) -> SlackBot:
    return bot(server.url_for("/api/"), token, timeout)


def bot(address: str, token: str = TOKEN, timeout: float = 30) -> SlackBot:
    settings = config.Slack(api_url=address, timeout=timedelta(seconds=timeout))
    return SlackBot(token, settings, config.Receiver(channel="#ops"))


def refused(slack: SlackBot) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        slack.post(DIGEST, None)
    message = str(caught.value)
    assert "\n" not in message
    assert TOKEN not in message
    # A traceback shows what an error came from; that one may hold headers.
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


def test_the_digest_is_posted_once_with_what_recognises_it(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_json(OK)
    channel(httpserver, token=f" {TOKEN}\n").post(DIGEST, None)
    ((request, _),) = httpserver.log
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    body = request.get_json()
    assert body["channel"] == "#ops"
    assert body["text"].startswith("🔴 prod on 2026-03-10: Critical.")
    assert body["blocks"][0]["type"] == "header"
    assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)
    assert body["metadata"] == {
        "event_type": "watchdog_digest",
        "event_payload": {"delivery": "prod-digest-2026-03-10", "target": "prod", "day": "2026-03-10"},
    }


def test_a_webhook_gets_the_digest_too(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data("ok")
    receiver = config.Receiver(webhook_secret="daily", mentions=("here",))
    SlackWebhook(httpserver.url_for("/hook"), config.Slack(), receiver).post(DIGEST, None)
    ((request, _),) = httpserver.log
    body = request.get_json()
    assert body["text"].startswith("🔴 prod on 2026-03-10: Critical.")
    assert body["blocks"][0]["type"] == "header"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("invalid_auth", "WATCHDOG_SLACK_TOKEN"),
        ("token_revoked", "WATCHDOG_SLACK_TOKEN"),
        ("missing_scope", "chat:write"),
        ("channel_not_found", "slack.channel"),
        ("not_in_channel", "invite the bot"),
        ("is_archived", "slack.channel"),
        ("invalid_blocks", "report it"),
        ("msg_blocks_too_long", "report it"),
        ("something_new", "docs.slack.dev"),
    ],
)
def test_a_rejection_is_permanent_and_says_what_to_do(httpserver: HTTPServer, code: str, advice: str) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_json({"ok": False, "error": code})
    error = refused(channel(httpserver))
    assert error.permanent
    assert code in str(error)
    assert advice in str(error)
    assert len(httpserver.log) == 1


def test_a_429_is_waited_for_and_then_posted(httpserver: HTTPServer, slept: list[float]) -> None:
    httpserver.expect_ordered_request("/api/chat.postMessage").respond_with_json(
        {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "30"}
    )
    httpserver.expect_ordered_request("/api/chat.postMessage").respond_with_json(OK)
    channel(httpserver).post(DIGEST, None)
    assert slept == [30]
    assert len(httpserver.log) == 2


@pytest.mark.parametrize(("after", "requests"), [("0", 2), ("86400", 1)])
def test_a_429_that_lasts_is_temporary_and_waited_for_within_bounds(
    httpserver: HTTPServer, after: str, requests: int
) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_json(
        {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": after}
    )
    error = refused(channel(httpserver))
    assert not error.permanent
    assert "ratelimited" in str(error)
    assert len(httpserver.log) == requests


@pytest.mark.parametrize(
    ("body", "status", "permanent"),
    [
        ("upstream is down", 503, False),
        ('{"ok": false, "error": "service_unavailable"}', 503, False),
        ('{"ok": false, "error": "internal_error"}', 200, False),
        ("<html>a proxy</html>", 200, False),
        ("[]", 200, False),
        ("[1]", 200, False),
        ("{}", 200, False),
        ("", 200, False),
        ("not here", 404, True),
    ],
)
def test_an_answer_that_is_none(httpserver: HTTPServer, body: str, status: int, permanent: bool) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_data(body, status=status)
    assert refused(channel(httpserver)).permanent == permanent
    assert len(httpserver.log) == 1


def test_no_answer_in_time_is_temporary_and_says_that_it_may_have_been_posted(httpserver: HTTPServer) -> None:
    release = threading.Event()

    def slow(_: Request) -> Response:
        release.wait(60)
        return Response("{}")

    httpserver.expect_request("/api/chat.postMessage").respond_with_handler(slow)
    error = refused(channel(httpserver, timeout=1))
    release.set()
    assert not error.permanent
    assert "may have been posted" in str(error)
    assert "within 1 s" in str(error)


def test_a_cut_connection_is_temporary_and_posts_once() -> None:
    with raw_server(b"") as (address, received):
        error = refused(bot(f"{address}/api/"))
    assert not error.permanent
    assert len(received) == 1


def test_nobody_at_the_address_is_temporary() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = refused(bot(f"http://127.0.0.1:{port}/api/"))
    assert not error.permanent
    assert f"127.0.0.1:{port}" in str(error)


@pytest.mark.parametrize("token", ["", "xoxb-secret\n-token", "xoxb secret", "xoxb-sécret"])
def test_a_token_that_is_none_is_not_sent_and_not_shown(
    httpserver: HTTPServer, caplog: pytest.LogCaptureFixture, token: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        error = refused(channel(httpserver, token=token))
    assert error.permanent
    assert not token or token not in str(error) + caplog.text
    assert httpserver.log == []


def test_a_failure_is_raised_once_and_not_logged_besides(
    httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_data("no", status=503)
    with caplog.at_level(logging.DEBUG):
        refused(channel(httpserver))
    assert TOKEN not in caplog.text
    assert [record for record in caplog.records if "slack" in record.name] == []


def test_without_a_channel_nothing_is_sent() -> None:
    assert refused(SlackBot(TOKEN, config.Slack(), config.Receiver())).permanent
