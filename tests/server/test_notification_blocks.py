"""Notification blocks on a real server, and receivers that take, refuse, or are not there."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.blocks.notifications import (
    CustomWebhookNotificationBlock,
    MattermostWebhook,
    MicrosoftTeamsWebhook,
    SlackWebhook,
)
from prefect.blocks.system import Secret
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from demo.stack import Server, free_port
from monitoring.adapters.receivers.notification_block import SHORT, NotificationBlock
from monitoring.errors import DeliveryError
from monitoring.model.incident import Incident
from monitoring.model.outbox import Content, Delivery, MessageRef
from tests.support import samples
from tests.support.digests import digest_delivery
from tests.support.servers import without_server

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Apprise imports it.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]

#: Part of every address here, as of those that people have.
TOKEN = "T0PSECRET"


def delivery(count: int = 1) -> Delivery:
    name = "etl/nightly" if count == 1 else f"etl/{'a long name ' * 8}"
    one = samples.finding("failed", name, severity="critical", summary="failed 3 times in a row")
    incidents = tuple(
        Incident(finding=one, number=number, opened_at=samples.NOW, fired_at=samples.NOW)
        for number in range(1, count + 1)
    )
    content = Content(
        about="opened",
        target="prod",
        at=samples.NOW + timedelta(minutes=1),
        incidents=incidents,
        total=count,
        open=count,
        severity="critical",
        ui_url=samples.UI,
    )
    return Delivery(id="prod-1", kind="post", content=content, queued_at=samples.NOW)


def refused(reference: str, what: Delivery | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        NotificationBlock(reference).post(what or delivery(), None)
    error = caught.value
    assert "\n" not in str(error)
    assert reference in str(error)
    seen: BaseException | None = error
    while seen is not None:
        assert TOKEN not in f"{seen}{seen.__dict__}"
        seen = seen.__cause__
    return error


def webhook(address: str) -> str:
    """A custom webhook that sends subject and body as JSON."""
    text = {"subject": "{{subject}}", "body": "{{body}}"}
    CustomWebhookNotificationBlock(name="ops", url=address, json_data=text, timeout=60).save("ops", overwrite=True)
    return "custom-webhook/ops"


def by_apprise(address: str) -> str:
    """Apprise by any of its addresses: the Slack block hands on what is not Slack's."""
    SlackWebhook(url=address).save("any", overwrite=True)
    return "slack-webhook/any"


def json_address(httpserver: HTTPServer) -> str:
    return f"json://{httpserver.host}:{httpserver.port}/{TOKEN}"


def hook(httpserver: HTTPServer) -> str:
    return httpserver.url_for(f"/{TOKEN}")


def sent(httpserver: HTTPServer) -> list[str]:
    return [request.get_data(as_text=True) for request, _ in httpserver.log]


def test_a_custom_webhook_gets_subject_and_body(httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/{TOKEN}", method="POST").respond_with_data("ok")
    NotificationBlock(webhook(hook(httpserver))).post(delivery(), None)
    [(request, _)] = httpserver.log
    message: dict[str, str] = request.get_json()
    assert "etl/nightly" in message["subject"]
    assert "\n" not in message["subject"]
    assert "W-1" in message["body"]


def test_the_digest_reaches_a_notification_block(httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/{TOKEN}", method="POST").respond_with_data("ok")
    digest = digest_delivery(samples.digest(samples.bad()))
    NotificationBlock(webhook(hook(httpserver))).post(digest, None)
    [(request, _)] = httpserver.log
    message: dict[str, str] = request.get_json()
    assert "prod on 2026-03-10: Critical" in message["subject"]
    assert "etl/nightly" in message["body"]


def test_anything_that_apprise_speaks_to_gets_it(httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/{TOKEN}").respond_with_data("ok")
    NotificationBlock(by_apprise(json_address(httpserver))).post(delivery(), None)
    [text] = sent(httpserver)
    assert "W-1" in text
    assert "etl/nightly" in text


def test_mattermost_gets_it(httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/hooks/{TOKEN}").respond_with_data("ok")
    MattermostWebhook(hostname=httpserver.host, port=httpserver.port, token=TOKEN).save("ops", overwrite=True)
    NotificationBlock("mattermost-webhook/ops").post(delivery(), None)
    [text] = sent(httpserver)
    assert "etl/nightly" in text


@pytest.fixture
def teams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A receiver with a certificate, as Teams' block speaks to no other."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
    with HTTPServer(host="127.0.0.1", ssl_context=context) as server:
        yield server


def test_teams_gets_it(teams: HTTPServer) -> None:
    teams.expect_request("/workflows/flow1/triggers/manual/paths/invoke").respond_with_data("", status=202)
    address = f"https://127.0.0.1:{teams.port}/workflows/flow1/triggers/manual/paths/invoke"
    address += f"?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={TOKEN}"
    MicrosoftTeamsWebhook(url=address).save("data-team", overwrite=True)
    NotificationBlock("ms-teams-webhook/data-team").post(delivery(), None)
    [text] = sent(teams)
    assert "etl/nightly" in text


def test_it_is_sent_from_within_a_flow_and_from_within_a_running_loop(httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/{TOKEN}").respond_with_data("ok")
    custom, apprise = webhook(hook(httpserver)), by_apprise(json_address(httpserver))

    @flow
    def check() -> None:
        for reference in (custom, apprise):
            NotificationBlock(reference).post(delivery(), None)

    check()
    assert len(sent(httpserver)) == 2

    async def elsewhere() -> None:
        check.fn()

    asyncio.run(elsewhere())
    assert len(sent(httpserver)) == 4


@pytest.mark.parametrize("kind", ["custom", "apprise"])
@pytest.mark.parametrize(
    ("status", "permanent"), [(400, True), (404, True), (403, True), (429, False), (500, False), (503, False)]
)
def test_a_receiver_that_rejects_is_an_error(httpserver: HTTPServer, kind: str, status: int, permanent: bool) -> None:
    httpserver.expect_request(f"/{TOKEN}").respond_with_data("no", status=status)
    reference = webhook(hook(httpserver)) if kind == "custom" else by_apprise(json_address(httpserver))
    error = refused(reference)
    assert f"status {status}" in str(error)
    assert (error.permanent, error.outcome_unknown) == (permanent, False)
    assert len(sent(httpserver)) == 1, "it is tried once"


def test_an_address_that_only_leads_elsewhere_is_an_error(httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/{TOKEN}").respond_with_data("", status=302, headers={"Location": "/login"})
    error = refused(webhook(hook(httpserver)))
    assert error.permanent
    assert "status 302" in str(error)


@pytest.mark.parametrize("kind", ["custom", "apprise"])
def test_a_receiver_that_is_down_is_an_error(kind: str) -> None:
    down = f"127.0.0.1:{free_port()}/{TOKEN}"
    error = refused(webhook(f"http://{down}") if kind == "custom" else by_apprise(f"json://{down}"))
    assert not error.permanent
    assert "check its address" in str(error)
    # Apprise does not say how far it came.
    assert error.outcome_unknown == (kind == "apprise")


def test_a_receiver_that_takes_only_little_gets_the_beginning(httpserver: HTTPServer) -> None:
    def discord(request: Request) -> Response:
        return Response("", 204 if len(request.get_json()["body"]) <= 2_000 else 400)

    httpserver.expect_request(f"/{TOKEN}").respond_with_handler(discord)
    NotificationBlock(webhook(hook(httpserver))).post(delivery(count=15), None)
    [(_, first), (request, second)] = httpserver.log
    assert (first.status_code, second.status_code) == (400, 204)
    body = request.get_json()["body"]
    assert "W-1 " in body
    assert body.endswith("(shortened: the receiver accepts no more)")
    assert len(body) == SHORT


def test_a_slack_block_with_an_address_that_is_not_slacks_is_an_error(httpserver: HTTPServer) -> None:
    error = refused(by_apprise(hook(httpserver)))
    assert error.permanent
    assert "correct it" in str(error)
    assert sent(httpserver) == []


def test_a_block_that_does_not_exist_is_an_error() -> None:
    error = refused("slack-webhook/nobody-made-it")
    assert error.permanent
    assert "create it on the Prefect server" in str(error)


def test_a_block_of_a_type_that_is_not_installed_is_an_error(prefect_server: Server) -> None:
    made = prefect_server.request("POST", "/block_types/", {"name": "Pigeon", "slug": "pigeon"})
    fields = {"title": "Pigeon", "type": "object", "properties": {}, "block_type_slug": "pigeon"}
    schema = prefect_server.request("POST", "/block_schemas/", {"block_type_id": made["id"], "fields": fields})
    body = {"name": "ops", "data": {}, "block_type_id": made["id"], "block_schema_id": schema["id"]}
    prefect_server.request("POST", "/block_documents/", body)
    error = refused("pigeon/ops")
    assert error.permanent
    assert "install the package" in str(error)


def test_a_block_that_notifies_nobody_is_an_error() -> None:
    Secret(value=TOKEN).save("ops", overwrite=True)
    error = refused("secret/ops")
    assert error.permanent
    assert "is not a notification block" in str(error)


def test_a_block_whose_contents_are_rubbish_is_an_error(prefect_server: Server) -> None:
    block = CustomWebhookNotificationBlock(name="ops", url=f"http://127.0.0.1/{TOKEN}")
    document_id = block.save("ops", overwrite=True)
    body = {"data": {"url": f"http://{{{{{TOKEN}}}}}/"}, "merge_existing_data": True}
    prefect_server.request("PATCH", f"/block_documents/{document_id}", body)
    error = refused("custom-webhook/ops")
    assert error.permanent
    assert "correct it on its page under Blocks" in str(error)


def test_a_prefect_server_that_is_gone_is_a_temporary_problem() -> None:
    with without_server():
        error = refused("slack-webhook/ops")
    assert not error.permanent
    assert "cannot be read from the Prefect server" in str(error)


def test_no_address_reaches_a_log(
    httpserver: HTTPServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_request(f"/{TOKEN}").respond_with_data("ok")
    httpserver.expect_request(f"/refused/{TOKEN}").respond_with_data("no", status=500)
    good, bad = hook(httpserver), httpserver.url_for(f"/refused/{TOKEN}")
    # The receiver's own log is none of ours.
    caplog.set_level(logging.ERROR, "werkzeug")
    with caplog.at_level(logging.DEBUG):
        for address in (good, bad):
            for reference in (webhook(address), by_apprise(address), by_apprise(address.replace("http", "json"))):
                # Making the block may log as well, in a process in which Prefect has set up its logging.
                caplog.clear()
                capfd.readouterr()
                with suppress(DeliveryError):
                    NotificationBlock(reference).post(delivery(), None)
                assert TOKEN not in "".join([caplog.text, *capfd.readouterr()])


def test_an_update_is_sent_anew_and_nothing_is_ever_found(httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/{TOKEN}").respond_with_data("ok")
    block = NotificationBlock(webhook(hook(httpserver)))
    block.update(MessageRef(channel="C1", ts="1.2"), delivery())
    assert len(sent(httpserver)) == 1
    block.find(delivery(), None)
    assert len(sent(httpserver)) == 1
