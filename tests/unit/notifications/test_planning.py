"""Who is notified of what, and when: scripts of checks, and what a person in the channel sees of them."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from types import FrameType
from typing import Any

import pytest

from monitoring.errors import DeliveryError
from monitoring.messages.alert_message import alert_title
from monitoring.model.finding import Cause
from monitoring.model.request import Request
from monitoring.model.silence import Silence
from monitoring.notifications.troubles import trouble_findings
from tests.support.builders import NOW, hours, minutes, observation
from tests.support.simulation import POOL, Channel, Watchdog, ids, problem, symptom

A, B, C = problem("etl/a"), problem("etl/b"), problem("etl/c")
CRITICAL = problem("etl/a", severity="critical")
GPU = problem("gpu", "work-pool", kind="work-pool", severity="critical", cause=POOL)


def asked(what: str, subject: str = "", at: datetime = NOW, **fields: Any) -> Request:
    return Request.model_validate(
        {"name": f"request-{what}-{subject}", "what": what, "at": at, "by": "ann", "subject": subject, **fields}
    )


def silence(until: timedelta, **matchers: Any) -> Request:
    return asked("silence", note="we know", silence=Silence(starts_at=NOW, ends_at=NOW + until, **matchers))


# --- once when it begins, once when it is over -----------------------------------------------------


def test_a_problem_is_notified_once_and_its_end_in_the_thread() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(A)
    watchdog.check(A)
    assert watchdog.channel.sent() == [("opened", ["W-1"])]
    watchdog.check()
    watchdog.check()
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("resolved", ["W-1"])]
    (message,) = watchdog.channel.messages
    # The message itself says so as well, and the note is shown in the channel.
    assert [incident.resolution for incident in message.content.incidents] == ["cleared"]
    assert [reply.broadcast for reply in message.replies if reply.content and reply.content.about == "resolved"] == [
        True
    ]


def test_a_healthy_server_gets_no_notifications() -> None:
    watchdog = Watchdog(settled=False)
    for _ in range(3):
        watchdog.check()
    assert (watchdog.channel.sent(), watchdog.events) == ([], [])


def test_where_messages_cannot_be_edited_each_thing_is_a_message_of_its_own() -> None:
    watchdog = Watchdog({"default": Channel(editable=False)}, alerts={"default": {"webhook_secret": "hook"}})
    watchdog.check(A)
    watchdog.check(A, B)
    watchdog.check(A, B)
    watchdog.check(B)
    watchdog.check()
    assert watchdog.channel.sent() == [
        ("opened", ["W-1"]),
        ("joined", ["W-2"]),
        ("resolved", ["W-1"]),
        ("resolved", ["W-2"]),
    ]


def test_information_is_never_notified() -> None:
    watchdog = Watchdog()
    watchdog.check(problem("etl/a", severity="info"))
    assert watchdog.channel.sent() == []


def test_turned_off_no_notification_is_sent_and_events_go_on() -> None:
    watchdog = Watchdog(alerts={"enabled": False})
    watchdog.check(A)
    assert watchdog.channel.sent() == []
    assert [event.name for event in watchdog.events] == ["watchdog.incident.opened"]


def test_without_a_channel_no_notification_is_sent_and_nothing_piles_up() -> None:
    watchdog = Watchdog(slack={"channel": None})
    watchdog.check(A)
    watchdog.check(A)
    assert (watchdog.channel.sent(), watchdog.outbox.queue) == ([], ())


# --- holds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "sent"), [(minutes(9), []), (minutes(10), [("opened", ["W-1"])])])
def test_what_is_held_is_notified_when_it_has_lasted(after: timedelta, sent: list[Any]) -> None:
    watchdog = Watchdog(late={"hold": "10m"})
    watchdog.check(A)
    assert watchdog.channel.sent() == []
    watchdog.check(A, after=after)
    assert watchdog.channel.sent() == sent


def test_what_is_over_before_its_hold_leaves_no_trace() -> None:
    watchdog = Watchdog(late={"hold": "10m"})
    watchdog.check(A)
    watchdog.check()
    watchdog.check(after=minutes(20))
    assert (watchdog.channel.sent(), watchdog.events, watchdog.closed) == ([], [], ())
    watchdog.check(B)
    watchdog.check(B, after=minutes(10))
    # Its number was given to nobody else.
    assert watchdog.channel.sent() == [("opened", ["W-1"])]


# --- groups -----------------------------------------------------------------------------------------


def test_what_one_check_opens_is_one_message_by_check_and_by_cause() -> None:
    watchdog = Watchdog()
    others = [problem(f"etl/{n}", "failed") for n in range(3)]
    waiting = [problem(f"gpu/{n}", cause=POOL) for n in range(2)]
    watchdog.check(A, B, *others, *waiting)
    assert [(about, len(shown)) for about, shown in watchdog.channel.sent()] == [
        ("opened", 2),
        ("opened", 3),
        ("opened", 2),
    ]


def test_three_hundred_incidents_are_one_message_that_counts_them() -> None:
    watchdog = Watchdog()
    watchdog.check(*(problem(f"etl/{n}") for n in range(300)))
    (message,) = watchdog.channel.messages
    assert (message.content.total, message.content.open, len(message.content.incidents)) == (300, 300, 15)


def test_what_joins_a_message_edits_it_and_is_shown_in_the_channel() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(A, B)
    (message,) = watchdog.channel.messages
    assert (ids(message.content), message.edits) == (["W-1", "W-2"], 1)
    (joined,) = [reply for reply in message.replies if reply.content and reply.content.about == "joined"]
    assert joined.broadcast


def test_what_joins_its_cause_disturbs_nobody_again() -> None:
    watchdog = Watchdog()
    first, second = (problem(f"gpu/{n}", cause=POOL) for n in range(2))
    watchdog.check(first)
    watchdog.check(first, second)
    (message,) = watchdog.channel.messages
    (joined,) = [reply for reply in message.replies if reply.content and reply.content.about == "joined"]
    assert (ids(message.content), joined.broadcast) == (["W-1", "W-2"], False)


@pytest.mark.parametrize(("after", "edits"), [(minutes(3), 0), (minutes(4), 1)])
def test_a_message_changes_at_most_once_in_the_group_interval(after: timedelta, edits: int) -> None:
    watchdog = Watchdog(alerts={"group_interval": "4m"})
    watchdog.check(A)
    watchdog.check(A, B, after=after)
    assert watchdog.channel.messages[0].edits == edits
    watchdog.check(A, B)
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("joined", ["W-2"])]


def test_what_is_critical_never_merely_joins_warnings() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(A, problem("etl/b", severity="critical"))
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("opened", ["W-2"])]


# --- worse, again, still ----------------------------------------------------------------------------


def test_a_rise_to_critical_is_a_new_message_and_notified_once() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(CRITICAL)
    watchdog.check(A)
    watchdog.check(CRITICAL)
    watchdog.check()
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("risen", ["W-1"]), ("resolved", ["W-1"])]


@pytest.mark.parametrize(("milder", "times"), [(minutes(59), 1), (minutes(60), 2)])
def test_what_was_milder_for_long_is_notified_anew_when_it_gets_critical_again(milder: timedelta, times: int) -> None:
    watchdog = Watchdog()
    watchdog.check(CRITICAL)
    watchdog.check(A)
    watchdog.check(A, after=milder)
    watchdog.check(CRITICAL)
    assert [about for about, _ in watchdog.channel.sent()] == ["opened", "risen"][:times]


@pytest.mark.parametrize(("lasts", "about"), [(minutes(59), ["opened"]), (minutes(60), ["opened", "risen"])])
def test_a_warning_that_lasts_gets_critical_where_that_is_configured(lasts: timedelta, about: list[str]) -> None:
    watchdog = Watchdog(escalate_after="1h")
    watchdog.check(A)
    watchdog.check(A, after=lasts)
    assert [what for what, _ in watchdog.channel.sent()] == about


@pytest.mark.parametrize(
    ("away", "sent"),
    [
        (minutes(60), [("opened", ["W-1"]), ("resolved", ["W-1"]), ("reopened", ["W-1"])]),
        (minutes(61), [("opened", ["W-1"]), ("opened", ["W-2"]), ("resolved", ["W-1"])]),
    ],
)
def test_what_comes_back_soon_continues_the_old_incident(away: timedelta, sent: list[Any]) -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check()
    watchdog.check(A, after=away)
    assert watchdog.channel.sent() == sent


def test_what_comes_and_goes_all_day_is_notified_twice() -> None:
    watchdog = Watchdog(alerts={"repeat_after": None})
    for _ in range(60):
        watchdog.check(A)
        watchdog.check()
    watchdog.check(after=minutes(61))
    assert watchdog.channel.sent() == [
        ("opened", ["W-1"]),
        ("resolved", ["W-1"]),
        ("reopened", ["W-1"]),
        ("resolved", ["W-1"]),
    ]
    assert [incident.id for incident in watchdog.closed] == ["W-1"]


@pytest.mark.parametrize(("after", "times"), [(hours(23), 0), (hours(24), 1)])
def test_what_lasts_is_repeated_after_the_interval(after: timedelta, times: int) -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(A, after=after)
    watchdog.check(A)
    assert [about for about, _ in watchdog.channel.sent()] == ["opened", *["repeated"] * times]


def test_an_acknowledgement_stops_the_repeats_and_not_the_end() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(A, requests=[asked("acknowledge", "W-1", note="on it")])
    watchdog.check(A, after=hours(25))
    watchdog.check()
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("resolved", ["W-1"])]
    (shown,) = watchdog.channel.messages[0].content.incidents
    assert shown.acknowledged
    assert shown.acknowledged.by == "ann"


def test_a_rise_to_critical_is_notified_though_it_was_acknowledged() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(A, requests=[asked("acknowledge", "W-1")])
    watchdog.check(CRITICAL)
    assert [about for about, _ in watchdog.channel.sent()] == ["opened", "risen"]


# --- closed by hand ----------------------------------------------------------------------------------


def test_what_is_closed_by_hand_stays_closed_until_something_new_is_found_of_it() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(A, requests=[asked("close", "W-1")])
    watchdog.check(A)
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("resolved", ["W-1"])]
    watchdog.check(A.model_copy(update={"flow_run_ids": ("another run",)}))
    assert watchdog.channel.sent()[1] == ("opened", ["W-2"])


def test_what_is_closed_by_hand_and_was_over_meanwhile_is_news_again() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(A, requests=[asked("close", "W-1")])
    watchdog.check()
    watchdog.check(A)
    assert ("opened", ["W-2"]) in watchdog.channel.sent()


# --- silences and quiet hours ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "matcher", [{"deployment": "etl/*"}, {"check": "late"}, {"deployment": "etl/a", "check": "late"}]
)
def test_a_silence_suppresses_what_matches_and_its_end_is_notified_with_the_reason(matcher: dict[str, str]) -> None:
    watchdog = Watchdog()
    watchdog.check(requests=[silence(hours(1), **matcher)])
    watchdog.check(A)
    assert watchdog.channel.sent() == []
    watchdog.check(A, after=hours(1))
    (message,) = watchdog.channel.messages
    (note,) = message.content.notes
    assert "W-1" in note
    assert "S-1 (we know)" in note


def test_what_ends_during_a_silence_is_not_notified_at_all() -> None:
    watchdog = Watchdog()
    watchdog.check(requests=[silence(hours(1), check="late")])
    watchdog.check(A)
    watchdog.check()
    watchdog.check(after=hours(2))
    assert watchdog.channel.sent() == []


def test_a_silence_over_a_notified_incident_stops_repeats_and_not_the_end() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(A, requests=[silence(hours(48), check="late")])
    watchdog.check(A, after=hours(25))
    watchdog.check()
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("resolved", ["W-1"])]


def test_the_end_of_a_silence_over_a_notified_incident_is_reported_once() -> None:
    watchdog = Watchdog()
    watchdog.check(A, B)
    watchdog.check(A, B, requests=[silence(hours(1), deployment="etl/a")])
    assert [about for about, _ in watchdog.channel.sent()] == ["opened"]
    watchdog.check(A, B, after=hours(1))
    watchdog.check(A, B)
    assert watchdog.channel.sent()[1:] == [("repeated", ["W-1"])]
    (reply,) = [reply for reply in watchdog.channel.messages[0].replies if reply.broadcast]
    assert reply.content
    (note,) = reply.content.notes
    assert note.startswith("W-1 still fires and is no longer silenced by S-1 (we know)")


@pytest.mark.parametrize("last", [{"requests": [asked("acknowledge", "W-1")]}, {}])
def test_a_silence_that_ends_over_what_somebody_looks_after_or_is_over_is_not(last: dict[str, Any]) -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(*([A] if last else []), **last)
    watchdog.check(*([A] if last else []), requests=[silence(hours(1), deployment="etl/a")])
    watchdog.check(*([A] if last else []), after=hours(2))
    assert "repeated" not in [about for about, _ in watchdog.channel.sent()]


def test_a_silence_that_ends_in_quiet_hours_is_reported_in_the_morning() -> None:
    watchdog = Watchdog(alerts={"quiet_hours": {"begin": "13:00", "end": "18:00"}})
    watchdog.check(A)
    watchdog.check(A, requests=[silence(hours(2), deployment="etl/a")])
    watchdog.check(A, after=hours(2))
    assert [about for about, _ in watchdog.channel.sent()] == ["opened"]
    watchdog.check(A, after=hours(4))
    assert [about for about, _ in watchdog.channel.sent()] == ["opened", "repeated"]


def test_a_silence_that_matches_something_else_holds_nothing_back() -> None:
    watchdog = Watchdog()
    watchdog.check(requests=[silence(hours(1), deployment="ml/*"), silence(hours(1), pool="gpu")])
    watchdog.check(A)
    assert watchdog.channel.sent() == [("opened", ["W-1"])]


def test_an_expired_silence_holds_nothing_back() -> None:
    watchdog = Watchdog()
    watchdog.check(requests=[silence(hours(9), check="late")])
    watchdog.check(A, requests=[asked("expire", "S-1")])
    assert watchdog.channel.sent() == [("opened", ["W-1"])]


def test_quiet_hours_hold_warnings_for_the_morning_and_never_criticals() -> None:
    # It is noon.
    watchdog = Watchdog(alerts={"quiet_hours": {"begin": "11:00", "end": "18:00"}})
    watchdog.check(A, problem("etl/b", "failed", severity="critical"))
    assert watchdog.channel.sent() == [("opened", ["W-2"])]
    watchdog.check(A, after=hours(6))
    assert ("opened", ["W-1"]) in watchdog.channel.sent()


# --- symptoms ----------------------------------------------------------------------------------------


def test_a_symptom_is_notified_with_its_cause_only() -> None:
    watchdog = Watchdog()
    watchdog.check(GPU, symptom("etl/a", GPU), symptom("etl/b", GPU))
    assert watchdog.channel.sent() == [("opened", ["W-1"])]


def test_when_the_cause_is_over_its_symptoms_get_one_complete_check_to_be_over_as_well() -> None:
    watchdog = Watchdog()
    watchdog.check(GPU, symptom("etl/a", GPU), symptom("etl/b", GPU))
    watchdog.check(A, B)
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("resolved", ["W-1"])]
    # This one does not see everything, and is not the one.
    watchdog.check(A, B, complete=False)
    assert len(watchdog.channel.sent()) == 2
    watchdog.check(A)
    assert watchdog.channel.sent() == [("opened", ["W-1"]), ("opened", ["W-2"]), ("resolved", ["W-1"])]


def test_symptoms_are_not_held_back_for_ever_by_answers_that_are_not_whole() -> None:
    watchdog = Watchdog()
    watchdog.check(GPU, symptom("etl/a", GPU))
    for _ in range(7):
        watchdog.check(A, complete=False)
    assert ("opened", ["W-2"]) in watchdog.channel.sent()


def test_what_was_notified_and_becomes_a_symptom_is_edited_to_point_at_its_cause() -> None:
    watchdog = Watchdog()
    watchdog.check(A)
    watchdog.check(GPU, symptom("etl/a", GPU))
    first, second = watchdog.channel.messages
    assert first.content.explained_by == {"W-1": "W-2"}
    assert ids(second.content) == ["W-2"]


def test_a_silenced_cause_silences_its_symptoms() -> None:
    watchdog = Watchdog()
    watchdog.check(requests=[silence(hours(1), pool="gpu")])
    watchdog.check(GPU, symptom("etl/a", GPU))
    assert watchdog.channel.sent() == []


# --- the first day -----------------------------------------------------------------------------------


def test_what_is_there_on_the_first_day_is_one_summary_and_no_alert() -> None:
    watchdog = Watchdog(settled=False)
    watchdog.check(A, B, CRITICAL.model_copy(update={"fingerprint": "other"}))
    watchdog.check(A, B)
    assert [about for about, _ in watchdog.channel.sent()] == ["preexisting"]
    watchdog.check(A, B, C)
    watchdog.check(C)
    assert [about for about, _ in watchdog.channel.sent()] == ["preexisting", "opened"]
    watchdog.check()
    assert watchdog.channel.sent()[-1] == ("resolved", ["W-4"])


def test_the_summary_lists_all_and_counts_problems_as_every_report_does() -> None:
    watchdog = Watchdog(settled=False)
    symptom = B.model_copy(update={"symptom_of": A.fingerprint})
    watchdog.check(A, symptom, C, requests=[silence(hours(1), deployment=C.subject.name)])
    assert watchdog.channel.sent() == [("preexisting", ["W-1", "W-2", "W-3"])]
    content = watchdog.channel.messages[0].content
    assert alert_title(content) == "2 problems, with 1 symptom, from before the watchdog's first check"
    assert content.notes == ("Silenced: W-3",)


def test_what_gets_worse_after_the_first_day_is_news() -> None:
    watchdog = Watchdog(settled=False)
    watchdog.check(A)
    watchdog.check(CRITICAL)
    assert [about for about, _ in watchdog.channel.sent()] == ["preexisting", "opened"]


def test_nothing_is_notified_before_a_first_complete_check() -> None:
    watchdog = Watchdog(settled=False)
    watchdog.check(A, complete=False)
    watchdog.check(A, B, complete=False)
    assert watchdog.channel.sent() == []
    watchdog.check(A, B, C)
    assert watchdog.channel.sent() == [("preexisting", ["W-1", "W-2", "W-3"])]


def test_a_server_that_never_answers_whole_does_not_keep_people_waiting_for_ever() -> None:
    watchdog = Watchdog(settled=False)
    for _ in range(8):
        watchdog.check(A, complete=False)
    watchdog.check(A, B, complete=False)
    assert watchdog.channel.sent() == [("preexisting", ["W-1"]), ("opened", ["W-2"])]


# --- cost --------------------------------------------------------------------------------------------


def calls_to_plan(count: int) -> int:
    """How many calls of functions it takes to plan that many resolved notifications, each with a cause of its own."""
    watchdog = Watchdog()
    pools = [Cause(kind="work-pool", name=f"pool-{n}", reason="no-live-worker") for n in range(count)]
    watchdog.decide([problem(f"etl/{pool.name}", cause=pool) for pool in pools])
    calls = 0

    def counted(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call"

    watchdog.now += minutes(5)
    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        watchdog.decide([])
    finally:
        sys.setprofile(before)
    assert len(watchdog.outbox.notifications) == count
    return calls


def test_the_work_grows_with_open_notifications_and_not_with_their_square() -> None:
    assert calls_to_plan(400) < 4.4 * calls_to_plan(100)


# --- routes ------------------------------------------------------------------------------------------

ROUTES = [
    {"name": "pools", "match": {"pool": "gpu"}, "channel": "infra"},
    {"name": "bad", "match": {"severity": "critical", "deployment": "etl/*"}, "channel": "on-call"},
    {"name": "stale", "match": {"check": "stale"}, "channel": "data"},
]


def test_the_first_route_that_matches_notifies() -> None:
    channels = {name: Channel() for name in ("default", "pools", "bad", "stale")}
    watchdog = Watchdog(channels, routes=ROUTES)
    watchdog.check(GPU, CRITICAL, B, problem("etl/c", "stale"))
    assert {name: channel.sent() for name, channel in channels.items()} == {
        "default": [("opened", ["W-3"])],
        "pools": [("opened", ["W-1"])],
        "bad": [("opened", ["W-2"])],
        "stale": [("opened", ["W-4"])],
    }


def test_a_rise_goes_where_criticals_go() -> None:
    channels = {name: Channel() for name in ("default", "pools", "bad", "stale")}
    watchdog = Watchdog(channels, routes=ROUTES)
    watchdog.check(A)
    watchdog.check(CRITICAL)
    assert channels["bad"].sent() == [("risen", ["W-1"])]


@pytest.mark.parametrize(
    ("settings", "waits", "lasts"),
    [
        ({"slack": {"channel": "other"}}, False, True),
        ({"slack": {"channel": None}}, True, True),
        ({"slack": {"channel": None}, "alerts": {"enabled": False}}, True, False),
        ({"slack": {"channel": None}}, False, False),
    ],
    ids=["another receiver", "no receiver", "no alerts", "nothing waits"],
)
def test_a_route_without_a_receiver_is_trouble_while_its_messages_wait(
    settings: dict[str, Any], waits: bool, lasts: bool
) -> None:
    watchdog = Watchdog({"default": Channel(fault=lambda _: DeliveryError("no", permanent=True))})
    watchdog.check(A)
    seen = observation(at=watchdog.now)
    [found] = trouble_findings(watchdog.outbox, seen, watchdog.policies.config)
    assert found.subject.name == "default"
    assert found.summary == "default: alerts on this route have not been delivered for 0 s: no"
    outbox = watchdog.outbox if waits else watchdog.outbox.model_copy(update={"queue": ()})
    assert bool(list(trouble_findings(outbox, seen, Watchdog(**settings).policies.config))) == lasts
