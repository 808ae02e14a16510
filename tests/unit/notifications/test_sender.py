"""What becomes of a notification: sent later, elsewhere, once more; and what people see of it in the end."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.errors import DeliveryError
from monitoring.notifications.sender import Sender
from tests.support.builders import hours, minutes
from tests.support.simulation import Channel, Watchdog, problem

A = problem("etl/a")
STALE = {"name": "stale", "match": {"check": "stale"}, "channel": "data"}


def failing(*, permanent: bool = False, outcome_unknown: bool = False) -> Channel:
    return Channel(fault=lambda _: DeliveryError("no", permanent=permanent, outcome_unknown=outcome_unknown))


def heal(channel: Channel) -> None:
    channel.fault = lambda _: None


def test_what_cannot_be_sent_now_is_sent_later_in_its_order() -> None:
    watchdog = Watchdog({"default": failing()})
    watchdog.check(A)
    watchdog.check()
    assert watchdog.channel.sent() == []
    heal(watchdog.channel)
    for _ in range(4):
        watchdog.check()
    assert [about for about, _ in watchdog.channel.sent()] == ["opened", "resolved"]


def test_a_route_that_fails_delays_no_other() -> None:
    channels = {"default": failing(), "stale": Channel()}
    watchdog = Watchdog(channels, routes=[STALE])
    watchdog.check(A, problem("etl/c", "stale"))
    assert channels["stale"].sent() == [("opened", ["W-2"])]
    assert channels["default"].tries == 1


def test_what_is_rejected_for_good_goes_to_the_fallback_with_all_that_follows() -> None:
    channels = {"default": failing(permanent=True), "fallback": Channel()}
    watchdog = Watchdog(channels, alerts={"fallback": {"channel": "ops"}})
    watchdog.check(A)
    watchdog.check(A)
    watchdog.check()
    assert channels["fallback"].sent() == [("opened", ["W-1"]), ("resolved", ["W-1"])]
    assert watchdog.outbox.troubles["default"].permanent


def test_without_a_fallback_what_is_rejected_waits_until_the_route_works_again() -> None:
    watchdog = Watchdog({"default": failing(permanent=True)})
    watchdog.check(A)
    for _ in range(30):
        watchdog.check(A)
    # Twice as long each time, and an hour at most.
    assert watchdog.channel.tries < 12
    heal(watchdog.channel)
    watchdog.check(A, after=hours(1))
    assert watchdog.channel.sent() == [("opened", ["W-1"])]
    assert watchdog.outbox.troubles == {}


@pytest.mark.parametrize(("readable", "times"), [(False, 2), (True, 1)])
def test_what_may_have_been_sent_is_sent_once_more_unless_it_can_be_looked_up(readable: bool, times: int) -> None:
    channel = Channel(readable=readable)
    post = channel.post
    lost = iter([True])

    def cut(delivery: Any, thread: Any) -> Any:
        posted = post(delivery, thread)
        if next(lost, False):
            raise DeliveryError("cut", permanent=False, outcome_unknown=True)
        return posted

    channel.post = cut  # type: ignore[method-assign]  # its answer is lost once
    watchdog = Watchdog({"default": channel})
    watchdog.check(A)
    watchdog.check(A)
    watchdog.check(A)
    assert channel.sent() == [("opened", ["W-1"])] * times


def test_the_budget_ends_a_turn_and_the_next_goes_on() -> None:
    watchdog = Watchdog(alerts={"budget": "1s"})
    watchdog.now += minutes(5)
    watchdog.decide([A, problem("etl/b", "failed")])
    waiting = len(watchdog.outbox.queue)
    clock = iter([0.0, 0.0, 2.0, 2.0, 2.0, 2.0, 2.0])

    left = Sender(
        lambda _: watchdog.channel,
        lambda _: None,
        watchdog.policies.config,
        watchdog.now,
        lambda: next(clock),
    ).send(watchdog.outbox)
    assert 0 < len(left.queue) < waiting
    assert len([delivery for delivery in left.queue if delivery.kind == "event"]) == 2
