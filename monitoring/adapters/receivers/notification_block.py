"""Sends messages by a Prefect notification block: Teams, PagerDuty, e-mail, a webhook and the others that Prefect has.

Blocks hide failures, so as not to disturb a flow: most are based on apprise and ignore its return value False outside
of ``raise_on_failure()``, and a Slack block with an address that is not Slack's sends nothing at all. Here every
failure is a ``DeliveryError``. It never quotes the block or apprise, as they quote addresses, and a block's address is
a secret.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
from prefect.blocks.abstract import NotificationBlock as PrefectBlock
from prefect.blocks.abstract import NotificationError
from prefect.blocks.core import Block, UnknownBlockType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.utilities.asyncutils import run_coro_as_sync

from monitoring.errors import DeliveryError
from monitoring.messages.delivery_message import delivery_message
from monitoring.messages.plain import plain
from monitoring.model.outbox import Delivery, MessageRef

#: Characters that every receiver accepts; Discord rejects more than 2,000, while e-mail has no such limit.
SHORT = 1_500
_SHORTENED = "\n\n(shortened: the receiver accepts no more)"

#: The temporary ones among the status codes below 500.
_LATER = frozenset({408, 425, 429})
_TOO_LONG = frozenset({400, 413, 422})
#: How apprise's plugins report a status: "Failed to send JSON POST notification: Not Found, error=404."
_STATUS = re.compile(r"error=(\d{3})\b")
#: What apprise reports when it cannot use a block's address (apprise/apprise.py).
_NO_SERVICE = "no service"
#: Loggers that log addresses.
_LOGGERS = ("apprise", "httpx", "httpcore", "urllib3")


@dataclass
class NotificationBlock:
    """A notification block by its name, as ``ports.Notifier``. Its messages can be neither edited nor found again."""

    #: The block's type and name, ``slack-webhook/ops``, on the server of Prefect's settings.
    reference: str

    def post(self, delivery: Delivery, thread: MessageRef | None) -> None:
        """Notify, in a message of its own."""
        subject, body = plain(delivery_message(delivery, whole=True))
        with _captured() as captured:
            block = self._loaded()
            status = self._rejection(block, captured, subject, body)
            if status in _TOO_LONG and len(body) > SHORT:
                status = self._rejection(block, captured, subject, body[: SHORT - len(_SHORTENED)] + _SHORTENED)
        if status is not None:
            raise self._rejected(status)

    def update(self, message: MessageRef, delivery: Delivery) -> None:
        """Post a new message, as none can be edited."""
        self.post(delivery, None)

    def find(self, delivery: Delivery, thread: MessageRef | None) -> None:
        """Find nothing: a block cannot read messages."""

    def _loaded(self) -> PrefectBlock:
        try:
            # Prefect's current settings apply: while an Api is open, its address and its few retries.
            block = cast(Any, Block).load(self.reference, _sync=True)
        except UnknownBlockType:
            raise self._unusable(
                "has a type that is not installed here: install the package of the type where the check runs, or "
                "choose another block"
            ) from None
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            raise self._unusable(
                f"cannot be read from the Prefect server ({type(error).__name__}): see the server's log",
                permanent=False,
            ) from None
        except Exception as error:  # noqa: BLE001 - a block may raise anything for saved values that it rejects
            if isinstance(error.__cause__, ObjectNotFound):
                raise DeliveryError(
                    f"there is no block {self.reference}: create it on the Prefect server, or correct the route's "
                    "block",
                    permanent=True,
                ) from None
            raise self._misconfigured(f"cannot be loaded ({type(error).__name__})") from None
        if not isinstance(block, PrefectBlock):
            name = self.reference.rpartition("/")[2]
            raise self._unusable(f"is not a notification block: choose another, such as slack-webhook/{name}")
        return block

    def _rejection(self, block: PrefectBlock, captured: _Captured, subject: str, body: str) -> int | None:
        """Notify; return the status with which the receiver rejects the message, None if it accepts it."""
        captured.lines.clear()
        try:
            with block.raise_on_failure():
                result: Any = block.notify(body, subject)
                if inspect.isawaitable(result):
                    run_coro_as_sync(cast(Any, result))
        except NotificationError as error:
            output = "\n".join([*captured.lines, str(error.log)])
            if status := _STATUS.search(output):
                return int(status[1])
            if _NO_SERVICE in output:
                raise self._misconfigured("has an address that its type cannot use") from None
            raise self._no_answer("NotificationError", outcome_unknown=True) from None
        except httpx.HTTPStatusError as error:
            return error.response.status_code
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._no_answer(type(error).__name__, outcome_unknown=False) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:
            raise self._misconfigured(f"cannot be used ({type(error).__name__})") from None
        except Exception as error:  # noqa: BLE001 - blocks are third-party code and may raise anything
            raise self._no_answer(type(error).__name__, outcome_unknown=True) from None
        return None

    def _rejected(self, status: int) -> DeliveryError:
        if status < 400:
            # A login page or a redirect: the message was not accepted.
            return self._misconfigured(f"leads to an answer with status {status}")
        permanent = status < 500 and status not in _LATER
        fix = "check its address, its token and who may post there" if permanent else "it may work later"
        return DeliveryError(
            f"the receiver of the block {self.reference} rejects the message (status {status}): {fix}",
            permanent=permanent,
        )

    def _no_answer(self, error: str, *, outcome_unknown: bool) -> DeliveryError:
        return DeliveryError(
            f"the receiver of the block {self.reference} gives no usable answer ({error}): check its address, the "
            "network and any proxy; it may work later",
            permanent=False,
            outcome_unknown=outcome_unknown,
        )

    def _misconfigured(self, problem: str) -> DeliveryError:
        return self._unusable(f"{problem}: correct it on its page under Blocks in the Prefect UI")

    def _unusable(self, problem: str, *, permanent: bool = True) -> DeliveryError:
        return DeliveryError(f"the block {self.reference} {problem}", permanent=permanent)


class _Captured(logging.Handler):
    """Keeps log lines, in place of the other handlers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


@contextmanager
def _captured() -> Iterator[_Captured]:
    """Capture log lines that may contain addresses."""
    captured = _Captured()
    before = {logger: logger.propagate for logger in map(logging.getLogger, _LOGGERS)}
    for logger in before:
        logger.addHandler(captured)
        logger.propagate = False
    try:
        yield captured
    finally:
        for logger, propagate in before.items():
            logger.removeHandler(captured)
            logger.propagate = propagate
