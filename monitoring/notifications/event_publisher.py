"""Sends the events in the outbox to the Prefect server, and looks with a later check whether it has kept them.

A server answers as soon as it has events in its memory, and writes them down seconds later
(prefect/server/events/services/event_persister.py): one that is killed in between has lost them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from monitoring.errors import ServerProblem
from monitoring.logs import get_logger
from monitoring.model.outbox import Delivery, Event, Outbox
from monitoring.notifications import outbox as noted
from monitoring.notifications.ports import Events

_log = get_logger(__name__)

#: The events that one request carries or asks for. No more are found by one (prefect/server/events/storage/__init__.py,
#: ``INTERACTIVE_PAGE_SIZE``), and a server has a limit on the size of a request.
AT_ONCE = 50
#: The events that one check sends at most; the next one sends more.
MOST = 1_000
#: By when a server has written down what it has taken: after 5 s, unless it was set up otherwise.
WRITTEN_AFTER = timedelta(seconds=30)
#: An event that a server has lost so often is one that it does not keep.
MOST_TIMES = 3


def emit(outbox: Outbox, events: Events, save: Callable[[Outbox], None], now: datetime) -> Outbox:
    """Send what waits, and once more what the server has lost; return what is left, which is saved.

    Args:
        outbox: Holds the events, those among them that earlier checks have sent.
        events: Sends events, and knows which were kept.
        save: Saves the outbox; what it raises ends the turn, and nothing is lost.
        now: The time of the check.
    """
    after = outbox
    known = [one for one in outbox.queue if one.kind == "event"]
    try:
        for part in _parts(one for one in known if one.sent_at is None):
            events.send(_events(part))
            after = noted.handed_over(after, part, now)
        # Nobody waits for these, and a server that cannot be asked must not hold up what is new.
        for part in _parts(one for one in known if one.sent_at is not None and _written(one.sent_at, now)):
            kept = events.kept(_events(part))
            lost = [one for one in part if one.id not in kept and one.attempts < MOST_TIMES]
            events.send(_events(lost))
            after = noted.handed_over(noted.without(after, (one for one in part if one not in lost)), lost, now)
    except ServerProblem as problem:
        _log.warning("events not sent", problem=str(problem))
    if after != outbox:
        save(after)
        _log.debug("events sent", waiting=sum(one.kind == "event" and one.sent_at is None for one in after.queue))
    return after


def _written(sent_at: datetime, now: datetime) -> bool:
    # What was sent after now was sent by a clock that was ahead.
    return not timedelta(0) <= now - sent_at < WRITTEN_AFTER


def _parts(deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    waiting = islice(deliveries, MOST)
    while part := list(islice(waiting, AT_ONCE)):
        yield part


def _events(deliveries: Iterable[Delivery]) -> list[Event]:
    return [delivery.event for delivery in deliveries if delivery.event is not None]
