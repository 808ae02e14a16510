"""Posts the digest to Slack, and says in one line why it could not."""

from __future__ import annotations

from monitoring.adapters.slack.client import asking, web_client
from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from monitoring.messages.report_messages import digest_message
from monitoring.messages.slack_blocks import slack_message
from monitoring.model.report import DigestReport

#: Marks the message in the channel's history, so that a repeat after a crash can be recognised.
EVENT_TYPE = "watchdog_digest"


class SlackChannel:
    """A channel of Slack's, as ``ports.Channel``."""

    def __init__(self, token: str, settings: config.Slack) -> None:
        """Prepare to post; nothing is sent yet.

        Args:
            token: A bot token with the scope ``chat:write``.
            settings: Channel, address and time-out.
        """
        self._token = token
        self._settings = settings

    def post_digest(self, report: DigestReport) -> None:
        """Post the digest as one message.

        Raises:
            DeliveryError: It could not be said.
        """
        settings = self._settings
        if settings.channel is None:
            raise DeliveryError("no Slack channel is configured: set slack.channel", permanent=True)
        client = web_client(self._token, settings)
        message = slack_message(digest_message(report))
        with asking(f"the digest for {settings.channel}", f"Slack at {settings.api_url}", settings.timeout):
            client.chat_postMessage(
                channel=settings.channel,
                text=message.text,
                blocks=message.blocks,
                unfurl_links=False,
                unfurl_media=False,
                metadata={
                    "event_type": EVENT_TYPE,
                    "event_payload": {"target": report.health.target, "day": report.day.isoformat()},
                },
            )
