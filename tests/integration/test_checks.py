"""Each condition on a real server, at its threshold on one side and the other, in front of background noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.server.schemas.states import StateType
from werkzeug import Response

from demo.stack import Server
from monitoring.config import Config
from monitoring.incidents import advance
from monitoring.model import Cause, Ledger
from monitoring.policy import Policies
from monitoring.render import words
from tests.support.looking import Found, look
from tests.support.noise import noise
from tests.support.relay import Asked, relayed
from tests.support.seeding import HOUR, MINUTE, Deployment, Run, Seed, State

pytestmark = pytest.mark.integration

SECOND = timedelta(seconds=1)
DAY = 24 * HOUR
BEAT = timedelta(seconds=180)


@pytest.fixture
def world(seed: Seed) -> Iterator[Seed]:
    """A server with noise on it. None of that is ever found, whatever else a test plants."""
    noise(seed)
    yield seed
    noisy = [name for _, name in look(seed.now).found if name.startswith("noise-")]
    assert noisy == []


def by_name(found: Found, check: str) -> dict[str, str]:
    """Severities by the deployment's own name, of one check."""
    return {name.partition("/")[2]: finding.severity for (of, name), finding in found.items() if of == check}


def a_live_pool(seed: Seed, name: str = "alive", **fields: Any) -> Any:
    pool = seed.pool(name, **fields)
    seed.worker(pool)
    return pool


def test_a_server_with_nothing_but_noise_is_ok(prefect_server: Server, world: Seed) -> None:
    seen = look(world.now, stale={"within": "2d"}, slow={"limit": "20m"}, rules=[_NOISE_MAY_BE_STALE])
    assert seen.found == {}
    assert (seen.status, seen.missing) == ("ok", {})


#: A deployment that is only run by hand, or once later, promises no freshness.
_NOISE_MAY_BE_STALE = {"match": {"deployment": "noise-*"}, "stale": {"enabled": False}}


# --- failed and crashed ------------------------------------------------------------------------------


def test_the_latest_ended_run_decides_and_three_in_a_row_are_critical(prefect_server: Server, world: Seed) -> None:
    """Per deployment: how its runs ended, oldest first."""
    histories = {
        "once": ["FAILED"],
        "twice": ["COMPLETED", "FAILED", "FAILED"],
        "thrice": ["COMPLETED", "FAILED", "FAILED", "FAILED"],
        "timed-out": ["TimedOut"],
        "crashed": ["CRASHED"],
        "mixed": ["FAILED", "FAILED", "CRASHED"],
        "cancelled-between": ["FAILED", "CANCELLED", "FAILED", "FAILED", "CANCELLED"],
        "over": ["FAILED", "FAILED", "FAILED", "COMPLETED"],
        "over-by-cache": ["FAILED", "Cached"],
        "over-by-rollback": ["CRASHED", "RolledBack"],
        "only-cancelled": ["CANCELLED", "CANCELLED"],
    }
    plan = IntervalSchedule(interval=30 * DAY, anchor_date=world.now + 20 * DAY)
    for name, states in histories.items():
        deployment = world.deployment(f"etl/{name}", schedule=plan)
        start = world.now - 5 * HOUR
        world.many(Run(deployment=deployment, state=s, ended=start + n * HOUR / 2) for n, s in enumerate(states))
    found = look(world.now).found
    assert by_name(found, "failed") == {
        "once": "warning",
        "twice": "warning",
        "thrice": "critical",
        "timed-out": "warning",
        "cancelled-between": "critical",
    }
    assert by_name(found, "crashed") == {"crashed": "warning", "mixed": "critical"}
    assert len(found) == 7

    thrice = found["failed", "etl/thrice"]
    assert (thrice.flow_run_count, thrice.since) == (3, world.now - 4.5 * HOUR)
    assert "TimedOut" in found["failed", "etl/timed-out"].observed
    assert "2 failed, 1 crashed" in found["crashed", "etl/mixed"].summary


def test_the_newest_run_of_a_streak_comes_first_and_is_linked(prefect_server: Server, world: Seed) -> None:
    deployment = world.deployment("etl/nightly", schedule="0 0 1 1 *")
    older = world.run(deployment, "FAILED", ended=world.now - 2 * HOUR)
    newer = world.run(deployment, "FAILED", ended=world.now - HOUR, message="ValueError: newer")
    single = world.run(world.deployment("etl/single"), "FAILED", ended=world.now - HOUR)
    found = look(world.now).found
    streak = found["failed", "etl/nightly"]
    assert streak.flow_run_ids == (str(newer.id), str(older.id))
    assert "ValueError: newer" in streak.observed
    assert streak.url == f"{prefect_server.ui_url}/deployments/deployment/{deployment.id}"
    assert found["failed", "etl/single"].url == f"{prefect_server.ui_url}/runs/flow-run/{single.id}"


def test_a_run_that_awaits_a_retry_has_not_failed(prefect_server: Server, world: Seed) -> None:
    now = world.now
    deployment = world.deployment("etl/retrying")
    world.run(
        deployment,
        "AwaitingRetry",
        due=now - 10 * MINUTE,
        next_due=now + 5 * MINUTE,
        started=now - 3 * MINUTE,
        since=now - 2 * MINUTE,
        message="ValueError",
    )
    assert look(now).found == {}


def test_a_failure_is_forgiven_where_nothing_will_run_by_itself(prefect_server: Server, world: Seed) -> None:
    now = world.now
    yearly = "0 0 1 1 *"
    by_hand = {"by-hand": 24 * HOUR - SECOND, "by-hand-forgiven": 24 * HOUR}
    for name, ago in by_hand.items():
        world.run(world.deployment(f"etl/{name}"), "FAILED", ended=now - ago)
    off = world.deployment("etl/schedule-off", schedule=yearly, schedule_active=False)
    world.run(off, "CRASHED", ended=now - 25 * HOUR)
    world.run(world.deployment("etl/scheduled", schedule=yearly), "FAILED", ended=now - 47 * HOUR)
    world.run(world.deployment("etl/paused", schedule=yearly, paused=True), "FAILED", ended=now - HOUR)
    found = look(now, target={"window": "48h"}).found
    assert by_name(found, "failed") == {"by-hand": "warning", "scheduled": "warning"}
    assert by_name(found, "crashed") == {}


def test_an_incident_ends_with_the_reason(prefect_server: Server, world: Seed) -> None:
    now = world.now
    names = ["succeeded", "deleted", "paused", "expired"]
    deployments = {name: world.deployment(f"etl/{name}") for name in names}
    for deployment in deployments.values():
        world.run(deployment, "FAILED", ended=now - 23 * HOUR - 59 * MINUTE)
    first = look(now).assessment
    policies = Policies(Config())
    opened = advance({}, first.findings, first.observation, first.ledger, policies, True)
    assert len(opened.open) == 4

    world.run(deployments["succeeded"], ended=now + MINUTE)
    prefect_server.request("DELETE", f"/deployments/{deployments['deleted'].id}")
    prefect_server.request("PATCH", f"/deployments/{deployments['paused'].id}", {"paused": True})
    second = look(now + 2 * MINUTE, ledger=first.ledger).assessment
    moved = advance(opened.open, second.findings, second.observation, second.ledger, policies, True)
    assert moved.open == {}
    reasons = {move.incident.finding.subject.name.partition("/")[2]: move.reason for move in moved.transitions}
    assert reasons == {name: name for name in names}


def test_runs_without_a_deployment_are_watched_only_when_asked_for(prefect_server: Server, world: Seed) -> None:
    world.run(flow="laptop", state="FAILED", ended=world.now - HOUR)
    world.run(flow="laptop-late", state="SCHEDULED", due=world.now - HOUR)
    assert look(world.now).found == {}
    found = look(world.now, target={"runs_without_deployment": True}).found
    assert set(found) == {("failed", "laptop"), ("late", "laptop-late")}
    laptop = found["failed", "laptop"]
    assert (laptop.subject.kind, laptop.flow, laptop.deployment) == ("flow", "laptop", None)


def test_the_watchdogs_own_runs_are_kept_out(prefect_server: Server, world: Seed) -> None:
    for flow in ("watchdog-check", "watchdog-digest"):
        own = world.deployment(f"{flow}/default", schedule="*/5 * * * *", created=world.now - 90 * DAY)
        world.run(own, "FAILED", ended=world.now - HOUR)
        world.run(own, "RUNNING", started=world.now - 5 * HOUR)
        world.run(flow=flow, state="CRASHED", ended=world.now - HOUR)
    seen = look(world.now, target={"runs_without_deployment": True}, slow={"limit": "1h"})
    assert seen.found == {}


# --- parents and children ----------------------------------------------------------------------------


def test_a_subflow_that_failed_its_parent_is_named_as_its_cause(prefect_server: Server, world: Seed) -> None:
    end = world.now - HOUR
    said = "Flow run encountered an exception: ValueError: no rows"

    parent = world.run(world.deployment("parent/broken-by-child"), "FAILED", ended=end, message=said)
    child: dict[str, Any] = {"flow": "child", "state": "FAILED", "ended": end - SECOND, "message": said}
    world.run(parent=parent, name="dusty-dodo", **child)

    several = world.run(world.deployment("parent/by-states"), "FAILED", ended=end, message="1/2 states failed.")
    world.run(parent=several, name="returned", **child)

    caught = world.run(world.deployment("parent/went-on"), "COMPLETED", ended=end)
    world.run(parent=caught, **child)

    other = world.run(world.deployment("parent/other-fault"), "FAILED", ended=end, message="KeyError: 'own'")
    world.run(parent=other, **child)

    found = look(world.now).found
    assert set(found) == {("failed", f"parent/{name}") for name in ("broken-by-child", "by-states", "other-fault")}
    broken = found["failed", "parent/broken-by-child"]
    assert broken.cause == Cause(kind="flow-run", name="dusty-dodo", reason="failed")
    assert "child (dusty-dodo)" in broken.summary
    assert found["failed", "parent/by-states"].cause == Cause(kind="flow-run", name="returned", reason="failed")
    assert found["failed", "parent/other-fault"].cause is None
    assert all(finding.symptom_of is None for finding in found.values())


def test_a_parent_is_a_symptom_of_its_child_where_the_child_has_a_deployment(
    prefect_server: Server, world: Seed
) -> None:
    end = world.now - HOUR
    said = "Flow run encountered an exception: ValueError: no rows"
    parent = world.run(world.deployment("parent/weekly"), "FAILED", ended=end, message=said)
    child = world.deployment("child/load")
    world.run(child, "FAILED", ended=end - SECOND, message=said, parent=parent)
    seen = look(world.now)
    assert seen.found["failed", "parent/weekly"].symptom_of == seen.found["failed", "child/load"].fingerprint
    assert seen.found["failed", "child/load"].symptom_of is None
    assert len(words.heads(seen.assessment.report)) == 1


# --- late --------------------------------------------------------------------------------------------


def test_late_for_every_waiting_state_at_both_thresholds(prefect_server: Server, world: Seed) -> None:
    now = world.now
    pool = a_live_pool(world)

    def plant(name: str, state: str, **fields: Any) -> None:
        world.run(world.deployment(f"late/{name}", pool=pool), state, **fields)

    for state in ("SCHEDULED", "Late", "AwaitingConcurrencySlot"):
        # A slot that is refused moves the next start ahead again and again.
        ahead: dict[str, Any] = {"next_due": now + 30 * SECOND} if state == "AwaitingConcurrencySlot" else {}
        plant(f"{state}-not-yet", state, due=now - 15 * MINUTE, **ahead)
        plant(f"{state}-late", state, due=now - 15 * MINUTE - SECOND, **ahead)
        plant(f"{state}-almost-critical", state, due=now - 2 * HOUR, **ahead)
        plant(f"{state}-critical", state, due=now - 2 * HOUR - SECOND, **ahead)
    for state in ("AwaitingRetry", "Resuming"):
        begun: dict[str, Any] = {"due": now - 5 * HOUR, "started": now - 5 * HOUR, "since": now - 3 * HOUR}
        plant(f"{state}-not-yet", state, next_due=now - 15 * MINUTE, **begun)
        plant(f"{state}-late", state, next_due=now - 15 * MINUTE - SECOND, **begun)
        plant(f"{state}-critical", state, next_due=now - 2 * HOUR - SECOND, **begun)

    found = look(now).found
    waiting = ("SCHEDULED", "Late", "AwaitingConcurrencySlot")
    expected = {f"{state}-late": "warning" for state in (*waiting, "AwaitingRetry", "Resuming")}
    expected |= {f"{state}-almost-critical": "warning" for state in waiting}
    expected |= {f"{state}-critical": "critical" for state in (*waiting, "AwaitingRetry", "Resuming")}
    assert by_name(found, "late") == expected
    assert len(found) == len(expected)
    assert found["late", "late/AwaitingRetry-late"].since == now - 15 * MINUTE - SECOND


def test_a_run_that_had_started_waits_for_its_slot_since_the_first_refusal(prefect_server: Server, world: Seed) -> None:
    now = world.now

    def plant(name: str, first: timedelta) -> None:
        slot = "AwaitingConcurrencySlot"
        history = [
            # An earlier wait, before it ran, is over.
            State(slot, now - 9 * HOUR),
            State("RUNNING", now - 8 * HOUR),
            State("AwaitingRetry", now - 5 * HOUR),
            State(slot, now - first),
            State(slot, now - MINUTE),
        ]
        fields: dict[str, Any] = {"due": now - 9 * HOUR, "started": now - 8 * HOUR, "history": history}
        world.run(
            world.deployment(f"slot/{name}", pool=pool),
            slot,
            since=now - 30 * SECOND,
            next_due=now + SECOND,
            **fields,
        )

    pool = a_live_pool(world)
    plant("not-yet", 15 * MINUTE)
    plant("late", 15 * MINUTE + SECOND)
    found = look(now).found
    assert set(found) == {("late", "slot/late")}
    assert found["late", "slot/late"].since == now - 15 * MINUTE - SECOND


def test_three_hundred_late_runs_are_one_finding(prefect_server: Server, world: Seed) -> None:
    deployment = world.deployment("late/backlog", pool=a_live_pool(world))
    due = world.now - HOUR
    world.many(Run(deployment=deployment, state="Late", due=due, name=f"late-{n}") for n in range(300))
    found = look(world.now).found
    assert set(found) == {("late", "late/backlog")}
    backlog = found["late", "late/backlog"]
    assert backlog.flow_run_count == 300
    assert len(set(backlog.flow_run_ids)) == 300


def test_runs_wait_for_a_reason_or_for_none_that_shows(prefect_server: Server, world: Seed) -> None:
    now = world.now

    def plant(name: str, pool: Any, **fields: Any) -> Deployment:
        deployment = world.deployment(f"wait/{name}", pool=pool, **fields)
        world.run(deployment, "Late", due=now - HOUR)
        return deployment

    def busy(deployment: Deployment) -> None:
        running = world.run(deployment, "RUNNING", started=now - MINUTE)
        world.heartbeats(running, [now - SECOND])

    plant("nobody", world.pool("nobody"))
    dead = world.pool("dead")
    # The row says ONLINE. Three of its own intervals are what counts.
    world.worker(dead, last_heartbeat=now - 90 * SECOND - SECOND, status="ONLINE")
    plant("dead", dead)
    barely = world.pool("barely")
    world.worker(barely, last_heartbeat=now - 90 * SECOND, status="OFFLINE")
    plant("barely", barely)
    unhurried = world.pool("unhurried")
    world.worker(unhurried, last_heartbeat=now - 5 * MINUTE, interval=120)
    plant("unhurried", unhurried)
    plant("paused-pool", world.pool("paused-pool", paused=True))
    alive = a_live_pool(world)
    plant("paused-queue", world.queue(alive, "slow-lane", paused=True))
    full = world.queue(alive, "full-lane", concurrency_limit=1)
    busy(plant("full-queue", full))
    busy(plant("full-deployment", alive, concurrency_limit=1))
    plant("free-slot", alive, concurrency_limit=1)
    busy(plant("full-pool", a_live_pool(world, "full-pool", concurrency_limit=1)))
    for kind in ("ecs:push", "prefect:managed", "prefect-agent"):
        plant(kind.replace(":", "-"), world.pool(f"of-{kind.replace(':', '-')}", type=kind))
    plant("no-pool", None)

    found = look(now).found
    causes = {name.partition("/")[2]: finding.cause for (_, name), finding in found.items()}
    none = dict.fromkeys(("barely", "unhurried", "free-slot", "ecs-push", "prefect-managed", "prefect-agent"))
    assert causes == {
        "nobody": Cause(kind="work-pool", name="nobody", reason="no-live-worker"),
        "dead": Cause(kind="work-pool", name="dead", reason="no-live-worker"),
        "paused-pool": Cause(kind="work-pool", name="paused-pool", reason="paused"),
        "paused-queue": Cause(kind="work-queue", name="slow-lane", reason="paused"),
        "full-queue": Cause(kind="work-queue", name="full-lane", reason="limit-reached"),
        "full-deployment": Cause(kind="deployment", name="wait/full-deployment", reason="limit-reached"),
        "full-pool": Cause(kind="work-pool", name="full-pool", reason="limit-reached"),
        "no-pool": None,
        **none,
    }


# --- stuck -------------------------------------------------------------------------------------------


def test_stuck_in_each_state_at_its_threshold(prefect_server: Server, world: Seed) -> None:
    now = world.now

    def plant(name: str, state: str, since: timedelta, **fields: Any) -> None:
        times = {"since": now - since, "due": now - since, **fields}
        world.run(world.deployment(f"stuck/{name}"), state, **times)

    limits = {
        "PENDING": 30 * MINUTE,
        "Submitting": 30 * MINUTE,
        "CANCELLING": 15 * MINUTE,
        "PAUSED": DAY,
        "Suspended": DAY,
    }
    for state, limit in limits.items():
        plant(f"{state}-not-yet", state, limit)
        plant(f"{state}-stuck", state, limit + SECOND)
    # The state's own time restarts from Pending to Submitting; a run that was awaiting its retry was not pending.
    for name, first in (("through-submitting-not-yet", 30 * MINUTE), ("through-submitting", 30 * MINUTE + SECOND)):
        pending = [State("SCHEDULED", now - 2 * HOUR), State("PENDING", now - first)]
        plant(name, "Submitting", MINUTE, history=pending, created=now - 2 * HOUR, due=now - first)
    broken = [State("PENDING", now - HOUR), State("AwaitingRetry", now - 20 * MINUTE)]
    plant("pending-again", "PENDING", MINUTE, history=broken, created=now - 2 * HOUR)

    found = look(now).found
    assert by_name(found, "stuck") == {f"{state}-stuck": "warning" for state in limits} | {
        "through-submitting": "warning"
    }
    assert len(found) == len(limits) + 1
    assert found["stuck", "stuck/through-submitting"].since == now - 30 * MINUTE - SECOND
    assert "Submitting" in found["stuck", "stuck/through-submitting"].observed


# --- zombie and slow ---------------------------------------------------------------------------------


def test_heartbeats_that_stop_make_a_zombie_by_the_runs_own_interval(prefect_server: Server, world: Seed) -> None:
    now = world.now

    def plant(name: str, *, interval: timedelta, beats: int, silent: timedelta, **fields: Any) -> Run:
        run = world.run(world.deployment(f"zombie/{name}"), "RUNNING", started=now - 6 * HOUR, **fields)
        world.heartbeats(run, (now - silent - n * interval for n in range(beats)))
        return run

    half = 30 * SECOND
    plant("not-yet", interval=BEAT, beats=5, silent=3 * BEAT)
    plant("dead", interval=BEAT, beats=5, silent=3 * BEAT + SECOND)
    plant("quick-not-yet", interval=half, beats=5, silent=3 * half)
    plant("quick-dead", interval=half, beats=5, silent=3 * half + SECOND)
    plant("one-beat-not-yet", interval=BEAT, beats=1, silent=3 * BEAT)
    plant("one-beat-dead", interval=BEAT, beats=1, silent=3 * BEAT + SECOND)
    plant("never-any", interval=BEAT, beats=0, silent=BEAT)
    world.run(world.deployment("zombie/never-any-yet"), "RUNNING", started=now - 3 * BEAT)
    # It sends none while it waits for a retry: silence counts from when it went on.
    went_on: dict[str, Any] = {"since": now - MINUTE, "run_count": 2, "run_time": MINUTE}
    plant("went-on", interval=BEAT, beats=3, silent=2 * HOUR, **went_on)

    seen = look(now)
    assert by_name(seen.found, "zombie") == {
        "dead": "critical",
        "quick-dead": "critical",
        "one-beat-dead": "critical",
        "never-any": "info",
    }
    assert len(seen.found) == 4
    assert seen.found["zombie", "zombie/quick-dead"].expected == "a heartbeat every 30 s"
    assert seen.found["zombie", "zombie/dead"].since == now - 3 * BEAT - SECOND


def test_the_pause_before_a_retry_does_not_stretch_the_interval(prefect_server: Server, world: Seed) -> None:
    """A run that has beaten, waited five hours for its retry and beaten again dies as soon as any other."""
    now = world.now
    again: dict[str, Any] = {
        "started": now - 6 * HOUR,
        "since": now - 20 * MINUTE,
        "run_count": 2,
        "run_time": 15 * MINUTE,
    }
    run = world.run(world.deployment("zombie/second-attempt"), "RUNNING", **again)
    world.heartbeats(run, (now - 6 * HOUR + n * BEAT for n in range(1, 5)))
    world.heartbeats(run, (now - 20 * MINUTE + n * BEAT for n in range(1, 4)))
    silent = world.run(world.deployment("zombie/dead-at-once"), "RUNNING", **again)
    world.heartbeats(silent, (now - 6 * HOUR + n * BEAT for n in range(1, 5)))
    # Another run, older than both, for which heartbeats are asked from earlier on.
    old = world.run(world.deployment("zombie/old-and-well"), "RUNNING", started=now - 8 * HOUR)
    world.heartbeats(old, (now - 8 * HOUR + n * BEAT for n in range(160)))
    assert by_name(look(now).found, "zombie") == {"second-attempt": "critical", "dead-at-once": "critical"}


def test_a_run_that_ended_while_it_was_looked_at_is_no_zombie(prefect_server: Server, world: Seed) -> None:
    now = world.now
    runs = {}
    for name in ("dead", "just-ended"):
        runs[name] = world.run(world.deployment(f"zombie/{name}"), "RUNNING", started=now - 2 * HOUR)
        world.heartbeats(runs[name], (now - HOUR - n * BEAT for n in range(4)))
    ended = str(runs["just-ended"].id)

    def end_it(asked: Asked, _: object) -> None:
        if asked.path == "/events/count-by/resource":
            state = {"type": "COMPLETED", "name": "Completed"}
            prefect_server.request("POST", f"/flow_runs/{ended}/set_state", {"state": state, "force": True})

    with relayed(prefect_server.ui_url) as relay:
        relay.after = end_it
        seen = look(now, at=relay.url)
    assert set(seen.found) == {("zombie", "zombie/dead")}
    assert seen.missing == {}


def test_slow_counts_time_in_running_and_yields_to_zombie(prefect_server: Server, world: Seed) -> None:
    now = world.now
    limit = 30 * MINUTE

    def running(name: str, took: timedelta, **fields: Any) -> None:
        run = world.run(world.deployment(f"slow/{name}"), "RUNNING", started=now - took, **fields)
        world.heartbeats(run, (now - MINUTE - n * BEAT for n in range(3)))

    running("running-not-yet", limit)
    running("running", limit + SECOND)
    # Two hours since it started, of which 29 minutes were work.
    waited: dict[str, Any] = {"since": now - 10 * MINUTE, "run_count": 2}
    running("retried-not-yet", 2 * HOUR, run_time=20 * MINUTE, **waited)
    running("retried", 2 * HOUR, run_time=20 * MINUTE + SECOND, **waited)

    def ended(name: str, took: timedelta, **fields: Any) -> Deployment:
        deployment = world.deployment(f"slow/{name}")
        end = now - HOUR
        world.run(deployment, ended=end, started=end - took, **fields)
        return deployment

    ended("ended-not-yet", limit)
    ended("ended", limit + SECOND)
    ended("ended-waited", 3 * HOUR, run_time=limit)
    again = ended("ended-quicker-since", HOUR)
    world.run(again, ended=now - MINUTE, started=now - 2 * MINUTE)
    forgiven = world.deployment("slow/forgiven")
    world.run(forgiven, started=now - 26 * HOUR, ended=now - 24 * HOUR)

    zombie = world.run(world.deployment("slow/zombie"), "RUNNING", started=now - 2 * HOUR)
    world.heartbeats(zombie, (now - HOUR - n * BEAT for n in range(3)))

    found = look(now, target={"window": "30h"}, slow={"limit": "30m"}).found
    assert by_name(found, "slow") == dict.fromkeys(("running", "retried", "ended"), "warning")
    assert by_name(found, "zombie") == {"zombie": "critical"}
    assert len(found) == 4
    assert look(now).status == "critical", "without a limit nothing is slow, and the zombie stays"
    assert by_name(look(now).found, "slow") == {}


# --- stale -------------------------------------------------------------------------------------------


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

    seen = look(now, stale={"within": "6h"}, rules=[_NOISE_MAY_BE_STALE])
    stale = ("stale", "beyond-the-window-of-runs", "never", "old-enough", "all-cancelled", "failing")
    assert by_name(seen.found, "stale") == dict.fromkeys(stale, "critical")
    assert len(seen.found) == len(stale) + 1
    failed = seen.found["failed", "stale/failing"]
    assert seen.found["stale", "stale/failing"].symptom_of == failed.fingerprint
    assert "20 d ago" in seen.found["stale", "stale/beyond-the-window-of-runs"].observed
    assert seen.found["stale", "stale/never"].observed == "no success ever"
    assert seen.found["stale", "stale/stale"].since == now - 6 * HOUR - SECOND


def test_a_success_that_retention_may_have_deleted_is_unknown_and_leaves_the_status_alone(
    prefect_server: Server, world: Seed
) -> None:
    # The oldest run that the server still has is one of the noise, 90 days old.
    old = world.now - 300 * DAY
    world.deployment("stale/lost", created=old)
    seen = look(world.now, rules=[{"match": {"deployment": "stale/*"}, "stale": {"within": "95d"}}])
    assert by_name(seen.found, "stale") == {"lost": "info"}
    assert (seen.status, seen.missing) == ("ok", {})
    seen = look(world.now, rules=[{"match": {"deployment": "stale/*"}, "stale": {"within": "80d"}}])
    assert by_name(seen.found, "stale") == {"lost": "critical"}


def test_stale_by_two_missed_fires_and_grace(prefect_server: Server, world: Seed) -> None:
    """``now`` is chosen relative to the fires; the deployments succeed before or after the older of the two."""
    now = world.now
    grace = 30 * MINUTE

    def plant(name: str, *, first: datetime, schedule: Any) -> None:
        """``first`` is the older of the two newest fires that are past their grace."""
        for suffix, success in (("", first - SECOND), ("-fresh", first)):
            deployment = world.deployment(f"stale/{name}{suffix}", schedule=schedule, created=now - 50 * DAY)
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
    over = world.deployment("stale/ended-rule", schedule=ended, created=now - 50 * DAY)
    world.run(over, ended=now - 38 * DAY + MINUTE)
    inactive = world.deployment("stale/off", schedule=every_six, schedule_active=False, created=now - 50 * DAY)
    world.run(inactive, ended=now - 40 * DAY)
    world.deployment("stale/paused", schedule=every_six, paused=True, created=now - 50 * DAY)

    found = look(now).found
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
        world = then.deployment(f"summer/{name}", schedule=eight)
        then.run(world, ended=success)
    # Runs that the server's own scheduler makes meanwhile are due in the present, whenever this test runs.
    found = {key: finding for key, finding in look(at).found.items() if key[0] == "stale"}
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

    found = look(now, stale={"within": "1d"}, rules=[_NOISE_MAY_BE_STALE]).found
    for check in ("failed", "crashed", "stuck", "late", "zombie"):
        stale = found["stale", f"stale/{check}"]
        assert stale.symptom_of == found[check, f"stale/{check}"].fingerprint
    assert found["stale", "stale/late"].cause == Cause(kind="work-pool", name="nobody", reason="no-live-worker")
    assert found["stale", "stale/mute"].symptom_of is None, "what cannot be judged explains nothing"


# --- names, memory, status ---------------------------------------------------------------------------


def test_awkward_names_are_found_and_told_apart(prefect_server: Server, world: Seed) -> None:
    # Prefect itself refuses / % & < > in names.
    names = ["a|b/c|d", "emoji-🔥/näme", "line\nbreak/x", "[red]/`tick`", "same/default", "other/default"]
    pool = world.pool("pool with 🔥 and spaces")
    for name in names:
        deployment = world.deployment(name, pool=pool)
        world.run(deployment, "FAILED", ended=world.now - HOUR, name=f"run|{name}")
        world.run(deployment, "Late", due=world.now - HOUR)
    found = look(world.now).found
    assert set(found) == {(check, name) for check in ("failed", "late") for name in names}
    assert {finding.cause.name for (check, _), finding in found.items() if check == "late" and finding.cause} == {
        pool.name
    }
    assert len({finding.fingerprint for finding in found.values()}) == 2 * len(names)


def test_secrets_in_messages_stay_on_the_server(prefect_server: Server, world: Seed) -> None:
    said = "cannot connect to postgresql://etl:hunter2@db/prod with token=abcd1234efgh"
    world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - HOUR, message=said)
    seen = look(world.now)
    assert "cannot connect to" in seen.found["failed", "etl/nightly"].observed
    kept = seen.assessment.model_dump_json()
    assert "hunter2" not in kept
    assert "abcd1234efgh" not in kept


def test_a_remembered_streak_is_older_than_the_window(prefect_server: Server, world: Seed) -> None:
    now = world.now
    deployment = world.deployment("etl/nightly", schedule="0 0 1 1 *")
    world.many(Run(deployment=deployment, state="FAILED", ended=now - n * HOUR) for n in (1, 2))
    first = look(now)
    assert first.found["failed", "etl/nightly"].severity == "warning"

    later = now + 3 * DAY
    world.run(deployment, "FAILED", ended=later - HOUR)
    ledger = first.assessment.ledger
    # As the check does, at a day's distance; what it looks at is far from the two first failures.
    second = look(later, ledger=ledger.model_copy(update={"cursor": later - DAY}), **_ONLY_FAILED)
    streak = second.found["failed", "etl/nightly"]
    assert (streak.severity, streak.flow_run_count) == ("critical", 3)
    assert streak.since == now - 2 * HOUR
    forgetful = look(later, ledger=Ledger(), **_ONLY_FAILED).found["failed", "etl/nightly"]
    assert forgetful.flow_run_count == 1


#: The noise lives at the time of the seed; days later it would be late, stale and dead.
_ONLY_FAILED: dict[str, Any] = {name: {"enabled": False} for name in ("late", "stuck", "zombie", "slow", "stale")}


def test_a_run_that_is_retried_by_hand_and_fails_again_is_one_failure(prefect_server: Server, world: Seed) -> None:
    now = world.now
    deployment = world.deployment("etl/nightly")
    run_id = uuid4()
    run = world.run(deployment, "FAILED", ended=now - HOUR, id=run_id)
    first = look(now)
    assert first.found["failed", "etl/nightly"].flow_run_count == 1
    prefect_server.request("DELETE", f"/flow_runs/{run.id}")
    world.run(deployment, "FAILED", ended=now + MINUTE, id=run_id, run_count=2)
    again = look(now + 2 * MINUTE, ledger=first.assessment.ledger).found["failed", "etl/nightly"]
    assert (again.flow_run_count, again.flow_run_ids) == (1, (str(run_id),))


def _critical(world: Seed) -> None:
    world.run(world.deployment("status/late", pool=a_live_pool(world)), "Late", due=world.now - 3 * HOUR)


def _warning(world: Seed) -> None:
    world.run(world.deployment("status/failed"), "FAILED", ended=world.now - HOUR)


def _info(world: Seed) -> None:
    world.run(world.deployment("status/mute"), "RUNNING", started=world.now - HOUR)


@pytest.mark.parametrize(
    ("planted", "whole", "partial"),
    [
        pytest.param([_info], "ok", "unknown", id="info"),
        pytest.param([_warning, _info], "warning", "unknown", id="warning"),
        pytest.param([_critical, _warning], "critical", "critical", id="critical"),
    ],
)
def test_critical_beats_unknown_beats_warning_beats_ok(
    prefect_server: Server, world: Seed, planted: list[Callable[[Seed], None]], whole: str, partial: str
) -> None:
    for plant in planted:
        plant(world)
    assert look(world.now).status == whole

    def no_queues(asked: Asked) -> Response | None:
        return Response("{}", 404) if asked.path == "/work_queues/filter" else None

    with relayed(prefect_server.ui_url) as relay:
        relay.answer = no_queues
        seen = look(world.now, at=relay.url)
    assert (seen.status, seen.missing) == (partial, {"work-queues": "failed"})
    assert len(seen.found) == len(planted), "what was read is judged"


def test_a_state_named_freely_is_classified_by_its_type(prefect_server: Server, world: Seed) -> None:
    end = world.now - HOUR
    world.run(world.deployment("free/name"), "No rows today", state_type=StateType.FAILED, ended=end)
    world.run(world.deployment("free/fine"), "Failed softly", state_type=StateType.COMPLETED, ended=end)
    found = look(world.now).found
    assert set(found) == {("failed", "free/name")}
    assert found["failed", "free/name"].observed == "No rows today"
