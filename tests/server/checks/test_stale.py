"""stale: deployments without a recent success."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from demo.stack import Server
from monitoring.model.finding import Cause
from tests.support.assessment import Assessed, assess_server, by_name
from tests.support.noise import NOISE_MAY_BE_STALE
from tests.support.seed_values import DAY, HOUR, MINUTE, SECOND, Deployment, Run, Schedule
from tests.support.seeding import Seed

BEAT = timedelta(seconds=180)


def test_stale_by_a_given_window(prefect_server: Server, world: Seed) -> None:
    now = world.now

    def plant(name: str, success: timedelta | None, **fields: Any) -> Deployment:
        deployment = world.deployment(f"stale/{name}", **fields)
        if success is not None:
            world.run(deployment, ended=now - success)
        return deployment

    plant("fresh", 6 * HOUR)
    plant("stale", 6 * HOUR + SECOND)
    plant("beyond-the-window-of-runs", 20 * DAY)
    plant("never", None)
    plant("new", None, created=now - 6 * HOUR + SECOND)
    plant("old-enough", None, created=now - 6 * HOUR)
    plant("paused", 20 * DAY, paused=True)
    cancelled = plant("all-cancelled", 3 * DAY)
    world.many(Run(deployment=cancelled, state="CANCELLED", ended=now - n * HOUR) for n in range(1, 30))
    failing = plant("failing", 8 * HOUR)
    world.run(failing, "FAILED", ended=now - HOUR)

    seen = assess_server(now, stale={"within": "6h"}, rules=[NOISE_MAY_BE_STALE])
    stale = ("stale", "beyond-the-window-of-runs", "never", "old-enough", "all-cancelled", "failing")
    assert by_name(seen.found, "stale") == dict.fromkeys(stale, "critical")
    assert len(seen.found) == len(stale) + 1
    failed = seen.found["failed", "stale/failing"]
    assert seen.found["stale", "stale/failing"].symptom_of == failed.fingerprint
    last = f"last success {now - 20 * DAY:%Y-%m-%d %H:%M} UTC"
    assert last in seen.found["stale", "stale/beyond-the-window-of-runs"].observed
    assert seen.found["stale", "stale/never"].observed == "no success ever"
    assert seen.found["stale", "stale/stale"].since == now - 6 * HOUR - SECOND


def test_a_success_that_retention_may_have_deleted_is_unknown_and_leaves_the_status_alone(
    prefect_server: Server, world: Seed
) -> None:
    # The oldest run that the server still has is one of the noise, 90 days old.
    old = world.now - 300 * DAY
    world.deployment("stale/lost", created=old)
    seen = assess_server(world.now, rules=[{"match": {"deployment": "stale/*"}, "stale": {"within": "95d"}}])
    assert by_name(seen.found, "stale") == {"lost": "info"}
    assert (seen.status, seen.missing) == ("ok", {})
    seen = assess_server(world.now, rules=[{"match": {"deployment": "stale/*"}, "stale": {"within": "80d"}}])
    assert by_name(seen.found, "stale") == {"lost": "critical"}


def test_stale_by_two_missed_fires_and_grace(prefect_server: Server, world: Seed) -> None:
    """``now`` is chosen relative to the fires; the deployments succeed before or after the older of the two."""
    now = world.now
    grace = 30 * MINUTE
    old: dict[str, Any] = {"created": now - 50 * DAY, "updated": now - 50 * DAY}

    def plant(name: str, *, first: datetime, schedule: Any) -> None:
        """``first`` is the older of the two newest fires that are past their grace."""
        for suffix, success in (("", first - SECOND), ("-fresh", first)):
            deployment = world.deployment(f"stale/{name}{suffix}", schedule=schedule, **old)
            world.run(deployment, ended=success)

    # Every 6 hours; the newest fire is exactly its grace ago.
    newest = now - grace
    every_six = IntervalSchedule(interval=6 * HOUR, anchor_date=newest)
    plant("interval", first=newest - 6 * HOUR, schedule=every_six)
    # A second earlier the newest of them does not count yet: a success after the one before the previous is enough.
    soon = IntervalSchedule(interval=6 * HOUR, anchor_date=newest + SECOND)
    within_grace = world.deployment("stale/within-grace", schedule=soon, created=now - 50 * DAY)
    world.run(within_grace, ended=newest + SECOND - 12 * HOUR)
    rule = RRuleSchedule(rrule=f"DTSTART:{newest - 40 * DAY:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=DAILY", timezone="UTC")
    last = newest.replace(microsecond=0)
    plant("rrule", first=last - DAY, schedule=rule)
    # Only one fire since it was made: two cannot have been missed.
    world.deployment("stale/new", schedule=every_six, created=now - 6 * HOUR)
    # An rrule that has ended promises no more, and was met while it lasted.
    ended = RRuleSchedule(rrule=f"DTSTART:{now - 40 * DAY:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=DAILY;COUNT=3", timezone="UTC")
    ended_rule = world.deployment("stale/ended-rule", schedule=ended, created=now - 50 * DAY)
    world.run(ended_rule, ended=now - 38 * DAY + MINUTE)
    inactive = world.deployment("stale/off", schedule=every_six, schedule_active=False, created=now - 50 * DAY)
    world.run(inactive, ended=now - 40 * DAY)
    world.deployment("stale/paused", schedule=every_six, paused=True, created=now - 50 * DAY)

    found = assess_server(now, unscheduled={"after": "60d"}).found
    assert by_name(found, "stale") == {"interval": "critical", "rrule": "critical"}
    assert len(found) == 2


@pytest.mark.parametrize(
    ("now", "first_fire"),
    [
        # Berlin goes from +01:00 to +02:00 in the night to 29 March 2026, and back in the night to 25 October.
        pytest.param("2026-03-29T08:00Z", "2026-03-28T07:00Z", id="spring"),
        pytest.param("2026-10-25T08:00Z", "2026-10-24T06:00Z", id="autumn"),
    ],
)
def test_a_cron_line_fires_in_its_own_time_zone_across_summer_time(
    prefect_server: Server, seed: Seed, now: str, first_fire: str
) -> None:
    at, fire = (datetime.strptime(text, "%Y-%m-%dT%H:%MZ").replace(tzinfo=timezone.utc) for text in (now, first_fire))
    then = Seed(prefect_server.database_url, now=at)
    eight = CronSchedule(cron="0 8 * * *", timezone="Europe/Berlin")
    for name, success in (("stale", fire - SECOND), ("fresh", fire)):
        world = then.deployment(f"summer/{name}", schedule=eight, updated=at - 30 * DAY)
        then.run(world, ended=success)
    # Runs that the server's own scheduler makes meanwhile are due in the present, whenever this test runs.
    found = {key: finding for key, finding in assess_server(at).found.items() if key[0] == "stale"}
    assert by_name(found, "stale") == {"stale": "critical"}
    assert f"since {fire:%Y-%m-%d %H:%M} UTC" in found["stale", "summer/stale"].expected


def test_stale_is_a_symptom_of_whatever_keeps_the_deployment_from_succeeding(
    prefect_server: Server, world: Seed
) -> None:
    now = world.now

    def plant(name: str, state: str, **fields: Any) -> Run:
        deployment = world.deployment(f"stale/{name}", pool=fields.pop("pool", None))
        world.run(deployment, ended=now - 3 * DAY)
        return world.run(deployment, state, **fields)

    plant("failed", "FAILED", ended=now - HOUR)
    plant("crashed", "CRASHED", ended=now - HOUR)
    plant("stuck", "PENDING", since=now - HOUR)
    plant("late", "Late", due=now - HOUR, pool=world.pool("nobody"))
    zombie = plant("zombie", "RUNNING", started=now - 2 * HOUR)
    world.heartbeats(zombie, (now - HOUR - n * BEAT for n in range(3)))
    plant("mute", "RUNNING", started=now - 2 * HOUR)

    found = assess_server(now, stale={"within": "1d"}, rules=[NOISE_MAY_BE_STALE]).found
    for check in ("failed", "crashed", "stuck", "late", "zombie"):
        stale = found["stale", f"stale/{check}"]
        assert stale.symptom_of == found[check, f"stale/{check}"].fingerprint
    assert found["stale", "stale/late"].cause == Cause(kind="work-pool", name="nobody", reason="no-live-worker")
    assert found["stale", "stale/mute"].symptom_of is None, "what cannot be judged explains nothing"


def test_it_says_which_scheduled_time_was_missed_first_and_how_many_since(prefect_server: Server, world: Seed) -> None:
    now = world.now
    newest = (now - 40 * MINUTE).replace(microsecond=0)
    hourly = IntervalSchedule(interval=HOUR, anchor_date=newest)
    daily = IntervalSchedule(interval=DAY, anchor_date=newest - 30 * MINUTE)
    old: dict[str, Any] = {"created": now - 50 * DAY, "updated": now - 50 * DAY}

    for name, success in (("last-night", newest - 9 * HOUR - MINUTE), ("long-ago", newest - 60 * DAY)):
        deployment = world.deployment(
            f"missed/{name}", schedules=[Schedule(hourly), Schedule(daily), Schedule(daily, active=False)], **old
        )
        world.run(deployment, ended=success)
    never = world.deployment("missed/never", schedule=hourly, **(old | {"created": newest - 5 * HOUR - MINUTE}))
    assert never.scheduled

    found = assess_server(now).found
    night = found["stale", "missed/last-night"].observed
    # Ten fires of the hourly schedule, and one of the daily one.
    assert night.endswith(f"11 scheduled times missed since {newest - 9 * HOUR:%Y-%m-%d %H:%M} UTC")
    assert "; at least 1,000 scheduled times missed since" in found["stale", "missed/long-ago"].observed
    assert (
        f"6 scheduled times missed since {newest - 5 * HOUR:%Y-%m-%d %H:%M} UTC"
        in found["stale", "missed/never"].observed
    )


def test_the_usual_run_time_is_granted_before_the_grace(prefect_server: Server, world: Seed) -> None:
    """The newest fire that counts is 90 min ago: an hour of run time, and half an hour of grace."""
    now = world.now
    allowed = HOUR + 30 * MINUTE
    old: dict[str, Any] = {"created": now - 50 * DAY, "updated": now - 50 * DAY}
    for name, newest in (("not-yet", now - allowed + MINUTE), ("stale", now - allowed)):
        schedule = IntervalSchedule(interval=12 * HOUR, anchor_date=newest)
        deployment = world.deployment(f"long/{name}", schedule=schedule, **old)
        # The last success was an hour before the older fire; the runs before it took an hour each.
        ends = [newest - 13 * HOUR - n * 12 * HOUR for n in range(4)]
        world.many(Run(deployment=deployment, started=end - HOUR, ended=end) for end in ends)

    learned = assess_server(now - 2 * MINUTE, target={"window": "5d"}).assessment.ledger
    stale = {"missed_fires": 2, "grace": "30m"}
    assert by_name(assess_server(now, ledger=learned, stale=stale).found, "stale") == {"stale": "critical"}


def test_a_failure_that_is_expected_is_fresh_in_the_window_and_before(prefect_server: Server, world: Seed) -> None:
    now = world.now
    tags = ["watchdog:expect=failure", "watchdog:fresh-within=5d"]
    for name, state, ago in (
        ("in-the-window", "FAILED", HOUR),
        ("before-it", "FAILED", 3 * DAY),
        ("completed", "COMPLETED", 3 * DAY),
        ("too-old", "FAILED", 6 * DAY),
        ("crashed-before", "CRASHED", 3 * DAY),
    ):
        world.run(world.deployment(f"expected/{name}", tags=tags, created=now - 50 * DAY), state, ended=now - ago)

    seen = assess_server(now)
    assert by_name(seen.found, "stale") == {"too-old": "critical", "crashed-before": "critical"}
    # What the search found is remembered.
    again = assess_server(now + MINUTE, ledger=seen.assessment.ledger)
    assert by_name(again.found, "stale") == {"too-old": "critical", "crashed-before": "critical"}


def test_a_rhythm_without_schedules_is_expected_to_go_on(prefect_server: Server, world: Seed) -> None:
    now = world.now
    # Run times are asked for where runs may be slow; what ends in the window is learned from.
    for name, silence in (("goes-on", 5 * HOUR), ("stopped", 7 * HOUR)):
        by_event = world.deployment(f"rhythm/{name}")
        world.many(Run(deployment=by_event, ended=now - silence - n * 2 * HOUR) for n in range(9))
    findings = assess_server(now, target={"window": "2d"}).found
    assert by_name(findings, "stale") == {"stopped": "info"}
    assert not findings["stale", "rhythm/stopped"].unknown


@pytest.mark.parametrize("expected_within", [{}, {"stale": {"within": "1d"}}], ids=["by schedule", "within a day"])
def test_scheduled_times_during_a_pause_are_nobodys_fault(
    prefect_server: Server, world: Seed, expected_within: dict[str, Any]
) -> None:
    """Paused for 21 days and resumed a minute ago, by the deployment or by its only schedule: without any memory."""
    now = world.now
    began: dict[str, Any] = {"schedule": "0 * * * *", "created": now - 90 * DAY, "updated": now - 90 * DAY}
    deployments = {
        name: world.deployment(f"etl/{name}", **began) for name in ("resumed", "switched-on", "failing", "late", "idle")
    }
    for deployment in deployments.values():
        world.run(deployment, ended=now - 21 * DAY)
    # These were never paused: runs were due all the time.
    world.many(Run(deployment=deployments["failing"], state="CANCELLED", ended=now - n * HOUR) for n in range(1, 500))
    world.many(Run(deployment=deployments["late"], state="Late", due=now - n * HOUR) for n in range(1, 5))

    for name in ("resumed", "failing", "late"):
        for paused in (True, False):
            prefect_server.request("PATCH", f"/deployments/{deployments[name].id}", {"paused": paused})
    switched = f"/deployments/{deployments['switched-on'].id}"
    schedule = prefect_server.request("GET", switched)["schedules"][0]["id"]
    for active in (False, True):
        prefect_server.request("PATCH", f"{switched}/schedules/{schedule}", {"active": active})

    rules: dict[str, Any] = {"rules": [{"match": {"deployment": "etl/*"}, **expected_within}]}
    seen = assess_server(now + MINUTE, **rules)
    expected = {"resumed": "info", "switched-on": "info", "failing": "critical", "late": "critical", "idle": "critical"}
    assert by_name(seen.found, "stale") == expected
    resumed = seen.found["stale", "etl/resumed"]
    assert resumed.unknown
    assert "it may have been paused until" in resumed.summary
    # It remembers from now on, and says nothing.
    later = assess_server(now + 2 * MINUTE, ledger=seen.assessment.ledger, **rules)
    assert by_name(later.found, "stale") == {"failing": "critical", "late": "critical", "idle": "critical"}


def test_within_which_time_a_success_is_expected_counts_from_the_end_of_a_pause(
    prefect_server: Server, world: Seed
) -> None:
    now = world.now
    rules: dict[str, Any] = {"rules": [{"match": {"deployment": "etl/*"}, "stale": {"within": "1d"}}]}
    began: dict[str, Any] = {"created": now - 90 * DAY, "updated": now - 90 * DAY}
    scheduled = world.deployment("etl/scheduled", schedule="0 * * * *", paused=True, **began)
    by_event = world.deployment("etl/by-event", paused=True, **began)
    idle = world.deployment("etl/idle", **began)
    for deployment in (scheduled, by_event, idle):
        world.run(deployment, ended=now - 21 * DAY)

    def stale(seen: Assessed) -> dict[str, str]:
        return {name: severity for name, severity in by_name(seen.found, "stale").items() if name in names}

    names = ("scheduled", "by-event", "idle")
    paused = assess_server(now, **rules)
    assert stale(paused) == {"idle": "critical"}

    for deployment in (scheduled, by_event):
        prefect_server.request("PATCH", f"/deployments/{deployment.id}", {"paused": False})
    # Without memory, only scheduled times without runs show a pause; where nothing is scheduled, it stops nothing.
    fresh = assess_server(now + MINUTE, **rules).found
    assert by_name(fresh, "stale") == {"idle": "critical", "scheduled": "info", "by-event": "critical"}
    assert fresh["stale", "etl/scheduled"].unknown

    resumed = assess_server(now + MINUTE, ledger=paused.assessment.ledger, **rules)
    assert stale(resumed) == {"idle": "critical"}
    next_day = assess_server(now + 23 * HOUR, ledger=resumed.assessment.ledger, **rules)
    assert stale(next_day) == {"idle": "critical"}
    later = assess_server(now + 25 * HOUR, ledger=next_day.assessment.ledger, **rules)
    assert stale(later) == dict.fromkeys(names, "critical")


def test_after_a_pause_only_later_scheduled_times_count(prefect_server: Server, world: Seed) -> None:
    now = world.now
    resumed = world.deployment("etl/resumed", schedule="*/10 * * * *", created=now - 90 * DAY, updated=now - 2 * HOUR)
    world.run(resumed, ended=now - 21 * DAY)
    # Its schedule is as old as it is.
    found = assess_server(now).found["stale", "etl/resumed"]
    assert found.severity == "critical"
    assert "12 scheduled times missed" in found.observed
