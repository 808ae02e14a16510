"""Sends messages by a Slack incoming webhook, which can only post: no edits, no threads, no history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from monitoring.adapters.slack.client import delivery_errors, no_answer, retry_after, webhook_client
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from monitoring.messages.delivery_message import delivery_message
from monitoring.messages.slack_blocks import slack_message
from monitoring.model.outbox import Delivery, MessageRef

_NEW_WEBHOOK = "make a new incoming webhook and put its address into the Secret block"
#: Slack's error codes in answers with status 4xx and 5xx, and what to do about them:
#: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
_PERMANENT = {
    "no_service": _NEW_WEBHOOK,
    "no_service_id": _NEW_WEBHOOK,
    "no_team": _NEW_WEBHOOK,
    "team_disabled": "make an incoming webhook in an active workspace",
    "invalid_token": "put the whole address of the incoming webhook into the Secret block",
    "no_active_hooks": _NEW_WEBHOOK,
    "channel_not_found": "make an incoming webhook for a channel that exists",
    "channel_is_archived": "make an incoming webhook for another channel, or unarchive this channel",
    "action_prohibited": "allow the app to post in the channel, in the workspace's settings",
    "posting_to_general_channel_denied": "make an incoming webhook for another channel",
    "invalid_payload": "this is a bug in the watchdog: please report it",
    "invalid_blocks": "this is a bug in the watchdog: please report it",
}


@dataclass
class SlackWebhook:
    """An incoming webhook of Slack's, as ``ports.Notifier``."""

    #: A secret: it stands in no error and in no log.
    url: str = field(repr=False)
    settings: config.Slack
    receiver: config.Receiver

    def post(self, delivery: Delivery, thread: MessageRef | None) -> None:
        """Post a message; a reply is a message of its own."""
        self._post(delivery, self.receiver.mentions)

    def update(self, message: MessageRef, delivery: Delivery) -> None:
        """Post the current state as a new message: the old message is from a bot that the route used before."""
        self._post(delivery, ())

    def find(self, delivery: Delivery, thread: MessageRef | None) -> None:
        """Find nothing: a webhook cannot read messages."""

    def _post(self, delivery: Delivery, mentions: Sequence[str]) -> None:
        where = f"the Slack webhook in the Secret block {self.receiver.webhook_secret}"
        client = webhook_client(self.url, self.settings)
        rendered = slack_message(delivery_message(delivery, whole=True), mentions)
        with delivery_errors("a message", where, self.settings.timeout):
            answer = client.send(text=rendered.text, blocks=rendered.blocks, unfurl_links=False, unfurl_media=False)
        body = str(answer.body).strip()
        if body in _PERMANENT:
            raise DeliveryError(f"{where} rejects a message ({body}): {_PERMANENT[body]}", permanent=True)
        if answer.status_code != 200 or body != "ok":
            raise no_answer(where, answer.status_code, retry_after(answer.headers))
