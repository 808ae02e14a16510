"""Who is notified of what when several things happen at once: nothing lost, too early or too often."""

from __future__ import annotations

from typing import cast

import pytest

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.receivers.notification_block import NotificationBlock
from monitoring.errors import DeliveryError
from monitoring.model.outbox import Delivery
from monitoring.wiring import Session
from tests.support.builders import NOW, hours, minutes, policies
from tests.support.simulation import POOL, SLACK, Channel, Watchdog, ids, problem, symptom
from tests.unit.notifications.test_planning import silence

A, B = problem("etl/a"), problem("etl/b")
CRITICAL = problem("etl/a", severity="critical")
GPU = problem("gpu", "work-pool", kind="work-pool", severity="critical", cause=POOL)


def test_what_joins_a_message_that_changes_all_the_time_is_notified_at_once() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    # More runs of the one are late each time, and the message is edited for it; then another begins.
    watchdog.check(A.model_copy(update={"flow_run_count": 2}), B)
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("joined", ["W-2"])]
    (message,) = watchdog.channel.messages
    assert (ids(message.content), message.edits) == (["W-1", "W-2"], 1)


def test_what_fires_while_another_gets_critical_is_notified_at_once() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(problem("etl/a", severity="critical"), problem("etl/b", severity="critical"))
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("risen", ["W-1"]), ("opened", ["W-2"])]


def test_a_clock_that_was_ahead_holds_nothing_up() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(A, B, after=-hours(20))
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("joined", ["W-2"])]


def test_what_gets_critical_where_no_receiver_takes_criticals_is_still_notified_to_its_end() -> None:
    route = {"name": "warnings", "match": {"severity": "warning"}, "channel": "data"}
    channel = Channel()
    watchdog = Watchdog({"warnings": channel, "default": Channel()}, slack={"channel": None}, routes=[route])
    watchdog.check(A)
    watchdog.check(CRITICAL)
    watchdog.check()
    assert channel.sent() == [("opened", ["W-1"]), ("resolved", ["W-1"])]


def test_a_rise_to_critical_waits_as_well_for_one_check_after_its_cause_is_over() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(GPU, symptom("etl/a", GPU, severity="critical"))
    watchdog.check(CRITICAL)
    assert [about for about, _ in watchdog.channel.sent()] == ["opened", "opened", "resolved"]
    watchdog.check(CRITICAL)
    assert ("risen", ["W-1"]) in watchdog.channel.sent()


def test_what_is_gone_when_its_silence_ends_is_notified_when_it_comes_back_and_not_before() -> None:
    watchdog = Watchdog()
    watchdog.check(requests=[silence(minutes(30), check="late")])
    watchdog.check(A)
    watchdog.check()
    watchdog.check(A)
    # It is away for less than an hour, and may come back; the silence ends meanwhile.
    watchdog.check()
    watchdog.check(after=minutes(30))
    assert watchdog.channel.sent() == []
    watchdog.check(A)
    assert watchdog.channel.sent() == [("opened", ["W-1"])]
    (note,) = watchdog.channel.messages[0].content.notes
    assert note == "W-1 was suppressed until now: not found by the check before"


def test_what_was_never_notified_and_stays_away_is_not_notified_at_all() -> None:
    watchdog = Watchdog()
    watchdog.check(requests=[silence(minutes(30), check="late")])
    for found in [(A,), (), (A,), ()]:
        watchdog.check(*found)
    watchdog.check(after=minutes(61))
    watchdog.check(after=minutes(61))
    assert (watchdog.channel.sent(), watchdog.incidents.open) == ([], {})


def test_a_message_about_many_says_how_many_of_them_are_left() -> None:
    watchdog = Watchdog()
    many = [problem(f"etl/{n}") for n in range(300)]
    watchdog.check(*many)
    watchdog.check(*many[:20])
    (message,) = watchdog.channel.messages
    assert (message.content.open, message.content.total) == (20, 300)


def test_what_could_not_be_sent_for_days_is_sent_once_and_not_repeated_for_each_day() -> None:
    watchdog = Watchdog({"default": Channel(fault=lambda _: DeliveryError("no", permanent=False))})
    watchdog.check(A)
    for _ in range(5):
        watchdog.check(A, after=hours(24))
    watchdog.channel.fault = lambda _: None
    watchdog.check(A, after=hours(1))
    watchdog.check(A)
    assert watchdog.channel.sent() == [("opened", ["W-1"])]
    watchdog.check(A, after=hours(24))
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("repeated", ["W-1"])]


def test_what_comes_back_is_not_repeated_as_well() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(after=hours(23))
    watchdog.check(A, after=minutes(60))
    assert [about for about, _ in watchdog.channel.sent()] == ["opened", "resolved", "reopened"]
    watchdog.check(A, after=hours(24))
    assert ("repeated", ["W-1"]) in watchdog.channel.sent()


def test_what_comes_and_goes_does_not_hold_up_the_repeat_of_what_lasts() -> None:
    watchdog = Watchdog()
    watchdog.check(A, B)
    watchdog.check(B, after=hours(23))
    watchdog.check(A, B, after=minutes(60))
    assert ("repeated", ["W-2"]) in watchdog.channel.sent()


def test_the_message_from_before_a_rise_says_in_the_end_that_it_is_resolved_too() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(CRITICAL)
    for _ in range(5):
        watchdog.check(CRITICAL, after=hours(2))
    watchdog.check()
    assert [
        [incident.resolution for incident in message.content.incidents] for message in watchdog.channel.messages
    ] == [
        ["cleared"],
        ["cleared"],
    ]
    watchdog.check(after=hours(3))
    assert watchdog.outbox.notifications == ()


def test_a_message_points_at_no_cause_that_is_no_incident_yet() -> None:
    watchdog = Watchdog(work_pool={"hold": "6m"})
    watchdog.check(A)
    watchdog.check(GPU, symptom("etl/a", GPU))
    (message,) = watchdog.channel.messages
    assert message.content.explained_by == {}
    watchdog.check(GPU, symptom("etl/a", GPU), after=minutes(6))
    assert message.content.explained_by == {"W-1": "W-2"}


def test_what_is_preexisting_is_summed_up_once_there_is_a_receiver() -> None:
    watchdog = Watchdog(settled=False, slack={"channel": None})
    watchdog.check(A, B)
    watchdog.check(B)
    watchdog.policies = policies(**SLACK)
    watchdog.check(B)
    watchdog.check(B)
    assert watchdog.channel.sent() == [("preexisting", ["W-2"])]


def test_a_symptom_is_notified_after_its_cause_though_the_clock_was_set_back() -> None:
    watchdog = Watchdog()
    watchdog.check(GPU, symptom("etl/a", GPU))
    watchdog.check(A)
    watchdog.check(A, after=-hours(5))
    assert ("opened", ["W-2"]) in watchdog.channel.sent()


@pytest.mark.parametrize("posted", [False, True])
def test_what_is_sent_after_quiet_hours_still_belongs_to_its_message(posted: bool) -> None:
    watchdog = Watchdog()
    if posted:
        watchdog.check(A)
    watchdog.channel.fault = lambda _: DeliveryError("no", permanent=False)
    watchdog.check(A)
    for _ in range(8):
        watchdog.check(after=hours(1))
    watchdog.channel.fault = lambda _: None
    watchdog.check(after=hours(1))
    (message,) = watchdog.channel.messages
    assert [reply.content.about for reply in message.replies if reply.content] == ["details", "resolved"]
    assert [incident.resolution for incident in message.content.incidents] == ["cleared"]
    watchdog.check(after=hours(3))
    assert watchdog.outbox.notifications == ()


def test_a_fallback_without_threads_is_notified_once_and_not_of_the_details_as_well() -> None:
    refuses = Channel(fault=lambda _: DeliveryError("no", permanent=True))
    fallback = Channel(editable=False)
    watchdog = Watchdog({"default": refuses, "fallback": fallback}, alerts={"fallback": {"webhook_secret": "hook"}})
    watchdog.check(A)
    watchdog.check()
    assert [message.posted.about for message in fallback.messages] == ["opened", "resolved"]


@pytest.mark.parametrize("complete", [True, False])
def test_what_would_be_held_is_known_on_the_first_day_like_the_rest(complete: bool) -> None:
    watchdog = Watchdog(settled=False, late={"hold": "4m"}, alerts={"repeat_after": None})
    if not complete:
        watchdog.check(complete=False)
        watchdog.check(complete=False, after=minutes(25))
    watchdog.check(A, complete=complete)
    for _ in range(3):
        watchdog.check(A)
    assert watchdog.channel.sent() == [("preexisting", ["W-1"])]


def test_a_hold_begins_anew_when_the_clock_is_set_back() -> None:
    watchdog = Watchdog(late={"hold": "10m"})
    watchdog.check(A)
    watchdog.check(A, after=-hours(20))
    watchdog.check(A, after=minutes(10))
    assert watchdog.channel.sent() == [("opened", ["W-1"])]


def test_what_came_back_is_over_when_it_has_stayed_away_though_the_clock_was_set_back() -> None:
    watchdog = Watchdog()
    for found in [(A,), (), (A,), ()]:
        watchdog.check(*found)
    watchdog.check(after=-hours(20))
    watchdog.check(after=minutes(60))
    assert watchdog.incidents.open == {}


def test_a_receiver_is_tried_again_though_the_clock_was_a_year_ahead() -> None:
    watchdog = Watchdog({"default": Channel(fault=lambda _: DeliveryError("no", permanent=False))})
    watchdog.check(A, after=hours(24 * 365))
    watchdog.channel.fault = lambda _: None
    watchdog.check(A, after=-hours(24 * 365))
    assert watchdog.channel.sent() == [("opened", ["W-1"])]


@pytest.mark.parametrize("fallback", [False, True])
def test_one_message_that_is_never_taken_holds_up_no_other(fallback: bool) -> None:
    def refused(delivery: Delivery) -> DeliveryError | None:
        bad = delivery.content is not None and "W-1" in ids(delivery.content)
        return DeliveryError("invalid_blocks", permanent=True) if bad else None

    channels = {"default": Channel(fault=refused), "fallback": Channel(fault=refused)}
    watchdog = Watchdog(channels, alerts={"fallback": {"channel": "ops"}} if fallback else {})
    other = problem("etl/b", "stuck")
    watchdog.check(A)
    watchdog.check(A, other)
    watchdog.check(A)
    watchdog.check()
    assert watchdog.channel.sent() == [("opened", ["W-2"]), ("resolved", ["W-2"])]
    assert channels["fallback"].sent() == []
    # It is kept, and still tried now and then.
    assert next(delivery.content.about for delivery in watchdog.outbox.queue if delivery.content) == "opened"


def test_what_explains_each_other_in_a_circle_is_notified_and_what_it_explains_is_not() -> None:
    watchdog = Watchdog()
    watchdog.check(symptom("etl/a", B), symptom("etl/b", A), symptom("etl/c", A))
    assert watchdog.channel.sent() == [("opened", ["W-1", "W-2"])]


@pytest.mark.parametrize("route", ["fallback", "taken-out"])
def test_what_waits_for_a_route_that_was_taken_out_goes_to_the_default(route: str) -> None:
    configured = policies(alerts={"default": {"block": "slack-webhook/ops"}})
    assert isinstance(Session(cast(Api, None), configured, NOW).notifier(route), NotificationBlock)


def test_what_waits_when_alerts_are_turned_off_waits_until_they_are_turned_on() -> None:
    watchdog = Watchdog({"default": Channel(fault=lambda _: DeliveryError("no", permanent=False))})
    watchdog.check(A)
    watchdog.channel.fault = lambda _: None
    watchdog.policies = policies(**SLACK, alerts={"enabled": False})
    watchdog.check(A, after=hours(1))
    assert watchdog.channel.sent() == []
    watchdog.policies = policies(**SLACK)
    watchdog.check(A)
    assert watchdog.channel.sent() == [("opened", ["W-1"])]
