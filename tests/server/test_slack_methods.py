"""What Slack's methods do with what is sent to them: a workspace examined, and a digest posted."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from monitoring.adapters.slack.bot import SlackBot
from monitoring.adapters.slack.examine import examine
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from tests.support import samples
from tests.support.digests import digest_delivery
from tests.support.slack import SlackEmulator

DIGEST = digest_delivery(samples.digest(samples.bad()))


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


def bot(slack: SlackEmulator, channel: str) -> SlackBot:
    settings = config.Slack(api_url=slack.base_url)
    return SlackBot(slack.token, settings, config.Receiver(channel=channel))


def test_slack_takes_the_digest_and_keeps_what_recognises_it(slack_emulator: SlackEmulator) -> None:
    digest = bot(slack_emulator, "digest")
    assert digest.find(DIGEST, None) is None
    posted = digest.post(DIGEST, None)
    (message,) = slack_emulator.messages("digest")
    assert message["text"].startswith("🔴 prod on 2026-03-10: Critical.")
    assert message["blocks"][0]["text"]["text"] == "🔴 prod on 2026-03-10: Critical"
    assert message["metadata"]["event_type"] == "watchdog_digest"
    payload = {"delivery": "prod-digest-2026-03-10", "target": "prod", "day": "2026-03-10"}
    assert message["metadata"]["event_payload"] == payload
    assert "<!channel>" not in str(message)
    now = DIGEST.model_copy(update={"queued_at": datetime.now(timezone.utc)})
    assert digest.find(now, None) == posted


def test_slack_knows_no_such_channel(slack_emulator: SlackEmulator) -> None:
    with pytest.raises(DeliveryError, match="channel_not_found") as caught:
        bot(slack_emulator, "nowhere").post(DIGEST, None)
    assert caught.value.permanent
    assert slack_emulator.token not in str(caught.value)
