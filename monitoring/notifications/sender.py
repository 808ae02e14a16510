"""Sends the messages in the outbox in order, saves it before and after each, and lets no route delay another."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from datetime import datetime
from functools import cache
from typing import Any

from monitoring.config.settings import Config
from monitoring.errors import DeliveryError
from monitoring.logs import get_logger
from monitoring.model.outbox import Delivery, MessageRef, Outbox
from monitoring.notifications import outbox as outboxes
from monitoring.notifications.ports import Notifier

_log = get_logger(__name__)


class Sender:
    """Sends the messages that are due, once per check or digest.

    Args:
        notifier: Returns the notifier of a route by its name; raises ``DeliveryError`` if it cannot be used.
        save: Saves the outbox; an error that it raises ends the sending, and nothing is lost.
        config: Routes, and the time budget.
        now: The time of the check.
        timer: A monotonic clock, in seconds; tests pass their own.
    """

    def __init__(
        self,
        notifier: Callable[[str], Notifier],
        save: Callable[[Outbox], None],
        config: Config,
        now: datetime,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        # A notifier per route: a token is read only once.
        self._notifier = cache(notifier)
        self._save = save
        self._config = config
        self._now = now
        self._timer = timer
        self._until = timer() + config.alerts.budget.total_seconds()

    def send(self, outbox: Outbox) -> Outbox:
        """Send the messages that are due, and return the saved outbox with the rest.

        Raises:
            LockLost: Another check took over; nothing more was sent.
            ServerProblem: The outbox cannot be saved.
        """
        outbox = self._remove_expired(outbox)
        blocked: set[str] = set()
        waiting: set[int | str] = set()
        while delivery := self._first(outbox, blocked, waiting):
            due = outboxes.is_due(delivery, self._now)
            if delivery.rejected and not due:
                # A rejected message must not delay others; only messages of its thread wait as well.
                waiting.add(_thread(delivery))
                continue
            if not due or self._timer() >= self._until:
                # Later messages on the same route must not overtake it.
                blocked.add(delivery.route)
                continue
            outbox = self._send(outbox, delivery)
            sent = (delivery.id, delivery.route)
            left = next((queued for queued in outbox.queue if (queued.id, queued.route) == sent), None)
            if left is not None and delivery.rejected and left.rejected:
                waiting.add(_thread(delivery))
            elif left is not None:
                blocked.add(delivery.route)
        return outbox

    def _remove_expired(self, outbox: Outbox) -> Outbox:
        expired = [old for old in outbox.queue if old.expires_at is not None and old.expires_at <= self._now]
        if expired:
            for delivery in expired:
                _log.warning(
                    "alert not delivered", **_log_fields(delivery), permanent=True, problem="the message is too old"
                )
            outbox = outboxes.remove_expired(outbox, expired)
            self._save(outbox)
        return outbox

    def _first(self, outbox: Outbox, blocked: Container[str], waiting: Container[int | str]) -> Delivery | None:
        """The first message that may be sent, except on blocked routes and in waiting threads."""
        for delivery in outbox.queue:
            enabled = delivery.digest is not None or self._config.alerts.enabled
            free = delivery.route not in blocked and _thread(delivery) not in waiting
            if delivery.kind != "event" and enabled and free:
                return delivery
        return None

    def _send(self, outbox: Outbox, delivery: Delivery) -> Outbox:
        """Send a message, and save the outcome."""
        found = next((known for known in outbox.notifications if known.number == delivery.notification), None)
        message = found.message if found else None
        if message is None and delivery.content is not None and delivery.content.about == "details":
            # Details belong in a thread, and the receiver, such as a fallback, may have none.
            outbox = outboxes.remove(outbox, [delivery])
            self._save(outbox)
            return outbox
        if delivery.kind != "post" and message is None:
            # The message to edit or reply to was never posted, or its receiver cannot edit or reply.
            delivery = delivery.model_copy(update={"kind": "post"})
        try:
            notifier = self._notifier(delivery.route)
            if delivery.kind == "update" and message is not None:
                notifier.update(message, delivery)
                outbox = outboxes.mark_sent(outbox, delivery, None)
            else:
                outbox, posted = self._post(outbox, delivery, message, notifier)
                outbox = outboxes.mark_sent(outbox, delivery, posted)
            _log.info("alert delivered", **_log_fields(delivery))
        except DeliveryError as error:
            _log.warning("alert not delivered", **_log_fields(delivery), permanent=error.permanent, problem=str(error))
            outbox = outboxes.mark_failed(outbox, delivery, error, self._now, self._config)
        self._save(outbox)
        return outbox

    def _post(
        self, outbox: Outbox, delivery: Delivery, message: MessageRef | None, notifier: Notifier
    ) -> tuple[Outbox, MessageRef | None]:
        """Post, or reply in a thread. If the message may have been sent before, look for it first."""
        thread = message if delivery.kind == "reply" else None
        if delivery.outcome_unknown and (found := notifier.find(delivery, thread)):
            return outbox, found
        outbox = outboxes.mark_sending(outbox, delivery)
        self._save(outbox)
        return outbox, notifier.post(delivery, thread)


def _thread(delivery: Delivery) -> int | str:
    """The key of messages that must be sent in order."""
    return delivery.notification or delivery.id


def _log_fields(delivery: Delivery) -> dict[str, Any]:
    """The fields that tie a log line to incidents and to the message at the receiver."""
    content = delivery.content
    return {
        "delivery": delivery.id,
        "route": delivery.route,
        "kind": delivery.kind,
        "about": content.about if content else "digest",
        "incidents": [incident.id for incident in content.incidents] if content else [],
    }
