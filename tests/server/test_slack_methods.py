"""What Slack's methods do with what is sent to them: a workspace examined, and a digest posted."""

from __future__ import annotations

import pytest

from monitoring.adapters.slack.digest import SlackChannel
from monitoring.adapters.slack.examine import examine
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from tests.support import samples
from tests.support.slack import SlackEmulator

REPORT = samples.digest(samples.bad())


def test_a_workspace_as_it_is(slack_emulator: SlackEmulator) -> None:
    settings = config.Slack(api_url=slack_emulator.base_url)
    by_id = slack_emulator.channel_id("alerts")
    found = examine(slack_emulator.token, settings, [by_id, "#digest", "nowhere", "C0NOWHERE99"])
    assert (found.problem, found.bot, found.scopes) == ("", "watchdog", None)
    assert {name: (channel.found, channel.member) for name, channel in found.channels.items()} == {
        by_id: (True, True),
        "#digest": (True, True),
        "nowhere": (False, False),
        "C0NOWHERE99": (False, False),
    }
    assert slack_emulator.messages("alerts") == []


def test_slack_takes_the_message_and_keeps_what_recognises_it(slack_emulator: SlackEmulator) -> None:
    digest = config.Slack(channel="digest", api_url=slack_emulator.base_url)
    SlackChannel(slack_emulator.token, digest).post_digest(REPORT)
    (message,) = slack_emulator.messages("digest")
    assert message["text"].startswith("🔴 prod on 2026-03-10: Critical.")
    assert message["blocks"][0]["text"]["text"] == "🔴 prod on 2026-03-10: Critical"
    assert message["metadata"]["event_payload"] == {"target": "prod", "day": "2026-03-10"}
    assert "<!channel>" not in str(message)


def test_slack_knows_no_such_channel(slack_emulator: SlackEmulator) -> None:
    nowhere = config.Slack(channel="nowhere", api_url=slack_emulator.base_url)
    with pytest.raises(DeliveryError, match="channel_not_found") as caught:
        SlackChannel(slack_emulator.token, nowhere).post_digest(REPORT)
    assert caught.value.permanent
    assert slack_emulator.token not in str(caught.value)
