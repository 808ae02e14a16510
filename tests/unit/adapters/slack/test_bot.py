"""What the bot asks of Slack: posts, replies, edits, and looks for what may have been posted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from monitoring.adapters.slack.bot import SlackBot
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from monitoring.model.outbox import MessageRef
from tests.support.alert_samples import ALERTS, delivery

OPENED = delivery(ALERTS["one failed"])
RESOLVED = delivery(ALERTS["one resolved"], id="prod-9", kind="reply", broadcast=True)
DETAILS = delivery(ALERTS["details"], id="prod-8", kind="reply")
AGAIN = delivery(ALERTS["back"], id="prod-10", kind="reply", broadcast=True)
THREAD = MessageRef(channel="C0123456789", ts="1.2")
POSTED = {"ok": True, "ts": "3.4", "channel": "C0123456789"}
MARK = {"event_type": "watchdog_alert", "event_payload": {"delivery": "prod-7", "target": "prod"}}


def bot(server: HTTPServer, channel: str = "#ops") -> SlackBot:
    receiver = config.Receiver(channel=channel, mentions=("here",))
    return SlackBot("xoxb-token", config.Slack(api_url=server.url_for("/api/")), receiver)


def answer(server: HTTPServer, method: str, body: dict[str, Any]) -> None:
    server.expect_request(f"/api/{method}").respond_with_json(body)


def asked(server: HTTPServer) -> list[tuple[str, dict[str, Any]]]:
    """What was asked: methods and arguments."""
    return [
        (request.path.removeprefix("/api/"), request.get_json() if request.is_json else request.form.to_dict())
        for request, _ in server.log
    ]


def test_a_message_is_posted_with_what_it_is_found_by(httpserver: HTTPServer) -> None:
    answer(httpserver, "chat.postMessage", POSTED)
    assert bot(httpserver).post(OPENED, None) == MessageRef(channel="C0123456789", ts="3.4")
    ((_, body),) = asked(httpserver)
    assert body["channel"] == "#ops"
    assert body["metadata"] == MARK
    assert body["text"].startswith("🔴 etl/nightly: failed 3 times in a row (prod) <!here>")
    assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)
    assert not {"thread_ts", "reply_broadcast"} & set(body)


@pytest.mark.parametrize(
    ("reply", "broadcast", "called"), [(DETAILS, False, False), (RESOLVED, True, False), (AGAIN, True, True)]
)
def test_a_reply_stands_in_its_thread_and_calls_people_only_for_what_is_wrong_and_seen_by_all(
    httpserver: HTTPServer, reply: Any, broadcast: bool, called: bool
) -> None:
    answer(httpserver, "chat.postMessage", POSTED)
    bot(httpserver).post(reply, THREAD)
    ((_, body),) = asked(httpserver)
    assert (body["channel"], body["thread_ts"], body["reply_broadcast"]) == ("C0123456789", "1.2", broadcast)
    assert ("<!here>" in json.dumps(body)) is called


def test_a_reply_that_few_see_mentions_nobody(httpserver: HTTPServer) -> None:
    answer(httpserver, "chat.postMessage", POSTED)
    bot(httpserver).post(AGAIN.model_copy(update={"broadcast": False}), THREAD)
    assert "<!here>" not in json.dumps(asked(httpserver))


def test_where_the_thread_is_gone_only_what_is_for_all_is_posted(httpserver: HTTPServer) -> None:
    def gone(request: Request) -> Response:
        lost = {"ok": False, "error": "thread_not_found"}
        return Response(json.dumps(lost if "thread_ts" in request.get_json() else POSTED), mimetype="application/json")

    httpserver.expect_request("/api/chat.postMessage").respond_with_handler(gone)
    assert bot(httpserver).post(DETAILS, THREAD) is None
    assert bot(httpserver).post(AGAIN, THREAD) == MessageRef(channel="C0123456789", ts="3.4")
    assert ["thread_ts" in body for _, body in asked(httpserver)] == [True, True, False]


def test_a_message_is_edited_in_place_and_mentions_nobody(httpserver: HTTPServer) -> None:
    answer(httpserver, "chat.update", POSTED)
    bot(httpserver).update(THREAD, OPENED)
    ((_, body),) = asked(httpserver)
    assert (body["channel"], body["ts"]) == ("C0123456789", "1.2")
    assert "<!here>" not in json.dumps(body)


@pytest.mark.parametrize("word", ["message_not_found", "edit_window_closed", "cant_update_message"])
def test_a_message_that_cannot_be_changed_any_more_is_left_alone(httpserver: HTTPServer, word: str) -> None:
    answer(httpserver, "chat.update", {"ok": False, "error": word})
    bot(httpserver).update(THREAD, OPENED)
    assert len(httpserver.log) == 1


def test_an_edit_that_is_rejected_otherwise_is_an_error(httpserver: HTTPServer) -> None:
    answer(httpserver, "chat.update", {"ok": False, "error": "is_archived"})
    with pytest.raises(DeliveryError, match="is_archived") as caught:
        bot(httpserver).update(THREAD, OPENED)
    assert caught.value.permanent


def history(*messages: dict[str, Any], cursor: str = "") -> dict[str, Any]:
    return {"ok": True, "messages": list(messages), "response_metadata": {"next_cursor": cursor}}


OTHERS: list[dict[str, Any]] = [
    {"ts": "1.0", "text": "hello"},
    {"ts": "1.1", "metadata": {"event_type": "watchdog_digest", "event_payload": {"target": "prod"}}},
    {"ts": "1.2", "metadata": {**MARK, "event_payload": {"delivery": "prod-6", "target": "prod"}}},
    {"ts": "1.3", "metadata": {**MARK, "event_payload": {"delivery": "prod-7", "target": "test"}}},
]
OURS = {"ts": "1.4", "metadata": MARK}


def test_what_was_posted_is_found_in_the_history(httpserver: HTTPServer) -> None:
    answer(httpserver, "conversations.history", history(*OTHERS, OURS))
    assert bot(httpserver, "C0123456789").find(OPENED, None) == MessageRef(channel="C0123456789", ts="1.4")
    ((_, body),) = asked(httpserver)
    assert body["include_all_metadata"] == "1"
    # A little before it was queued, which was at 2026-03-10 07:00 UTC.
    assert body["oldest"] == "1773125700.000000"


def test_what_was_not_posted_is_not_found(httpserver: HTTPServer) -> None:
    answer(httpserver, "conversations.history", history(*OTHERS))
    assert bot(httpserver, "C0123456789").find(OPENED, None) is None


def test_the_history_is_read_page_by_page(httpserver: HTTPServer) -> None:
    path = "/api/conversations.history"
    httpserver.expect_ordered_request(path).respond_with_json(history(*OTHERS, cursor="more"))
    httpserver.expect_ordered_request(path).respond_with_json(history(OURS))
    assert bot(httpserver, "C0123456789").find(OPENED, None) == MessageRef(channel="C0123456789", ts="1.4")
    assert [body.get("cursor", "") for _, body in asked(httpserver)] == ["", "more"]


def test_an_endless_history_is_given_up(httpserver: HTTPServer) -> None:
    answer(httpserver, "conversations.history", history(*OTHERS, cursor="more"))
    assert bot(httpserver, "C0123456789").find(OPENED, None) is None
    assert len(httpserver.log) == 10


def test_a_reply_is_looked_for_in_its_thread(httpserver: HTTPServer) -> None:
    answer(httpserver, "conversations.replies", history(*OTHERS, OURS))
    assert bot(httpserver).find(OPENED, THREAD) == MessageRef(channel="C0123456789", ts="1.4")
    ((_, body),) = asked(httpserver)
    assert (body["channel"], body["ts"]) == ("C0123456789", "1.2")


def channels(*names: str) -> dict[str, Any]:
    return {"ok": True, "channels": [{"id": f"C00000000{n}", "name": name} for n, name in enumerate(names)]}


@pytest.mark.parametrize("channel", ["ops", "#ops"])
def test_a_channel_by_name_is_looked_up_first(httpserver: HTTPServer, channel: str) -> None:
    answer(httpserver, "conversations.list", channels("dev", "ops"))
    answer(httpserver, "conversations.history", history(OURS))
    assert bot(httpserver, channel).find(OPENED, None) == MessageRef(channel="C000000001", ts="1.4")


def test_a_private_channel_needs_a_scope_of_its_own(httpserver: HTTPServer) -> None:
    def listed(request: Request) -> Response:
        private = request.form["types"] == "private_channel"
        body = channels("ops") if private else {"ok": False, "error": "missing_scope"}
        return Response(json.dumps(body), mimetype="application/json")

    httpserver.expect_request("/api/conversations.list").respond_with_handler(listed)
    answer(httpserver, "conversations.history", history(OURS))
    assert bot(httpserver).find(OPENED, None) == MessageRef(channel="C000000000", ts="1.4")


@pytest.mark.parametrize(
    ("listed", "read"),
    [
        ({"ok": False, "error": "missing_scope"}, history(OURS)),
        (channels("dev"), history(OURS)),
        (channels("ops"), {"ok": False, "error": "missing_scope"}),
        (channels("ops"), {"ok": False, "error": "not_in_channel"}),
        (channels("ops"), {"ok": False, "error": "internal_error"}),
        (channels("ops"), {}),
        ({"ok": True}, history(OURS)),
    ],
)
def test_what_cannot_be_seen_is_not_found_and_no_error(
    httpserver: HTTPServer, listed: dict[str, Any], read: dict[str, Any]
) -> None:
    answer(httpserver, "conversations.list", listed)
    answer(httpserver, "conversations.history", read)
    assert bot(httpserver).find(OPENED, None) is None


def test_a_server_that_is_down_has_no_history() -> None:
    settings = config.Slack(api_url="http://127.0.0.1:9/api/")
    assert SlackBot("xoxb-token", settings, config.Receiver(channel="#ops")).find(OPENED, None) is None
