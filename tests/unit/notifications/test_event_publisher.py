"""Events: sent until the server has written them down, and no oftener than it takes to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from monitoring.errors import Unreachable
from monitoring.model.outbox import Delivery, Event, Outbox
from monitoring.notifications.event_publisher import MAX_AT_ONCE, MAX_ATTEMPTS, MAX_EVENTS, STORED_AFTER, emit
from tests.support.builders import NOW, minutes

LATER = NOW + minutes(5)


def waiting(count: int = 1) -> Outbox:
    """An outbox with so many events, and a message that has nothing to do with them."""
    events = [Event(id=f"event-{number}", name="watchdog.test", at=NOW, resource={}) for number in range(count)]
    message = Delivery(id="message", kind="post", route="default", queued_at=NOW)
    rows = [Delivery(id=event.id, kind="event", event=event, queued_at=NOW) for event in events]
    return Outbox(queue=(message, *rows))


@dataclass
class Server:
    """Takes events, and keeps what it takes unless it dies first."""

    dies: bool = False
    down: bool = False
    seen: list[list[str]] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    saved: Outbox | None = None

    def send(self, events: Sequence[Event]) -> None:
        if self.down:
            raise Unreachable("no answer")
        if events:
            self.seen.append([event.id for event in events])
        if not self.dies:
            self.stored += [event.id for event in events]

    def kept(self, events: Sequence[Event]) -> set[str]:
        if self.down:
            raise Unreachable("no answer")
        self.asked.append(len(events))
        return {event.id for event in events} & set(self.stored)

    def save(self, outbox: Outbox) -> None:
        self.saved = outbox


def left(outbox: Outbox) -> list[str]:
    return [delivery.id for delivery in outbox.queue]


def test_an_event_is_sent_once_and_forgotten_when_the_server_is_seen_to_have_it() -> None:
    server = Server()
    sent = emit(waiting(), server, server.save, NOW)
    assert server.saved == sent
    assert left(sent) == ["message", "event-0"]
    gone = emit(sent, server, server.save, LATER)
    assert server.saved == gone
    assert left(gone) == ["message"]
    assert server.seen == [["event-0"]]


def test_what_a_server_lost_is_sent_once_more() -> None:
    server = Server(dies=True)
    sent = emit(waiting(2), server, server.save, NOW)
    server.dies = False
    server.stored = ["event-1"]
    sent = emit(sent, server, server.save, LATER)
    assert server.seen == [["event-0", "event-1"], ["event-0"]]
    assert left(emit(sent, server, server.save, LATER + minutes(5))) == ["message"]


@pytest.mark.parametrize(
    ("passed", "asks"),
    [
        (STORED_AFTER - timedelta(seconds=1), False),
        (STORED_AFTER, True),
        # The clock was set back: when it was sent is not known any more.
        (-timedelta(hours=1), True),
    ],
)
def test_a_server_gets_the_time_to_write_down_what_it_has_taken(passed: timedelta, asks: bool) -> None:
    server = Server()
    sent = emit(waiting(), server, server.save, NOW)
    server.saved = None
    after = emit(sent, server, server.save, NOW + passed)
    assert bool(server.asked) == asks
    assert (server.saved is not None) == asks
    assert left(after) == (["message"] if asks else ["message", "event-0"])


def test_an_event_that_a_server_never_keeps_is_given_up() -> None:
    server = Server(dies=True)
    outbox = waiting()
    for number in range(MAX_ATTEMPTS + 3):
        outbox = emit(outbox, server, server.save, NOW + minutes(5 * number))
    assert server.seen == [["event-0"]] * MAX_ATTEMPTS
    assert left(outbox) == ["message"]


def test_what_a_server_does_not_take_or_answer_stays_as_it_was() -> None:
    server = Server(down=True)
    outbox = waiting()
    assert emit(outbox, server, server.save, NOW) == outbox
    assert server.saved is None
    server.down = False
    sent = emit(outbox, server, server.save, NOW)
    server.down = True
    assert emit(sent, server, server.save, LATER) == sent


def test_what_was_taken_before_the_server_went_down_is_not_sent_again() -> None:
    server = Server()
    really_send = server.send

    def send(events: Sequence[Event]) -> None:
        server.down = len(server.seen) == 1
        really_send(events)

    server.send = send  # type: ignore[method-assign]  # it goes down after the first request
    outbox = emit(waiting(MAX_AT_ONCE + 1), server, server.save, NOW)
    assert server.saved == outbox
    assert [delivery.id for delivery in outbox.queue if delivery.sent_at is None] == ["message", f"event-{MAX_AT_ONCE}"]


def test_of_very_many_a_check_sends_so_many_and_the_next_one_more() -> None:
    server = Server()
    outbox = emit(waiting(MAX_EVENTS + 1), server, server.save, NOW)
    assert [len(part) for part in server.seen] == [MAX_AT_ONCE] * (MAX_EVENTS // MAX_AT_ONCE)
    outbox = emit(outbox, server, server.save, LATER)
    assert server.seen[-1] == [f"event-{MAX_EVENTS}"]
    assert len(server.stored) == MAX_EVENTS + 1
    assert max(server.asked) == MAX_AT_ONCE
    assert left(emit(outbox, server, server.save, LATER + minutes(5))) == ["message"]
