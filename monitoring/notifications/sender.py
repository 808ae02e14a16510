"""Says the messages in the outbox: noted before it is sent and after, in its order, no route in another's way."""

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
from monitoring.notifications import outbox as noted
from monitoring.notifications.ports import Messenger

_log = get_logger(__name__)


class Delivering:
    """One check's turn at the outbox."""

    def __init__(
        self,
        messenger: Callable[[str], Messenger],
        save: Callable[[Outbox], None],
        config: Config,
        now: datetime,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is sent yet.

        Args:
            messenger: Gives the messenger of a route by its name; raises ``DeliveryError`` where it cannot be used.
            save: Saves the outbox; what it raises ends the turn, and nothing is lost.
            config: Routes, and how long the turn may take.
            now: The time of the check.
            timer: Seconds on a clock that only runs forward; another one in tests.
        """
        # One for each route: a token is read once.
        self._messenger = cache(messenger)
        self._save = save
        self._config = config
        self._now = now
        self._timer = timer
        self._until = timer() + config.alerts.budget.total_seconds()

    def deliver(self, outbox: Outbox) -> Outbox:
        """Say what is due, and return what is left; it is saved.

        Raises:
            LockLost: Another check took over; nothing more was sent.
            ServerProblem: The outbox cannot be saved.
        """
        blocked: set[str] = set()
        waiting: set[int] = set()
        while delivery := _first(outbox, blocked, waiting):
            if delivery.rejected and not noted.due(delivery, self._now):
                # One message that is never taken must not hold up all others; only what belongs to it waits as well.
                waiting.add(delivery.notification)
                continue
            if not noted.due(delivery, self._now) or self._timer() >= self._until:
                # What comes after it on the same route would overtake it.
                blocked.add(delivery.route)
                continue
            outbox = self._say(outbox, delivery)
            left = next((one for one in outbox.queue if (one.id, one.route) == (delivery.id, delivery.route)), None)
            if left is not None and delivery.rejected and left.rejected:
                waiting.add(delivery.notification)
            elif left is not None:
                blocked.add(delivery.route)
        return outbox

    def _say(self, outbox: Outbox, delivery: Delivery) -> Outbox:
        found = next((one for one in outbox.notifications if one.number == delivery.notification), None)
        message = found.message if found else None
        if message is None and delivery.content is not None and delivery.content.about == "details":
            # Details belong into a thread: there is none at a receiver such as a fallback that cannot have any.
            outbox = noted.without(outbox, [delivery])
            self._save(outbox)
            return outbox
        if delivery.kind != "post" and message is None:
            # What it would have changed or replied to was never posted, or its receiver has no such thing.
            delivery = delivery.model_copy(update={"kind": "post"})
        try:
            messenger = self._messenger(delivery.route)
            if delivery.kind == "update" and message is not None:
                messenger.update(message, delivery)
                outbox = noted.sent(outbox, delivery, None)
            else:
                outbox, delivery, stands = self._posted(outbox, delivery, message, messenger)
                outbox = noted.sent(outbox, delivery, stands)
            _log.info("alert delivered", **_named(delivery))
        except DeliveryError as error:
            _log.warning("alert not delivered", **_named(delivery), permanent=error.permanent, problem=str(error))
            outbox = noted.failed(
                outbox,
                delivery,
                str(error),
                self._now,
                self._config,
                permanent=error.permanent,
                outcome_unknown=error.doubtful,
                retry_after=error.retry_after,
            )
        self._save(outbox)
        return outbox

    def _posted(
        self, outbox: Outbox, delivery: Delivery, message: MessageRef | None, messenger: Messenger
    ) -> tuple[Outbox, Delivery, MessageRef | None]:
        """Post, or reply in a thread; what may have been said before is looked for first."""
        thread = message if delivery.kind == "reply" else None
        if delivery.outcome_unknown and (found := messenger.find(delivery, thread)):
            return outbox, delivery, found
        outbox = noted.sending(outbox, delivery)
        self._save(outbox)
        return outbox, delivery, messenger.post(delivery, thread)


def _named(delivery: Delivery) -> dict[str, Any]:
    """What ties the line of a message to incidents, and to the message where it stands."""
    content = delivery.content
    return {
        "delivery": delivery.id,
        "route": delivery.route,
        "kind": delivery.kind,
        "about": content.about if content else "",
        "incidents": [incident.id for incident in content.incidents] if content else [],
    }


def _first(outbox: Outbox, blocked: Container[str], waiting: Container[int]) -> Delivery | None:
    """The first message of those that may be said, but for these routes and these notices."""
    return next(
        (
            one
            for one in outbox.queue
            if one.kind != "event" and one.route not in blocked and one.notification not in waiting
        ),
        None,
    )
