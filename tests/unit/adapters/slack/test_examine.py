"""Asking Slack about token, scopes and channels: everything is asked and nothing is posted."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from monitoring.adapters.slack.examine import examine
from monitoring.config import alert_settings as config
from monitoring.doctor.receivers import SlackChannel, Workspace

TOKEN = "xoxb-secret-token"
WHO = {"ok": True, "team": "Acme", "user": "watchdog"}
ID = "C0123456789"


def settings(server: HTTPServer, seconds: float = 5) -> config.Slack:
    return config.Slack(api_url=server.url_for("/api/"), timeout=timedelta(seconds=seconds))


def asked(server: HTTPServer, *channels: str, token: str = TOKEN, scopes: str | None = "chat:write") -> Workspace:
    headers = {"x-oauth-scopes": scopes} if scopes is not None else {}
    server.expect_request("/api/auth.test", method="POST").respond_with_json(WHO, headers=headers)
    found = examine(token, settings(server), channels)
    assert TOKEN not in repr(found)
    return found


def channel(server: HTTPServer, name: str, answer: dict[str, Any]) -> SlackChannel:
    server.expect_request("/api/conversations.info", method="POST").respond_with_json(answer)
    return asked(server, name).channels[name]


def refuses(word: str, **more: str) -> dict[str, Any]:
    return {"ok": False, "error": word, **more}


@pytest.mark.parametrize(
    ("header", "scopes"),
    [
        ("chat:write,channels:read, groups:history", {"chat:write", "channels:read", "groups:history"}),
        ("", set()),
        (None, None),
    ],
)
def test_who_the_bot_is_and_what_it_may_do(httpserver: HTTPServer, header: str | None, scopes: set[str] | None) -> None:
    found = asked(httpserver, scopes=header)
    assert (found.problem, found.team, found.bot) == ("", "Acme", "watchdog")
    assert found.scopes == scopes
    ((request, _),) = httpserver.log
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("word", ["invalid_auth", "token_revoked", "account_inactive", "a_new_word"])
def test_a_token_that_is_rejected(httpserver: HTTPServer, word: str) -> None:
    httpserver.expect_request("/api/auth.test").respond_with_json(refuses(word))
    found = examine(TOKEN, settings(httpserver), [ID])
    assert (found.problem, found.rejected, found.channels) == (f"Slack reports {word}", True, {})


@pytest.mark.parametrize(
    "answer",
    [
        Response("{}", 503),
        Response("<html>", 404),
        Response("<html>", 200),
        Response("[]", 200, content_type="application/json"),
        Response('{"ok": false, "error": "internal_error"}', 200, content_type="application/json"),
    ],
)
def test_a_slack_that_does_not_answer_says_nothing_of_the_token(httpserver: HTTPServer, answer: Response) -> None:
    httpserver.expect_request("/api/auth.test").respond_with_response(answer)
    found = examine(TOKEN, settings(httpserver), [])
    assert (bool(found.problem), found.rejected) == (True, False)
    assert "\n" not in found.problem


def test_a_slack_that_hangs(httpserver: HTTPServer) -> None:
    release = threading.Event()

    def hang(request: Request) -> Response:
        release.wait(60)
        return Response()

    httpserver.expect_request("/api/auth.test").respond_with_handler(hang)
    found = examine(TOKEN, settings(httpserver, 1), [])
    release.set()
    assert found.problem.endswith("did not answer within 1 s")
    assert not found.rejected


def test_what_is_no_token_is_sent_nowhere(httpserver: HTTPServer) -> None:
    found = asked(httpserver, token="xoxb-1\nX-Evil: yes")
    assert found.rejected
    assert httpserver.log == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"ok": True, "channel": {"id": ID, "is_member": True}}, SlackChannel(found=True, member=True)),
        (
            {"ok": True, "channel": {"id": ID, "is_private": True, "is_archived": True}},
            SlackChannel(found=True, private=True, archived=True),
        ),
        (refuses("channel_not_found"), SlackChannel(found=False)),
        (refuses("not_in_channel"), SlackChannel(found=True, private=True)),
        (
            refuses("missing_scope", needed="groups:read"),
            SlackChannel(
                found=None, problem="the token lacks the scope groups:read, which is needed to see the channel"
            ),
        ),
        (refuses("a_new_word"), SlackChannel(found=None, problem="Slack reports a_new_word")),
        ({"ok": True}, SlackChannel(found=None, problem="Slack's answer contains no channel")),
    ],
)
def test_a_channel_by_its_id(httpserver: HTTPServer, answer: dict[str, Any], expected: SlackChannel) -> None:
    assert channel(httpserver, ID, answer) == expected
    assert httpserver.log[-1][0].form["channel"] == ID


def listed(server: HTTPServer, answers: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Answer by the types and the cursor that are asked for."""

    def answer(request: Request) -> Response:
        key = (request.form["types"], request.form.get("cursor", ""))
        return Response(json.dumps(answers[key]), content_type="application/json")

    server.expect_request("/api/conversations.list", method="POST").respond_with_handler(answer)


def page(*rows: dict[str, Any], cursor: str = "") -> dict[str, Any]:
    return {"ok": True, "channels": list(rows), "response_metadata": {"next_cursor": cursor}}


BOTH, PUBLIC = "public_channel,private_channel", "public_channel"
OPS = {"name": "ops", "is_member": True}
SECRET = {"name": "secret", "is_member": True, "is_private": True}


def test_channels_by_name_over_several_pages(httpserver: HTTPServer) -> None:
    listed(httpserver, {(BOTH, ""): page(OPS, cursor="more"), (BOTH, "more"): page(SECRET)})
    found = asked(httpserver, "#ops", "secret", "nowhere").channels
    assert found == {
        "#ops": SlackChannel(found=True, member=True),
        "secret": SlackChannel(found=True, member=True, private=True),
        "nowhere": SlackChannel(found=False),
    }


def test_without_the_scope_for_private_channels_what_is_not_public_is_unknown(httpserver: HTTPServer) -> None:
    listed(httpserver, {(BOTH, ""): refuses("missing_scope", needed="groups:read"), (PUBLIC, ""): page(OPS)})
    found = asked(httpserver, "ops", "secret").channels
    assert found["ops"] == SlackChannel(found=True, member=True)
    assert found["secret"].found is None
    assert "groups:read" in found["secret"].problem


def test_without_any_scope_for_channels_their_names_are_unknown(httpserver: HTTPServer) -> None:
    refusal = refuses("missing_scope", needed="channels:read")
    listed(httpserver, {(BOTH, ""): refusal, (PUBLIC, ""): refusal})
    found = asked(httpserver, "ops").channels["ops"]
    assert found.found is None
    assert "channels:read" in found.problem
