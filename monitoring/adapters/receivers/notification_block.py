"""Sends messages by a Prefect notification block: Teams, PagerDuty, e-mail, a webhook and what else comes with Prefect.

Blocks are made not to disturb a flow, and swallow what goes wrong: those that stand on apprise, most of them, get False
from it and drop that unless they are in ``raise_on_failure()``, and a Slack block with an address that is not Slack's
has nobody to tell at all. Here every failure is a ``DeliveryError``. None of its words are the block's own or
apprise's, as those quote addresses, and a block's address is its password.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
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

#: Characters that any receiver takes; Discord refuses more than 2,000, where e-mail takes whatever comes.
SHORT = 1_500
_SHORTENED = "\n\n(shortened: the receiver takes no more)"

#: Those that say "not now" among those that say "never".
_LATER = frozenset({408, 425, 429})
_TOO_LONG = frozenset({400, 413, 422})
#: How apprise's plugins tell a status: "Failed to send JSON POST notification: Not Found, error=404."
_STATUS = re.compile(r"error=(\d{3})\b")
#: What apprise says when it could make nothing of a block's address (apprise/apprise.py).
_NOBODY = "no service"
#: They log addresses.
_LOGGERS = ("apprise", "httpx", "httpcore", "urllib3")


class NotificationBlock:
    """A notification block by its name, as ``ports.Notifier``. What it has said cannot be edited or found again."""

    def __init__(self, reference: str) -> None:
        """Nothing is loaded yet.

        Args:
            reference: The block's type and name, ``slack-webhook/ops``; on the server that Prefect's settings name.
        """
        self._reference = reference

    def post(self, delivery: Delivery, thread: MessageRef | None) -> None:
        """Notify, in a message of its own.

        Raises:
            DeliveryError: It could not be sent; ``outcome_unknown`` where the receiver may have it all the same.
        """
        subject, body = plain(delivery_message(delivery, whole=True))
        with _overheard() as heard:
            block = self._loaded()
            status = self._refusal(block, heard, subject, body)
            if status in _TOO_LONG and len(body) > SHORT:
                status = self._refusal(block, heard, subject, body[: SHORT - len(_SHORTENED)] + _SHORTENED)
        if status is not None:
            raise self._refused(status)

    def update(self, message: MessageRef, delivery: Delivery) -> None:
        """Say it anew: there is nothing that could be edited. Errors are those of ``post``."""
        self.post(delivery, None)

    def find(self, delivery: Delivery, thread: MessageRef | None) -> None:
        """Know nothing of what was said before."""

    def _loaded(self) -> PrefectBlock:
        reference = self._reference
        try:
            # Under the settings that are in force: while an Api is open, those are its address and its few retries.
            block = cast(Any, Block).load(reference, _sync=True)
        except UnknownBlockType:
            raise DeliveryError(
                f"the block {reference} is of a type that is not installed here: install the package that brings it "
                "where the check runs, or name another block",
                permanent=True,
            ) from None
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            raise DeliveryError(
                f"the block {reference} cannot be read from the Prefect server ({type(error).__name__}): look at the "
                "server's log",
                permanent=False,
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever a block raises that does not like what it is made of
            if isinstance(error.__cause__, ObjectNotFound):
                raise DeliveryError(
                    f"there is no block {reference}: make it on the Prefect server, or correct the route's block",
                    permanent=True,
                ) from None
            raise self._misconfigured(f"cannot be made of what is saved in it ({type(error).__name__})") from None
        if not isinstance(block, PrefectBlock):
            raise DeliveryError(
                f"the block {reference} is no notification block: name one, such as slack-webhook/{_name(reference)}",
                permanent=True,
            )
        return block

    def _refusal(self, block: PrefectBlock, heard: _Heard, subject: str, body: str) -> int | None:
        """Notify; return the status with which the receiver refuses, None when it has taken it."""
        heard.lines.clear()
        try:
            with block.raise_on_failure():
                waiting: Any = block.notify(body, subject)
                if inspect.isawaitable(waiting):
                    run_coro_as_sync(cast(Any, waiting))
        except NotificationError as error:
            said = "\n".join([*heard.lines, str(error.log)])
            if status := _STATUS.search(said):
                return int(status[1])
            if _NOBODY in said:
                raise self._misconfigured("has an address that its type can make nothing of") from None
            raise self._silent("NotificationError", outcome_unknown=True) from None
        except httpx.HTTPStatusError as error:
            return error.response.status_code
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._silent(type(error).__name__, outcome_unknown=False) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:
            raise self._misconfigured(f"cannot be used as it is ({type(error).__name__})") from None
        except Exception as error:  # noqa: BLE001 - anybody may write a block, and it raises what it likes
            raise self._silent(type(error).__name__, outcome_unknown=True) from None
        return None

    def _refused(self, status: int) -> DeliveryError:
        if status < 400:
            # A page to log in at, or another address: nobody has taken it.
            return self._misconfigured(f"is answered with status {status}")
        permanent = status < 500 and status not in _LATER
        what = "check its address, its token and who may post there" if permanent else "it may work later"
        return DeliveryError(
            f"the receiver of the block {self._reference} refuses (status {status}): {what}", permanent=permanent
        )

    def _silent(self, error: str, *, outcome_unknown: bool) -> DeliveryError:
        return DeliveryError(
            f"the receiver of the block {self._reference} gives no usable answer ({error}): check its address, the "
            "network and any proxy; it may work later",
            permanent=False,
            outcome_unknown=outcome_unknown,
        )

    def _misconfigured(self, how: str) -> DeliveryError:
        return DeliveryError(
            f"the block {self._reference} {how}: correct it on the Prefect server, on its page below Blocks",
            permanent=True,
        )


class _Heard(logging.Handler):
    """Keeps what is logged, instead of whoever else would."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


@contextmanager
def _overheard() -> Iterator[_Heard]:
    """Keep to ourselves what is logged of addresses."""
    heard = _Heard()
    before = {logger: logger.propagate for logger in map(logging.getLogger, _LOGGERS)}
    for logger in before:
        logger.addHandler(heard)
        logger.propagate = False
    try:
        yield heard
    finally:
        for logger, propagate in before.items():
            logger.removeHandler(heard)
            logger.propagate = propagate


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]
