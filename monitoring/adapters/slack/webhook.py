"""Sends messages by a Slack incoming webhook, which posts and nothing else: no edits, no threads, no history."""

from __future__ import annotations

from collections.abc import Sequence

from slack_sdk.webhook import WebhookResponse

from monitoring.adapters.slack.client import asking, no_answer, retry_after, webhook_client
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from monitoring.messages.delivery_message import delivery_message
from monitoring.messages.slack_blocks import slack_message
from monitoring.model.outbox import Delivery, MessageRef

_NEW_WEBHOOK = "make a new incoming webhook and put its address into the Secret block"
#: Words of Slack's in answers with a status of 4xx and 5xx, and what to do about them:
#: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
_PERMANENT = {
    "no_service": _NEW_WEBHOOK,
    "no_service_id": _NEW_WEBHOOK,
    "no_team": _NEW_WEBHOOK,
    "team_disabled": "make an incoming webhook in a workspace that is in use",
    "invalid_token": "put the whole address of the incoming webhook into the Secret block",
    "no_active_hooks": _NEW_WEBHOOK,
    "channel_not_found": "make an incoming webhook for a channel that exists",
    "channel_is_archived": "make an incoming webhook for another channel, or take this one out of the archive",
    "action_prohibited": "let the app post in the channel, in the workspace's settings",
    "posting_to_general_channel_denied": "make an incoming webhook for another channel",
    "invalid_payload": "this is a fault of the watchdog: please report it",
    "invalid_blocks": "this is a fault of the watchdog: please report it",
}


class SlackWebhook:
    """An incoming webhook of Slack's, as ``ports.Notifier``."""

    def __init__(self, url: str, settings: config.Slack, receiver: config.Receiver) -> None:
        """Prepare to post; nothing is sent yet.

        Args:
            url: The webhook's address, a secret: it stands in no error and in no log.
            settings: The time-out.
            receiver: The name of the Secret block, and mentions.
        """
        self._url = url
        self._settings = settings
        self._mentions = receiver.mentions
        self._where = f"the Slack webhook in the Secret block {receiver.webhook_secret}"

    def post(self, delivery: Delivery, thread: MessageRef | None) -> None:
        """Post a message; what belongs into a thread is one, too."""
        self._say(delivery, self._mentions)

    def update(self, message: MessageRef, delivery: Delivery) -> None:
        """Say in a new message how things stand: the old one is from a bot that the route had before."""
        self._say(delivery, ())

    def find(self, delivery: Delivery, thread: MessageRef | None) -> None:
        """A webhook cannot look."""

    def _say(self, delivery: Delivery, mentions: Sequence[str]) -> None:
        client = webhook_client(self._url, self._settings)
        said = slack_message(delivery_message(delivery, whole=True), mentions)
        with asking("a message", self._where, self._settings.timeout):
            self._took(client.send(text=said.text, blocks=said.blocks, unfurl_links=False, unfurl_media=False))

    def _took(self, answer: WebhookResponse) -> None:
        """Make sure that the message was taken.

        Raises:
            DeliveryError: It was not.
        """
        body = str(answer.body).strip()
        if answer.status_code == 200 and body == "ok":
            return
        if body in _PERMANENT:
            raise DeliveryError(f"{self._where} refuses a message ({body}): {_PERMANENT[body]}", permanent=True)
        raise no_answer(self._where, answer.status_code, retry_after(answer.headers))
