"""Sends the events in the outbox to the Prefect server; a later check verifies that the server has stored them.

A server answers as soon as it has the events in memory, and stores them seconds later
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

#: Events in a request, to send or to query. A query returns no more (prefect/server/events/storage/__init__.py,
#: ``INTERACTIVE_PAGE_SIZE``), and a server limits the size of a request.
MAX_AT_ONCE = 50
#: Events that a check sends; the next check sends more.
MAX_EVENTS = 1_000
#: Accepted events are certainly stored after this: a server needs 5 s, unless configured otherwise.
STORED_AFTER = timedelta(seconds=30)
#: An event that a server has lost this often is not sent again.
MAX_ATTEMPTS = 3


def emit(outbox: Outbox, events: Events, save: Callable[[Outbox], None], now: datetime) -> Outbox:
    """Send the queued events, and resend events that the server has lost; return the saved outbox after that.

    What ``save`` raises ends the sending, and nothing is lost.
    """
    after = outbox
    queued = [delivery for delivery in outbox.queue if delivery.kind == "event"]
    try:
        for part in _parts(event for event in queued if event.sent_at is None):
            events.send(_events(part))
            after = outboxes.mark_accepted(after, part, now)
        # New events come first: a server that cannot be queried must not delay them.
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
    # An event with a later time was sent while the clock was ahead.
    return not timedelta(0) <= now - sent_at < STORED_AFTER


def _parts(deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    waiting = islice(deliveries, MAX_EVENTS)
    while part := list(islice(waiting, MAX_AT_ONCE)):
        yield part


def _events(deliveries: Iterable[Delivery]) -> list[Event]:
    return [delivery.event for delivery in deliveries if delivery.event is not None]
