"""ghost: runs that have ended for Prefect, and whose process is still alive."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from benchmarks import ghosts
from demo.stack import Server
from tests.support.assessment import assess_server, by_name
from tests.support.seed_values import DAY, HOUR, MINUTE, SECOND, Run
from tests.support.seeding import Seed

pytestmark = pytest.mark.usefixtures("prefect_server")

BEAT = timedelta(seconds=180)


def plant(world: Seed, name: str, state: str = "CANCELLED", *, ended: timedelta = 2 * HOUR, **fields: Any) -> Run:
    """A run that started three hours before its end."""
    end = world.now - ended
    return world.run(world.deployment(f"ghost/{name}"), state, started=end - 3 * HOUR, ended=end, run_count=1, **fields)


def beat(world: Seed, run: Run, *, last: timedelta = MINUTE, count: int = 10, behind: timedelta = 0 * MINUTE) -> None:
    """Heartbeats of a run: how long ago the server received the last one."""
    world.heartbeats(run, (world.now - last - n * BEAT for n in range(count)), behind=behind)


def test_heartbeats_after_the_end_make_a_ghost_however_it_ended_and_however_long_ago(world: Seed) -> None:
    """Heartbeats that arrive late, or stop with the run, make none; nor does one that has gone since."""
    for name, state in {"cancelled": "CANCELLED", "crash-marked": "CRASHED", "marked": "COMPLETED"}.items():
        beat(world, plant(world, name, state, columns={"infrastructure_pid": f"host:{len(name)}"}))
    beat(world, plant(world, "for-days", ended=3 * DAY))
    beat(world, plant(world, "stopped-with-it"), last=2 * HOUR)
    beat(world, plant(world, "just-cancelled", ended=4 * MINUTE))
    beat(world, plant(world, "went-at-last"), last=16 * MINUTE)
    world.run(world.deployment("ghost/never-started"), "CANCELLED", ended=world.now - HOUR, started=world.now - HOUR)

    seen = assess_server(world.now)

    assert by_name(seen.found, "ghost") == dict.fromkeys(("cancelled", "crash-marked", "marked", "for-days"), "warning")
    assert seen.missing == {}
    found = seen.found["ghost", "ghost/cancelled"]
    assert found.since == world.now - 2 * HOUR
    assert found.observed.endswith("Cancelled 2 h ago, last heartbeat 1 min ago")
    assert found.expected == "no sign of life after the end; stop the process host:9"
    assert found.flow_run_ids[0] in (found.url or "")


def test_the_log_and_the_task_runs_tell_of_runs_without_heartbeats(world: Seed) -> None:
    """What the worker logs about the end of the process is no sign of life, nor are lines that arrive late."""
    now = world.now
    logs, worker, late = plant(world, "logs"), plant(world, "worker"), plant(world, "late-lines", ended=8 * MINUTE)
    world.logs(logs, [(now - 2 * MINUTE, 20, "loaded 7 rows")])
    world.logs(
        worker, [(now - 2 * MINUTE, 20, "Process exited with status code -15")], logger="prefect.flow_runs.worker"
    )
    world.logs(late, [(now - 4 * MINUTE, 20, "flushed")])
    world.task_run(plant(world, "tasks", "CRASHED"), "load", state="RUNNING", at=now - 3 * MINUTE)
    world.task_run(plant(world, "earlier-tasks", "CRASHED"), "load", state="RUNNING", at=now - 3 * HOUR)
    # One that logs without end does not hide the others.
    loud = plant(world, "loud")
    world.logs(loud, [(now - MINUTE - n * SECOND / 10, 20, "again") for n in range(300)])

    seen = assess_server(now)

    assert by_name(seen.found, "ghost") == dict.fromkeys(("logs", "tasks", "loud"), "warning")
    assert seen.missing == {}
    assert seen.found["ghost", "ghost/logs"].observed.endswith("last log line 2 min ago")
    assert seen.found["ghost", "ghost/tasks"].observed.endswith("last task run 3 min ago")


def test_a_clock_that_is_wrong_makes_no_ghost_and_hides_none(world: Seed) -> None:
    """Only what was both sent and received after the end counts: a buffer is sent late, and a clock may be ahead."""
    # It ended ten minutes ago, and its last heartbeat came just before; it reads as one of just now.
    beat(world, plant(world, "ahead", ended=10 * MINUTE), last=11 * MINUTE, behind=-10 * MINUTE)
    beat(world, plant(world, "behind", ended=HOUR), behind=10 * MINUTE)
    # Sent before the end, and received half an hour later.
    buffered = plant(world, "buffered", ended=40 * MINUTE)
    beat(world, buffered, count=1, last=8 * MINUTE, behind=33 * MINUTE)

    assert by_name(assess_server(world.now).found, "ghost") == {"behind": "warning"}


def test_a_clock_that_is_behind_makes_no_zombie_and_hides_none(world: Seed) -> None:
    """Ten minutes behind, every heartbeat of a live run reads as too old; the server's time of receipt tells."""
    for name, last in {"alive": MINUTE, "dead": HOUR}.items():
        run = world.run(world.deployment(f"zombie/{name}"), "RUNNING", started=world.now - 3 * HOUR)
        beat(world, run, last=last, behind=10 * MINUTE)

    seen = assess_server(world.now)

    assert set(seen.found) == {("zombie", "zombie/dead")}
    assert seen.found["zombie", "zombie/dead"].since == world.now - HOUR


def test_a_run_that_was_started_again_is_no_ghost_and_later_checks_know_the_others(
    world: Seed, prefect_server: Server
) -> None:
    """The finding lasts as long as the signs do, also when the end of the run is out of the window."""
    beat(world, plant(world, "ghost", ended=5 * HOUR))
    logging = plant(world, "logging", ended=5 * HOUR)
    world.logs(logging, [(world.now - MINUTE, 20, "loaded 7 rows")])
    again = plant(world, "again")
    beat(world, again)
    state = {"type": "RUNNING", "name": "Running"}
    prefect_server.request("POST", f"/flow_runs/{again.id}/set_state", {"state": state, "force": True})

    first = assess_server(world.now - 2 * MINUTE)
    later = assess_server(world.now, ledger=first.assessment.ledger)

    assert by_name(later.found, "ghost") == {"ghost": "warning", "logging": "warning"}


def test_a_sample_of_the_benchmark_finds_what_sends_heartbeats_and_nothing_ordinary(world: Seed) -> None:
    judged = ghosts.judged(world, 1, ordinary=100)

    found = judged["found"]["5"]
    assert "false" not in found
    beating = {kind: count for kind, count in judged["planted"].items() if "heartbeats" in kind}
    assert {kind: found.get(kind) for kind in beating} == beating


def test_subflows_and_laptops_that_run_cost_one_request_and_are_no_ghosts(world: Seed) -> None:
    with world.together():
        runs = [Run(state="RUNNING", started=world.now - HOUR, history=()) for _ in range(300)]
        world.many(runs)
        for run in runs:
            beat(world, run, count=1)

    on, off = assess_server(world.now), assess_server(world.now, ghost={"enabled": False})

    assert (on.found, on.missing) == ({}, {})
    assert len(on.traffic.answers) - len(off.traffic.answers) == 2


def test_turned_off_it_asks_for_nothing(world: Seed) -> None:
    beat(world, plant(world, "ghost"))

    on, off = assess_server(world.now), assess_server(world.now, ghost={"enabled": False})

    assert by_name(on.found, "ghost") == {"ghost": "warning"}
    assert off.found == {}
    # Heartbeats, logs and task runs of what was stopped, the ghost again, and its newest heartbeat.
    assert len(on.traffic.answers) - len(off.traffic.answers) == 5
