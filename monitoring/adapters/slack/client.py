"""Clients of slack_sdk that send a request once, and errors of one line for every failure."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPException
from typing import Any
from urllib.error import URLError

from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry import HttpResponse, RetryHandler, RetryState

from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError

# slack_sdk logs an error, headers included, before it raises it. DeliveryError reports it once, without secrets.
_logger = logging.getLogger(f"{__name__}.sdk")
_logger.setLevel(logging.CRITICAL)

#: The end of every temporary ``DeliveryError`` from Slack.
LATER = "it may work later"
_NEW_TOKEN = "put a valid bot token (xoxb-...) into WATCHDOG_SLACK_TOKEN or the Secret block"
_REPORT = "this is a bug in the watchdog: please report it"
#: What to do about Slack's answers: https://docs.slack.dev/reference/methods/chat.postMessage#errors
_PERMANENT = {
    "invalid_auth": _NEW_TOKEN,
    "not_authed": _NEW_TOKEN,
    "token_revoked": _NEW_TOKEN,
    "token_expired": _NEW_TOKEN,
    "account_inactive": _NEW_TOKEN,
    "not_allowed_token_type": _NEW_TOKEN,
    "missing_scope": "add the scope chat:write to the Slack app and reinstall it",
    "channel_not_found": "correct slack.channel or the route's channel; invite the bot to a private channel",
    "not_in_channel": "invite the bot to the channel",
    "is_archived": "choose another slack.channel or route, or unarchive the channel",
    "restricted_action": "allow the bot to post, in the channel's settings",
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
#: Errors after which, as Slack documents, a part of the call may have succeeded.
_HALF_DONE = {"internal_error", "fatal_error"}
#: The status of a gateway that gave up; the server behind it may have received the request.
_MAYBE_RECEIVED = {500, 502, 504}
#: The longest accepted ``Retry-After``: a day, in seconds.
_MAX_RETRY_AFTER = 86_400


def web_client(token: str, settings: config.Slack) -> WebClient:
    """Make a client for a bot; nothing is sent yet.

    Raises:
        DeliveryError: The token cannot be used.
    """
    token = token.strip()
    # The error and the log of a header with a line feed contain the whole header, token included.
    if not _usable(token):
        raise DeliveryError(f"the Slack token is not valid: {_NEW_TOKEN}", permanent=True)
    return WebClient(
        token=token,
        base_url=settings.api_url.rstrip("/") + "/",
        timeout=_seconds(settings.timeout),
        # Without slack_sdk's own handler for connection errors, which posts twice when a connection closes after the
        # request was sent.
        retry_handlers=[_RetryOnce()],
        logger=_logger,
    )


def webhook_client(url: str, settings: config.Slack) -> WebhookClient:
    """Make a client for an incoming webhook, whose address is a secret; nothing is sent yet.

    Raises:
        DeliveryError: The address cannot be used.
    """
    url = url.strip()
    if not _usable(url) or not url.startswith(("https://", "http://")):
        raise DeliveryError(
            "the address of the Slack webhook is not valid: it must begin with https://", permanent=True
        )
    return WebhookClient(url, timeout=_seconds(settings.timeout), retry_handlers=[_RetryOnce()], logger=_logger)


@contextmanager
def delivery_errors(message: str, where: str, timeout: timedelta) -> Iterator[None]:
    """Turn every failure of slack_sdk into a ``DeliveryError`` about a message, such as ``the digest for #ops``.

    ``where`` is the server, for people: ``Slack at https://slack.com/api/``.
    """
    try:
        yield
    except SlackApiError as error:
        raise _rejected(error, message, where) from None
    except TimeoutError:
        raise DeliveryError(
            f"{where} did not answer within {timeout.total_seconds():g} s, so {message} may have been posted: look "
            f"there; {LATER}",
            permanent=False,
            outcome_unknown=True,
        ) from None
    # AttributeError: slack_sdk assumes that an answer is an object. These errors are never quoted, as some contain
    # headers or an address.
    except (OSError, HTTPException, SlackClientError, ValueError, AttributeError) as error:
        raise DeliveryError(
            f"no usable answer from {where} ({type(error).__name__}): check the address, the network and any proxy; "
            f"{LATER}",
            permanent=False,
            # A URLError is raised before the request is completely sent.
            outcome_unknown=not isinstance(error, URLError),
        ) from None


def code(error: SlackApiError) -> str:
    """Slack's error code, such as ``channel_not_found``; empty if there is none."""
    answer = error.response.data
    return str(answer.get("error", "")) if isinstance(answer, dict) else ""


def is_rejection(error: SlackApiError) -> bool:
    """Whether Slack has understood a call and will never accept it: it answers with one of its error codes."""
    status, error_code = error.response.status_code, code(error)
    return status < 500 and status != 429 and error_code not in _TEMPORARY and bool(re.fullmatch(r"\w+", error_code))


def no_answer(where: str, status: int, retry_after: timedelta | None = None) -> DeliveryError:
    """The error for a status without a usable answer; ``retry_after`` is the wait that the answer requests."""
    if status == 429:
        return DeliveryError(f"{where} is busy: {LATER}", permanent=False, retry_after=retry_after)
    permanent = 400 <= status < 500 and status != 408
    return DeliveryError(
        f"no usable answer from {where} (status {status}): check the address; {LATER}",
        permanent=permanent,
        outcome_unknown=status < 400 or status in _MAYBE_RECEIVED,
    )


def _rejected(error: SlackApiError, message: str, where: str) -> DeliveryError:
    status, error_code = error.response.status_code, code(error)
    if error_code in _PERMANENT:
        return DeliveryError(f"Slack rejects {message} ({error_code}): {_PERMANENT[error_code]}", permanent=True)
    wait = retry_after(error.response.headers)
    if status == 429 or error_code in _TEMPORARY:
        return DeliveryError(
            f"Slack is busy ({error_code or status}): {LATER}",
            permanent=False,
            outcome_unknown=error_code in _HALF_DONE,
            retry_after=wait if status == 429 else None,
        )
    # If the answer is not JSON, slack_sdk puts its own text in the code's place.
    if status != 200 or not error_code or " " in error_code:
        return no_answer(where, status)
    return DeliveryError(
        f"Slack rejects {message} ({error_code}): see https://docs.slack.dev/reference/methods/chat.postMessage",
        permanent=True,
    )


def retry_after(headers: Mapping[str, Any]) -> timedelta | None:
    """The wait that Slack requests; None if it requests none."""
    for name, value in headers.items():
        first = value[0] if isinstance(value, list) and value else value
        if name.lower() == "retry-after" and str(first).isdecimal():
            return timedelta(seconds=min(int(first), _MAX_RETRY_AFTER))
    return None


def _usable(secret: str) -> bool:
    return bool(secret) and secret.isascii() and secret.isprintable() and " " not in secret


def _seconds(timeout: timedelta) -> int:
    return max(1, math.ceil(timeout.total_seconds()))


class _RetryOnce(RetryHandler):
    """Retries once after a status 429, after the requested wait if it is short. A 429 means that nothing was posted."""

    _MAX_WAIT = timedelta(seconds=30)
    _DEFAULT_WAIT = timedelta(seconds=1)

    def _can_retry(self, *, response: HttpResponse | None = None, **_: Any) -> bool:
        return response is not None and response.status_code == 429 and self._wait(response) <= self._MAX_WAIT

    def prepare_for_next_attempt(self, *, state: RetryState, response: HttpResponse | None = None, **_: Any) -> None:
        state.next_attempt_requested = True
        time.sleep((self._wait(response) if response is not None else self._DEFAULT_WAIT).total_seconds())
        state.increment_current_attempt()

    def _wait(self, response: HttpResponse) -> timedelta:
        wait = retry_after(response.headers)
        return self._DEFAULT_WAIT if wait is None else wait
