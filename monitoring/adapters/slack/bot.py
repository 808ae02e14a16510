"""Sends messages to a Slack channel as a bot, edits them in place, and replies with details in their threads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from monitoring.adapters.slack.client import code, delivery_errors, web_client
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from monitoring.logs import get_logger
from monitoring.messages.delivery_message import delivery_message
from monitoring.messages.slack_blocks import slack_message
from monitoring.model.outbox import Delivery, MessageRef

#: Mark our messages in a channel's history, so that a message whose delivery outcome is unknown can be found.
ALERT_EVENT_TYPE, DIGEST_EVENT_TYPE = "watchdog_alert", "watchdog_digest"

_log = get_logger(__name__)

#: The longest difference between Slack's clock and ours.
_CLOCKS_APART = timedelta(minutes=5)
_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{8,}")
#: Rows per page and the most pages that are read, of messages and of channels.
_ROWS = 200
_MAX_PAGES = 10
#: Why a message can never be changed (https://docs.slack.dev/reference/methods/chat.update#errors): it was deleted, it
#: is too old for the workspace's rules, or it was posted before the app was reinstalled.
_UNCHANGEABLE = {"message_not_found", "edit_window_closed", "cant_update_message"}
#: Errors of a reply to a deleted message.
_NO_THREAD = {"thread_not_found", "cannot_reply_to_message", "message_not_found"}


@dataclass
class SlackBot:
    """A Slack channel, as ``ports.Notifier``.

    The token needs the scope ``chat:write``. With ``channels:history`` (``groups:history`` for private channels),
    posted messages can be found again; in a channel configured by name, this needs ``channels:read`` (``groups:read``),
    too.
    """

    token: str = field(repr=False)
    settings: config.Slack
    receiver: config.Receiver

    def post(self, delivery: Delivery, thread: MessageRef | None) -> MessageRef | None:
        """Post a message, or reply in a thread. If the thread is gone, post a broadcast reply as a new message."""
        with self._client() as client:
            try:
                return _reference(self._post(client, delivery, thread))
            except SlackApiError as error:
                if thread is None or code(error) not in _NO_THREAD:
                    raise
            # The message was deleted, so its thread is not wanted; only a broadcast still matters.
            return _reference(self._post(client, delivery, None)) if delivery.broadcast else None

    def update(self, message: MessageRef, delivery: Delivery) -> None:
        """Edit a message. A message that can no longer be changed stays as it is."""
        rendered = slack_message(delivery_message(delivery))
        with self._client() as client:
            try:
                client.chat_update(
                    channel=message.channel, ts=message.ts, text=rendered.text, blocks=rendered.blocks, parse="none"
                )
            except SlackApiError as error:
                if code(error) not in _UNCHANGEABLE:
                    raise
                _log.info("message not changed", delivery=delivery.id, channel=self._channel, problem=code(error))

    def find(self, delivery: Delivery, thread: MessageRef | None) -> MessageRef | None:
        """Find a message in the channel's history; None, too, if the token may not read the history."""
        try:
            with self._client() as client:
                channel = thread.channel if thread else self._channel_id(client)
                if channel is None:
                    return None
                for message in self._since(client, channel, delivery, thread):
                    if _matches(message, delivery):
                        return MessageRef(channel=channel, ts=str(message["ts"]))
        except DeliveryError as error:
            _log.info("message not looked for", delivery=delivery.id, problem=str(error))
        return None

    @property
    def _channel(self) -> str:
        return self.receiver.channel or ""

    @contextmanager
    def _client(self) -> Iterator[WebClient]:
        if not self._channel:
            raise DeliveryError(
                "no Slack channel is configured: set slack.channel or the route's channel", permanent=True
            )
        where = f"Slack at {self.settings.api_url}"
        with delivery_errors(f"a message for {self._channel}", where, self.settings.timeout):
            yield web_client(self.token, self.settings)

    def _post(self, client: WebClient, delivery: Delivery, thread: MessageRef | None) -> SlackResponse:
        seen_by_all = thread is None or delivery.broadcast
        rendered = slack_message(delivery_message(delivery), self.receiver.mentions if seen_by_all else ())
        return client.chat_postMessage(
            channel=thread.channel if thread else self._channel,
            thread_ts=thread.ts if thread else None,
            reply_broadcast=delivery.broadcast if thread else None,
            text=rendered.text,
            blocks=rendered.blocks,
            unfurl_links=False,
            unfurl_media=False,
            metadata=_metadata(delivery),
        )

    def _channel_id(self, client: WebClient) -> str | None:
        """The channel's id, which the history needs; None if the token cannot see a channel of that name."""
        if _CHANNEL_ID.fullmatch(self._channel):
            return self._channel
        name = self._channel.removeprefix("#")
        for kind in ("public_channel", "private_channel"):
            try:
                for channel in _pages(client, "conversations.list", "channels", types=kind, exclude_archived=True):
                    if channel.get("name") == name:
                        return str(channel["id"])
            except SlackApiError as error:
                # Each kind has its own scope.
                if code(error) != "missing_scope":
                    raise
        return None

    def _since(
        self, client: WebClient, channel: str, delivery: Delivery, thread: MessageRef | None
    ) -> Iterator[dict[str, Any]]:
        """The messages of a channel or thread since a delivery was queued."""
        oldest = f"{(delivery.queued_at - _CLOCKS_APART).timestamp():.6f}"
        where = {"channel": channel, "oldest": oldest, **({"ts": thread.ts} if thread else {})}
        method = "conversations.replies" if thread else "conversations.history"
        return _pages(client, method, "messages", include_all_metadata=True, **where)


def _pages(client: WebClient, method: str, rows: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    """The rows of a Slack list, page by page."""
    cursor = ""
    for _ in range(_MAX_PAGES):
        answer = client.api_call(method, params={"limit": _ROWS, "cursor": cursor, **arguments})
        yield from answer.get(rows) or ()
        cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
        if not cursor:
            return


def _metadata(delivery: Delivery) -> dict[str, Any]:
    if digest := delivery.digest:
        payload = {"delivery": delivery.id, "target": digest.target, "day": digest.day.isoformat()}
        return {"event_type": DIGEST_EVENT_TYPE, "event_payload": payload}
    target = delivery.content.target if delivery.content else ""
    return {"event_type": ALERT_EVENT_TYPE, "event_payload": {"delivery": delivery.id, "target": target}}


def _matches(message: dict[str, Any], delivery: Delivery) -> bool:
    metadata, own = message.get("metadata") or {}, _metadata(delivery)
    payload = metadata.get("event_payload") or {}
    same = all(payload.get(name) == value for name, value in own["event_payload"].items())
    return same and bool(metadata.get("event_type") == own["event_type"])


def _reference(answer: SlackResponse) -> MessageRef | None:
    channel, ts = answer.get("channel"), answer.get("ts")
    return MessageRef(channel=channel, ts=ts) if channel and ts else None
