"""Posts the digest to Slack, and says in one line why it could not."""

from __future__ import annotations

import logging
import math
import time
from http.client import HTTPException
from urllib.error import URLError

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry import HttpRequest, HttpResponse, RetryHandler, RetryState

from monitoring import config
from monitoring.errors import DeliveryError
from monitoring.render import slack
from monitoring.report import DigestReport

#: Marks the message in the channel's history, so that a repeat after a crash can be recognised.
EVENT_TYPE = "watchdog_digest"

# slack_sdk logs an error before it raises it, header and all. Here it is told once, by DeliveryError.
_logger = logging.getLogger(f"{__name__}.sdk")
_logger.setLevel(logging.CRITICAL)

_NEW_TOKEN = "put a valid bot token (xoxb-...) into WATCHDOG_SLACK_TOKEN or the Secret block"
_LATER = "it may work later"
#: What to do about Slack's answers: https://docs.slack.dev/reference/methods/chat.postMessage#errors
_PERMANENT = {
    "invalid_auth": _NEW_TOKEN,
    "not_authed": _NEW_TOKEN,
    "token_revoked": _NEW_TOKEN,
    "token_expired": _NEW_TOKEN,
    "account_inactive": _NEW_TOKEN,
    "not_allowed_token_type": _NEW_TOKEN,
    "missing_scope": "give the Slack app the scope chat:write and install it again",
    "channel_not_found": "correct slack.channel, and for a private channel invite the bot to it",
    "not_in_channel": "invite the bot to the channel",
    "is_archived": "choose another slack.channel, or take the channel out of the archive",
    "restricted_action": "let the bot post in the channel, in the channel's settings",
    "invalid_blocks": "this is a fault of the watchdog: please report it",
    "msg_blocks_too_long": "this is a fault of the watchdog: please report it",
}
_TEMPORARY = {
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "team_added_to_org",
}


class SlackChannel:
    """A channel of Slack's, as ``ports.Channel``."""

    def __init__(self, token: str, settings: config.Slack) -> None:
        """Prepare to post; nothing is sent yet.

        Args:
            token: A bot token with the scope ``chat:write``.
            settings: Channel, address and time-out.
        """
        self._token = token.strip()
        self._settings = settings

    def post_digest(self, report: DigestReport) -> None:
        """Post the digest as one message.

        Raises:
            DeliveryError: It could not be said.
        """
        channel = self._settings.channel
        if channel is None:
            raise DeliveryError("no Slack channel is configured: set slack.channel", permanent=True)
        # A header with a line feed is refused with the whole header, token included, in the error and in a log.
        if not self._token.isascii() or not self._token.isprintable() or not self._token or " " in self._token:
            raise DeliveryError(f"the Slack token is none: {_NEW_TOKEN}", permanent=True)
        message = slack.digest(report)
        try:
            self._client().chat_postMessage(
                channel=channel,
                text=message.text,
                blocks=message.blocks,
                unfurl_links=False,
                unfurl_media=False,
                metadata={
                    "event_type": EVENT_TYPE,
                    "event_payload": {"target": report.health.target, "day": report.day.isoformat()},
                },
            )
        except SlackApiError as error:
            raise self._refused(error, channel) from None
        except TimeoutError:
            raise DeliveryError(
                f"Slack did not answer within {self._settings.timeout.total_seconds():g} s, so the digest may have "
                f"been posted or not: look into {channel}; {_LATER}",
                permanent=False,
                doubtful=True,
            ) from None
        # AttributeError: slack_sdk takes an answer for an object before it looks. None of these errors is quoted, as
        # some hold headers.
        except (OSError, HTTPException, SlackClientError, ValueError, AttributeError) as error:
            raise DeliveryError(
                f"no usable answer from Slack at {self._settings.api_url} ({type(error).__name__}): check the address, "
                f"the network and any proxy; {_LATER}",
                permanent=False,
                # A URLError comes from before the request was sent as a whole.
                doubtful=not isinstance(error, URLError),
            ) from None

    def _client(self) -> WebClient:
        return WebClient(
            token=self._token,
            base_url=self._settings.api_url.rstrip("/") + "/",
            timeout=max(1, math.ceil(self._settings.timeout.total_seconds())),
            # Without slack_sdk's own handler for connection errors: it posts twice when a connection closes after the
            # request was sent.
            retry_handlers=[_PatientOnce()],
            logger=_logger,
        )

    def _refused(self, error: SlackApiError, channel: str) -> DeliveryError:
        status = error.response.status_code
        answer = error.response.data
        code = str(answer.get("error", "")) if isinstance(answer, dict) else ""
        if code in _PERMANENT:
            return DeliveryError(f"Slack refuses the digest for {channel} ({code}): {_PERMANENT[code]}", permanent=True)
        if status == 429 or code in _TEMPORARY:
            return DeliveryError(f"Slack is busy ({code or status}): {_LATER}", permanent=False)
        # Where the answer is no JSON, slack_sdk's own words for that stand in the code's place.
        if status != 200 or not code or " " in code:
            return DeliveryError(
                f"Slack at {self._settings.api_url} answered with status {status} and nothing usable: check the "
                f"address; {_LATER}",
                permanent=400 <= status < 500,
                doubtful=status < 400,
            )
        return DeliveryError(
            f"Slack refuses the digest for {channel} ({code}): see "
            "https://docs.slack.dev/reference/methods/chat.postMessage",
            permanent=True,
        )


class _PatientOnce(RetryHandler):
    """Waits once as long as a 429 asks for, if that is bearable; posted nothing, so that a second try posts once."""

    _LONGEST = 30

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        return response is not None and response.status_code == 429 and _retry_after(response) <= self._LONGEST

    def prepare_for_next_attempt(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> None:
        state.next_attempt_requested = True
        time.sleep(_retry_after(response) if response is not None else 1)
        state.increment_current_attempt()


def _retry_after(response: HttpResponse) -> int:
    """Seconds to wait; 1 where the header is missing or rubbish."""
    for name, values in response.headers.items():
        if name.lower() == "retry-after" and values and str(values[0]).isdecimal():
            return int(values[0])
    return 1
