"""Alerts in a Slack workspace: posted, changed, replied to, found again, and by a webhook."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from monitoring.adapters.slack.bot import SlackBot
from monitoring.adapters.slack.webhook import SlackWebhook
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from monitoring.model.outbox import Delivery, MessageRef
from tests.support.alert_samples import ALERTS, FAILED, content, delivery, resolved
from tests.support.slack import WEBHOOK_CHANNEL, SlackEmulator

MENTIONS = ("here", "U0ANA")


@pytest.fixture
def bot(slack_emulator: SlackEmulator) -> SlackBot:
    return bot_for(slack_emulator, "alerts")


def bot_for(slack: SlackEmulator, channel: str) -> SlackBot:
    receiver = config.Receiver(channel=channel, mentions=MENTIONS)
    return SlackBot(slack.token, config.Slack(api_url=slack.base_url), receiver)


def delivery_of(name: str, number: int, *, broadcast: bool = False) -> Delivery:
    now = datetime.now(timezone.utc)
    return delivery(ALERTS[name], id=f"prod-{number}", broadcast=broadcast, queued_at=now)


def posted(bot: SlackBot, wanted: Delivery, thread: MessageRef | None = None) -> MessageRef:
    message = bot.post(wanted, thread)
    assert message is not None
    return message


def test_every_alert_is_taken_and_found_again(slack_emulator: SlackEmulator, bot: SlackBot) -> None:
    deliveries = [delivery_of(name, number) for number, name in enumerate(ALERTS)]
    stands = [posted(bot, delivery) for delivery in deliveries]
    assert len(slack_emulator.messages("alerts")) == len(ALERTS)
    assert [bot.find(delivery, None) for delivery in deliveries] == stands
    assert {place.channel for place in stands} == {slack_emulator.channel_id("alerts")}


def test_an_incident_is_one_message_with_a_thread(slack_emulator: SlackEmulator, bot: SlackBot) -> None:
    message = posted(bot, delivery_of("one failed", 1))
    posted(bot, delivery_of("details", 2), message)
    bot.update(message, delivery(content("opened", resolved(FAILED)), id="prod-3", kind="update"))
    posted(bot, delivery_of("one resolved", 4, broadcast=True), message)
    (shown,) = slack_emulator.messages("alerts")
    assert shown["text"] == "✅ etl/nightly (failed): resolved after 3 h, a run completed (prod)"
    assert shown["blocks"][0]["text"]["text"] == "✅ etl/nightly (failed): resolved after 3 h, a run completed"
    assert "<!here>" not in str(shown)
    (_, details, reply) = slack_emulator.replies("alerts", message.ts)
    assert details["text"] == "Details of W-12 (prod)"
    assert "ValueError: no rows in orders_2026_03_09" in str(details["blocks"])
    assert not details.get("reply_broadcast")
    assert reply["reply_broadcast"] is True


def test_a_reply_is_found_again_in_its_thread_and_nowhere_else(slack_emulator: SlackEmulator, bot: SlackBot) -> None:
    message, other = posted(bot, delivery_of("one failed", 1)), posted(bot, delivery_of("a pool", 2))
    details = delivery_of("details", 3)
    assert bot.find(details, message) is None
    stands = posted(bot, details, message)
    assert bot.find(details, message) == stands
    assert bot.find(details, other) is None


def test_a_message_that_somebody_deleted_is_no_trouble(slack_emulator: SlackEmulator, bot: SlackBot) -> None:
    message = posted(bot, delivery_of("one failed", 1))
    slack_emulator.call("chat.delete", channel=message.channel, ts=message.ts)
    bot.update(message, delivery_of("one resolved", 2))
    assert slack_emulator.messages("alerts") == []


def test_a_channel_may_be_given_by_its_id(slack_emulator: SlackEmulator) -> None:
    by_id = bot_for(slack_emulator, slack_emulator.channel_id("alerts"))
    wanted = delivery_of("one failed", 1)
    stands = posted(by_id, wanted)
    assert by_id.find(wanted, None) == stands
    assert len(slack_emulator.messages("alerts")) == 1


def test_a_channel_that_is_not_there_is_permanent(slack_emulator: SlackEmulator) -> None:
    with pytest.raises(DeliveryError, match="channel_not_found") as caught:
        bot_for(slack_emulator, "nowhere").post(delivery_of("one failed", 1), None)
    assert caught.value.permanent


def test_a_webhook_says_all_in_messages_of_their_own(slack_emulator: SlackEmulator) -> None:
    receiver = config.Receiver(webhook_secret="ops-webhook", mentions=MENTIONS)
    webhook = SlackWebhook(slack_emulator.webhook_url, config.Slack(), receiver)
    before = len(slack_emulator.messages(WEBHOOK_CHANNEL))
    webhook.post(delivery_of("one failed", 1), None)
    webhook.post(delivery_of("one resolved", 2), None)
    webhook.update(MessageRef(channel="C1", ts="1.2"), delivery_of("one failed", 3))
    opened, resolved, changed = slack_emulator.messages(WEBHOOK_CHANNEL)[before:]
    assert opened["text"] == "🔴 etl/nightly: failed 3 times in a row (prod) <!here> <@U0ANA>"
    assert "Observed: 3 runs in a row failed" in str(opened["blocks"])
    assert resolved["text"] == "✅ reports/daily (late): resolved after 4 h, a run completed (prod)"
    assert changed["text"] == "🔴 etl/nightly: failed 3 times in a row (prod)"
