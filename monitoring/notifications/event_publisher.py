"""Sends the events in the outbox to the Prefect server; a later check looks whether the server has stored them.

A server answers as soon as it has events in its memory, and stores them seconds later
(prefect/server/events/services/event_persister.py): if it is killed in between, they are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from monitoring.errors import ServerProblem
from monitoring.logs import get_logger
from monitoring.model.outbox import Delivery, Event, Outbox
from monitoring.notifications import outbox as outboxes
from monitoring.notifications.ports import Events

_log = get_logger(__name__)

#: The events that one request carries or asks for. No more are found by one (prefect/server/events/storage/__init__.py,
#: ``INTERACTIVE_PAGE_SIZE``), and a server has a limit on the size of a request.
MAX_AT_ONCE = 50
#: The events that one check sends at most; the next one sends more.
MAX_EVENTS = 1_000
#: By when a server has stored the events that it has accepted: after 5 s, unless it was set up otherwise.
STORED_AFTER = timedelta(seconds=30)
#: An event that a server has lost so often is not sent again.
MAX_ATTEMPTS = 3


def emit(outbox: Outbox, events: Events, save: Callable[[Outbox], None], now: datetime) -> Outbox:
    """Send the events that wait, and once more those that the server has lost; return what is left, which is saved.

    Args:
        outbox: Holds the events, those among them that earlier checks have sent.
        events: Sends events, and knows which were stored.
        save: Saves the outbox; what it raises ends the sending, and nothing is lost.
        now: The time of the check.
    """
    after = outbox
    queued = [delivery for delivery in outbox.queue if delivery.kind == "event"]
    try:
        for part in _parts(event for event in queued if event.sent_at is None):
            events.send(_events(part))
            after = outboxes.mark_accepted(after, part, now)
        # Nobody waits for these, and a server that cannot be queried must not delay new events.
        for part in _parts(event for event in queued if event.sent_at is not None and _stored(event.sent_at, now)):
            kept = events.kept(_events(part))
            lost = [event for event in part if event.id not in kept and event.attempts < MAX_ATTEMPTS]
            events.send(_events(lost))
            after = outboxes.mark_accepted(
                outboxes.remove(after, (event for event in part if event not in lost)), lost, now
            )
    except ServerProblem as problem:
        _log.warning("events not sent", problem=str(problem))
    if after != outbox:
        save(after)
        unsent = sum(delivery.kind == "event" and delivery.sent_at is None for delivery in after.queue)
        _log.debug("events sent", waiting=unsent)
    return after


def _stored(sent_at: datetime, now: datetime) -> bool:
    # An event that was sent later than now was sent by a clock that was ahead.
    return not timedelta(0) <= now - sent_at < STORED_AFTER


def _parts(deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    waiting = islice(deliveries, MAX_EVENTS)
    while part := list(islice(waiting, MAX_AT_ONCE)):
        yield part


def _events(deliveries: Iterable[Delivery]) -> list[Event]:
    return [delivery.event for delivery in deliveries if delivery.event is not None]
