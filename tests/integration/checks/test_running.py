"""zombie and slow: runs that read RUNNING."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from demo.stack import Server
from tests.support.looking import by_name, look
from tests.support.relay import Asked, relayed
from tests.support.seeding import HOUR, MINUTE, SECOND, Deployment, Run, Seed

pytestmark = pytest.mark.integration

BEAT = timedelta(seconds=180)


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
