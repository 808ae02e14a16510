"""Whatever goes wrong on the way to Slack: one request, one line that holds no secret, and what is sure."""

from __future__ import annotations

import logging
import socket
import threading
import traceback
from collections.abc import Callable
from datetime import timedelta

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from monitoring.adapters.slack.bot import SlackBot
from monitoring.adapters.slack.webhook import SlackWebhook
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from monitoring.notifications.ports import Notifier
from tests.support.alert_samples import ALERTS, delivery
from tests.support.raw_server import raw_server

SECRET = "xoxb-T0-B0-very-secret"
DELIVERY = delivery(ALERTS["one failed"])
RECEIVER = config.Receiver(channel="#ops")
POSTED = {"ok": True, "ts": "1.2", "channel": "C0123456789"}

Maker = Callable[..., Notifier]


def bot(address: str, timeout: float = 30) -> Notifier:
    return SlackBot(SECRET, settings(f"{address}/api/", timeout), RECEIVER)


def webhook(address: str, timeout: float = 30) -> Notifier:
    receiver = config.Receiver(webhook_secret="ops-webhook")
    return SlackWebhook(f"{address}/services/{SECRET}", settings("https://unused.example/", timeout), receiver)


def settings(address: str, timeout: float) -> config.Slack:
    return config.Slack(api_url=address, timeout=timedelta(seconds=timeout))


@pytest.fixture(params=[bot, webhook])
def make(request: pytest.FixtureRequest) -> Maker:
    maker: Maker = request.param
    return maker


@pytest.fixture
def reached(httpserver: HTTPServer, make: Maker) -> Notifier:
    return make(httpserver.url_for("").rstrip("/"))


def refused(messenger: Notifier) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        messenger.post(DELIVERY, None)
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    assert "\n" not in str(caught.value)
    return caught.value


def kind(error: DeliveryError) -> tuple[str, bool, timedelta | None]:
    return ("permanent" if error.permanent else "temporary", error.outcome_unknown, error.retry_after)


@pytest.mark.parametrize(
    ("status", "body", "outcome_unknown"),
    [
        (503, "upstream is down", False),
        (408, "too slow", False),
        (500, "oops", True),
        (502, "bad gateway", True),
        (504, "the gateway waited too long", True),
        (200, "<html>a proxy wants a password</html>", True),
        (200, "", True),
    ],
)
def test_what_may_pass_is_temporary_and_says_whether_it_may_have_been_posted(
    httpserver: HTTPServer, reached: Notifier, status: int, body: str, outcome_unknown: bool
) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_data(body, status=status)
    httpserver.expect_request(f"/services/{SECRET}").respond_with_data(body, status=status)
    assert kind(refused(reached)) == ("temporary", outcome_unknown, None)
    assert len(httpserver.log) == 1


def answers(httpserver: HTTPServer, make: Maker, *retry_after: str | None) -> None:
    """Answer 429 with each of these, and that it is posted after that."""
    path, body = ("/api/chat.postMessage", "") if make is bot else (f"/services/{SECRET}", "ok")
    for seconds in retry_after:
        headers = {"Retry-After": seconds} if seconds else {}
        httpserver.expect_ordered_request(path).respond_with_json(
            {"ok": False, "error": "ratelimited"}, status=429, headers=headers
        )
    if body:
        httpserver.expect_ordered_request(path).respond_with_data(body)
    else:
        httpserver.expect_ordered_request(path).respond_with_json(POSTED)


def test_a_short_429_is_waited_for_and_then_posted(httpserver: HTTPServer, make: Maker, slept: list[float]) -> None:
    answers(httpserver, make, "30")
    make(httpserver.url_for("").rstrip("/")).post(DELIVERY, None)
    assert slept == [30]
    assert len(httpserver.log) == 2


@pytest.mark.usefixtures("slept")
@pytest.mark.parametrize(
    ("waits", "requests", "retry_after"),
    [
        (["31"], 1, timedelta(seconds=31)),
        (["3600"], 1, timedelta(hours=1)),
        (["9" * 20], 1, timedelta(days=1)),
        (["0", "7"], 2, timedelta(seconds=7)),
        ([None, None], 2, None),
        (["soon", "later"], 2, None),
    ],
)
def test_a_429_that_lasts_says_when_to_try_again(
    httpserver: HTTPServer, make: Maker, waits: list[str | None], requests: int, retry_after: timedelta | None
) -> None:
    answers(httpserver, make, *waits)
    error = refused(make(httpserver.url_for("").rstrip("/")))
    assert kind(error) == ("temporary", False, retry_after)
    assert len(httpserver.log) == requests


def test_no_answer_in_time_may_have_been_posted(httpserver: HTTPServer, make: Maker) -> None:
    release = threading.Event()
    received = []

    def slow(request: Request) -> Response:
        received.append(request.data)
        release.wait(60)
        return Response("ok")

    for path in ("/api/chat.postMessage", f"/services/{SECRET}"):
        httpserver.expect_request(path).respond_with_handler(slow)
    error = refused(make(httpserver.url_for("").rstrip("/"), timeout=1))
    release.set()
    assert kind(error) == ("temporary", True, None)
    assert "within 1 s" in str(error)
    assert len(received) == 1


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"])
def test_a_connection_cut_after_the_request_may_have_posted_once(make: Maker, answer: bytes) -> None:
    with raw_server(answer) as (address, received):
        error = refused(make(address))
    assert kind(error) == ("temporary", True, None)
    assert len(received) == 1
    assert b"etl/nightly" in received[0]


def test_nobody_at_the_address_has_posted_nothing(make: Maker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert kind(refused(make(f"http://127.0.0.1:{port}"))) == ("temporary", False, None)


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("invalid_auth", "WATCHDOG_SLACK_TOKEN"),
        ("token_revoked", "WATCHDOG_SLACK_TOKEN"),
        ("missing_scope", "chat:write"),
        ("channel_not_found", "the route's channel"),
        ("not_in_channel", "invite the bot"),
        ("is_archived", "archive"),
        ("msg_blocks_too_long", "report it"),
        ("something_new", "docs.slack.dev"),
    ],
)
def test_what_slack_rejects_from_a_bot_is_permanent_and_says_what_to_do(
    httpserver: HTTPServer, word: str, advice: str
) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_json({"ok": False, "error": word})
    error = refused(bot(httpserver.url_for("").rstrip("/")))
    assert kind(error) == ("permanent", False, None)
    assert "#ops" in str(error)
    assert word in str(error)
    assert advice in str(error)
    assert len(httpserver.log) == 1


@pytest.mark.parametrize(("word", "outcome_unknown"), [("internal_error", True), ("service_unavailable", False)])
def test_what_slack_cannot_do_now_is_temporary(httpserver: HTTPServer, word: str, outcome_unknown: bool) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_json({"ok": False, "error": word})
    assert kind(refused(bot(httpserver.url_for("").rstrip("/")))) == ("temporary", outcome_unknown, None)


@pytest.mark.parametrize(
    ("status", "word", "advice"),
    [
        (404, "no_service", "make a new incoming webhook"),
        (404, "channel_not_found", "a channel that exists"),
        (410, "channel_is_archived", "archive"),
        (403, "action_prohibited", "workspace's settings"),
        (400, "invalid_blocks", "report it"),
        (404, "Not Found", "check the address"),
    ],
)
def test_what_slack_rejects_from_a_webhook_is_permanent_and_says_what_to_do(
    httpserver: HTTPServer, status: int, word: str, advice: str
) -> None:
    httpserver.expect_request(f"/services/{SECRET}").respond_with_data(word, status=status)
    error = refused(webhook(httpserver.url_for("").rstrip("/")))
    assert kind(error) == ("permanent", False, None)
    assert "Secret block ops-webhook" in str(error)
    assert advice in str(error)
    assert len(httpserver.log) == 1


@pytest.mark.parametrize(
    "address", ["", " ", SECRET, f"ftp://{SECRET}", f"https://a/{SECRET}\nx", f"https://a b/{SECRET}"]
)
def test_an_address_that_is_none_is_not_called_and_not_shown(address: str) -> None:
    receiver = config.Receiver(webhook_secret="ops-webhook")
    error = refused(SlackWebhook(address, config.Slack(), receiver))
    assert error.permanent
    assert "https://" in str(error)


@pytest.mark.parametrize("token", ["", f"{SECRET}\nx", f"{SECRET} x", f"{SECRET}é"])
def test_a_token_that_is_none_is_not_sent_and_not_shown(token: str) -> None:
    error = refused(SlackBot(token, config.Slack(), RECEIVER))
    assert error.permanent
    assert "WATCHDOG_SLACK_TOKEN" in str(error)


def test_no_secret_is_logged(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), raw_server(b"") as (address, _):
        refused(make(address))
    assert SECRET not in caplog.text


def test_a_bot_without_a_channel_says_what_to_set() -> None:
    error = refused(SlackBot(SECRET, config.Slack(), config.Receiver()))
    assert error.permanent
    assert "slack.channel" in str(error)
