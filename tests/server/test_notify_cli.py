"""``watchdog notify test``, with a Slack workspace, an incoming webhook and notification blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from pytest_httpserver import HTTPServer

from demo.stack import Server
from tests.support.command_line import CommandResult, watchdog
from tests.support.slack import WEBHOOK_CHANNEL, SlackEmulator

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

ROUTES = """\
alerts: {default: {channel: alerts, mentions: [here]}}
digest: {receiver: {channel: digest, mentions: [channel]}}
routes:
- {name: hooked, match: {check: late}, webhook_secret: test-hook}
- {name: blocked, match: {check: stale}, block: custom-webhook/test-block}
"""
BROKEN = """\
- {name: nowhere, match: {check: failed}, channel: no-such-channel}
- {name: gone, match: {check: crashed}, block: custom-webhook/gone}
- {name: refusing, match: {check: slow}, block: custom-webhook/refusing}
- {name: unhooked, match: {check: paused}, webhook_secret: no-hook}
"""


def block(url: str, name: str) -> None:
    CustomWebhookNotificationBlock(
        name=name, url=url, method="POST", json_data={"subject": "{{subject}}", "body": "{{body}}"}
    ).save(name, overwrite=True)


class Notify(Protocol):
    """Runs the command with a configuration."""

    def __call__(self, text: str, *words: str) -> CommandResult: ...


@pytest.fixture
def notify(prefect_server: Server, slack_emulator: SlackEmulator, tmp_path: Path, httpserver: HTTPServer) -> Notify:
    Secret(value=slack_emulator.webhook_url).save("test-hook", overwrite=True)
    httpserver.expect_request("/secret-part").respond_with_data("ok")
    block(httpserver.url_for("/secret-part"), "test-block")

    def run(text: str, *words: str) -> CommandResult:
        (tmp_path / "watchdog.yaml").write_text(text)
        env = {"WATCHDOG_SLACK__API_URL": slack_emulator.base_url, "WATCHDOG_SLACK_TOKEN": slack_emulator.token}
        return watchdog("notify", "test", *words, env=prefect_server.client_env(env), cwd=tmp_path)

    return run


def test_each_route_gets_a_notification_that_is_clearly_a_test(
    notify: Notify, slack_emulator: SlackEmulator, httpserver: HTTPServer
) -> None:
    done = notify(ROUTES)
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "default: arrived: accepted by Slack for the channel alerts",
        "hooked: arrived: accepted by the Slack webhook in the Secret block test-hook",
        "blocked: arrived: accepted by the receiver of the block custom-webhook/test-block",
        "watchdog-digest: arrived: accepted by Slack for the channel digest",
    ]
    for channel, route in (("alerts", "default"), (WEBHOOK_CHANNEL, "hooked"), ("digest", "watchdog-digest")):
        # What other tests have posted by the webhook stays there.
        shown = str(slack_emulator.messages(channel)[-1])
        assert "Test notification of the watchdog of prefect" in shown
        assert f"The notifications of the route {route} arrive here. Nothing is wrong." in shown
        assert "<!" not in shown, "nobody is mentioned"
    [(request, _)] = httpserver.log
    assert "Test notification" in request.json["subject"]
    assert "route blocked" in request.json["body"]


def test_what_does_not_arrive_is_named_with_the_reason_and_no_secret(
    notify: Notify, slack_emulator: SlackEmulator, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hunter2").respond_with_data("no", status=403)
    block(httpserver.url_for("/hunter2"), "refusing")
    done = notify(ROUTES + BROKEN)
    assert (done.status, done.stderr) == (3, "")
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert {route: line.split(": ")[0] for route, line in lines.items()} == {
        "default": "arrived",
        "hooked": "arrived",
        "blocked": "arrived",
        "nowhere": "not sent",
        "gone": "not sent",
        "refusing": "not sent",
        "unhooked": "not sent",
        "watchdog-digest": "arrived",
    }
    assert "channel_not_found" in lines["nowhere"]
    assert "there is no block custom-webhook/gone: create it" in lines["gone"]
    assert "(status 403): check its address" in lines["refusing"]
    assert "there is no Secret block 'no-hook': create it" in lines["unhooked"]
    for secret in (slack_emulator.token, slack_emulator.webhook_url, "hunter2", "secret-part"):
        assert secret not in done.text


def test_one_route_alone_and_one_that_there_is_not(notify: Notify, slack_emulator: SlackEmulator) -> None:
    done = notify(ROUTES, "--route", "default")
    assert done.stdout == "default: arrived: accepted by Slack for the channel alerts\n"
    assert slack_emulator.messages("digest") == []
    unknown = notify(ROUTES, "--route", "defualt")
    assert unknown.status == 3
    assert unknown.stderr == "--route: 'defualt': expected one of default, hooked, blocked, watchdog-digest\n"
    nothing = notify("late: {after: 5m}\n")
    assert nothing.status == 3
    assert nothing.stderr == "no route has a receiver: set slack.channel or alerts.default\n"
