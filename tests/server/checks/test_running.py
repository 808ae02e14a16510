"""zombie: runs that read RUNNING."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from demo.stack import Server
from tests.support.assessment import assess_server, by_name
from tests.support.relay import ApiRequest, relayed
from tests.support.seed_values import HOUR, MINUTE, SECOND, Run
from tests.support.seeding import Seed

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

    seen = assess_server(now)
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
    assert by_name(assess_server(now).found, "zombie") == {"second-attempt": "critical", "dead-at-once": "critical"}


def test_a_run_that_ended_while_it_was_looked_at_is_no_zombie(prefect_server: Server, world: Seed) -> None:
    now = world.now
    runs = {}
    for name in ("dead", "just-ended"):
        runs[name] = world.run(world.deployment(f"zombie/{name}"), "RUNNING", started=now - 2 * HOUR)
        world.heartbeats(runs[name], (now - HOUR - n * BEAT for n in range(4)))
    ended = str(runs["just-ended"].id)

    def end_it(request: ApiRequest, _: object) -> None:
        if request.path == "/events/count-by/resource":
            state = {"type": "COMPLETED", "name": "Completed"}
            prefect_server.request("POST", f"/flow_runs/{ended}/set_state", {"state": state, "force": True})

    with relayed(prefect_server.ui_url) as relay:
        relay.after = end_it
        seen = assess_server(now, at=relay.url)
    assert set(seen.found) == {("zombie", "zombie/dead")}
    assert seen.missing == {}
