"""slack_sdk as the watchdog uses it: a request is made once, and what goes wrong is told in one line."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPException
from typing import Any
from urllib.error import URLError

from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry import HttpRequest, HttpResponse, RetryHandler, RetryState

from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError

# slack_sdk logs an error before it raises it, header and all. Here it is told once, by DeliveryError.
_logger = logging.getLogger(f"{__name__}.sdk")
_logger.setLevel(logging.CRITICAL)

#: How every ``DeliveryError`` of Slack's ends that may pass by itself.
LATER = "it may work later"
_NEW_TOKEN = "put a valid bot token (xoxb-...) into WATCHDOG_SLACK_TOKEN or the Secret block"
_REPORT = "this is a fault of the watchdog: please report it"
#: What to do about Slack's answers: https://docs.slack.dev/reference/methods/chat.postMessage#errors
_PERMANENT = {
    "invalid_auth": _NEW_TOKEN,
    "not_authed": _NEW_TOKEN,
    "token_revoked": _NEW_TOKEN,
    "token_expired": _NEW_TOKEN,
    "account_inactive": _NEW_TOKEN,
    "not_allowed_token_type": _NEW_TOKEN,
    "missing_scope": "give the Slack app the scope chat:write and install it again",
    "channel_not_found": "correct slack.channel or the route's channel, and for a private one invite the bot to it",
    "not_in_channel": "invite the bot to the channel",
    "is_archived": "choose another slack.channel or route, or take the channel out of the archive",
    "restricted_action": "let the bot post in the channel, in the channel's settings",
    "invalid_blocks": _REPORT,
    "msg_blocks_too_long": _REPORT,
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
#: Slack says of these that a part of what was asked may have been done.
_HALF_DONE = {"internal_error", "fatal_error"}
#: A server in between that gave up; what is behind it may have got the request.
_MAYBE_RECEIVED = {500, 502, 504}
#: A day, in seconds: what a header asks for is bounded by it.
_LONGEST_TOLD = 86_400


def web_client(token: str, settings: config.Slack) -> WebClient:
    """Make a client for a bot; nothing is sent yet.

    Args:
        token: A bot token.
        settings: Address and time-out.

    Raises:
        DeliveryError: What is called a token is none.
    """
    token = token.strip()
    # A header with a line feed is refused with the whole header, token included, in the error and in a log.
    if not _usable(token):
        raise DeliveryError(f"the Slack token is none: {_NEW_TOKEN}", permanent=True)
    return WebClient(
        token=token,
        base_url=settings.api_url.rstrip("/") + "/",
        timeout=_seconds(settings.timeout),
        # Without slack_sdk's own handler for connection errors: it posts twice when a connection closes after the
        # request was sent.
        retry_handlers=[_PatientOnce()],
        logger=_logger,
    )


def webhook_client(url: str, settings: config.Slack) -> WebhookClient:
    """Make a client for an incoming webhook; nothing is sent yet.

    Args:
        url: The webhook's address, a secret.
        settings: The time-out.

    Raises:
        DeliveryError: What is called an address is none.
    """
    url = url.strip()
    if not _usable(url) or not url.startswith(("https://", "http://")):
        raise DeliveryError("the address of the Slack webhook is none: it begins with https://", permanent=True)
    return WebhookClient(url, timeout=_seconds(settings.timeout), retry_handlers=[_PatientOnce()], logger=_logger)


@contextmanager
def asking(what: str, where: str, timeout: timedelta) -> Iterator[None]:
    """Turn every way in which slack_sdk fails into a ``DeliveryError``.

    Args:
        what: What is said, and to whom: ``the digest for #ops``.
        where: Whom slack_sdk asks, as people may read it: ``Slack at https://slack.com/api/``.
        timeout: The longest wait for an answer.
    """
    try:
        yield
    except SlackApiError as error:
        raise _refused(error, what, where) from None
    except TimeoutError:
        raise DeliveryError(
            f"{where} did not answer within {timeout.total_seconds():g} s, so {what} may have been posted or not: "
            f"look there; {LATER}",
            permanent=False,
            outcome_unknown=True,
        ) from None
    # AttributeError: slack_sdk takes an answer for an object before it looks. None of these errors is quoted, as
    # some hold headers or an address.
    except (OSError, HTTPException, SlackClientError, ValueError, AttributeError) as error:
        raise DeliveryError(
            f"no usable answer from {where} ({type(error).__name__}): check the address, the network and any proxy; "
            f"{LATER}",
            permanent=False,
            # A URLError comes from before the request was sent as a whole.
            outcome_unknown=not isinstance(error, URLError),
        ) from None


def code(error: SlackApiError) -> str:
    """The word that Slack refuses with: ``channel_not_found``; empty where there is none."""
    answer = error.response.data
    return str(answer.get("error", "")) if isinstance(answer, dict) else ""


def no_answer(where: str, status: int, retry_after: timedelta | None = None) -> DeliveryError:
    """The error for a status without a usable answer.

    Args:
        where: Whom was asked.
        status: The HTTP status.
        retry_after: When to ask again, where the answer says so.
    """
    if status == 429:
        return DeliveryError(f"{where} is busy: {LATER}", permanent=False, retry_after=retry_after)
    permanent = 400 <= status < 500 and status != 408
    return DeliveryError(
        f"{where} answered with status {status} and nothing usable: check the address; {LATER}",
        permanent=permanent,
        outcome_unknown=status < 400 or status in _MAYBE_RECEIVED,
    )


def _refused(error: SlackApiError, what: str, where: str) -> DeliveryError:
    status, word = error.response.status_code, code(error)
    if word in _PERMANENT:
        return DeliveryError(f"Slack refuses {what} ({word}): {_PERMANENT[word]}", permanent=True)
    wait = retry_after(error.response.headers)
    if status == 429 or word in _TEMPORARY:
        return DeliveryError(
            f"Slack is busy ({word or status}): {LATER}",
            permanent=False,
            outcome_unknown=word in _HALF_DONE,
            retry_after=wait if status == 429 else None,
        )
    # Where the answer is no JSON, slack_sdk's own words for that stand in the code's place.
    if status != 200 or not word or " " in word:
        return no_answer(where, status)
    return DeliveryError(
        f"Slack refuses {what} ({word}): see https://docs.slack.dev/reference/methods/chat.postMessage", permanent=True
    )


def retry_after(headers: Mapping[str, Any]) -> timedelta | None:
    """How long Slack asks to wait; None where it does not say."""
    for name, value in headers.items():
        first = value[0] if isinstance(value, list) and value else value
        if name.lower() == "retry-after" and str(first).isdecimal():
            return timedelta(seconds=min(int(first), _LONGEST_TOLD))
    return None


def _usable(secret: str) -> bool:
    return bool(secret) and secret.isascii() and secret.isprintable() and " " not in secret


def _seconds(timeout: timedelta) -> int:
    return max(1, math.ceil(timeout.total_seconds()))


class _PatientOnce(RetryHandler):
    """Waits once as long as a 429 asks for, if that is bearable; posted nothing, so that a second try posts once."""

    _LONGEST = timedelta(seconds=30)
    _UNTOLD = timedelta(seconds=1)

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        return response is not None and response.status_code == 429 and self._wait(response) <= self._LONGEST

    def prepare_for_next_attempt(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> None:
        state.next_attempt_requested = True
        time.sleep((self._wait(response) if response is not None else self._UNTOLD).total_seconds())
        state.increment_current_attempt()

    def _wait(self, response: HttpResponse) -> timedelta:
        told = retry_after(response.headers)
        return self._UNTOLD if told is None else told
