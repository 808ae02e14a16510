"""late and stuck: runs that wait, and what they wait for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from demo.stack import Server
from monitoring.model.finding import Cause, CauseKind
from tests.support.assessment import assess_server, by_name
from tests.support.seed_values import DAY, HOUR, MINUTE, SECOND, Deployment, Run, State
from tests.support.seeding import Seed


def a_live_pool(seed: Seed, name: str = "alive", **fields: Any) -> Any:
    pool = seed.pool(name, **fields)
    seed.worker(pool)
    return pool


def full_limit(kind: CauseKind, name: str, holders: tuple[str, ...]) -> Cause:
    return Cause(kind=kind, name=name, reason="limit-reached", flow_run_ids=holders)


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

    found = assess_server(now).found
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
    found = assess_server(now).found
    assert set(found) == {("late", "slot/late")}
    assert found["late", "slot/late"].since == now - 15 * MINUTE - SECOND


def test_three_hundred_late_runs_are_one_finding(prefect_server: Server, world: Seed) -> None:
    deployment = world.deployment("late/backlog", pool=a_live_pool(world))
    due = world.now - HOUR
    world.many(Run(deployment=deployment, state="Late", due=due, name=f"late-{n}") for n in range(300))
    found = assess_server(world.now).found
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

    def busy(deployment: Deployment) -> tuple[str]:
        running = world.run(deployment, "RUNNING", started=now - MINUTE)
        world.heartbeats(running, [now - SECOND])
        return (str(running.id),)

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
    in_queue = busy(plant("full-queue", full))
    of_deployment = busy(plant("full-deployment", alive, concurrency_limit=1, slots_taken=1))
    plant("free-slot", alive, concurrency_limit=1)
    in_pool = busy(plant("full-pool", a_live_pool(world, "full-pool", concurrency_limit=1)))
    for kind in ("ecs:push", "prefect:managed", "prefect-agent"):
        plant(kind.replace(":", "-"), world.pool(f"of-{kind.replace(':', '-')}", type=kind))
    plant("no-pool", None)

    # The dead pool's own finding begins when its worker left.
    looked = assess_server(now, work_pool={"after": "90s"})
    found = {key: finding for key, finding in looked.found.items() if key[0] == "late"}
    causes = {name.partition("/")[2]: finding.cause for (_, name), finding in found.items()}
    none = dict.fromkeys(("barely", "unhurried", "free-slot", "ecs-push", "prefect-managed", "prefect-agent"))
    assert causes == {
        "nobody": Cause(kind="work-pool", name="nobody", reason="no-live-worker"),
        "dead": Cause(kind="work-pool", name="dead", reason="no-live-worker"),
        "paused-pool": Cause(kind="work-pool", name="paused-pool", reason="paused"),
        "paused-queue": Cause(kind="work-queue", name="alive/slow-lane", reason="paused"),
        "full-queue": full_limit("work-queue", "alive/full-lane", in_queue),
        "full-deployment": full_limit("deployment", "wait/full-deployment", of_deployment),
        "full-pool": full_limit("work-pool", "full-pool", in_pool),
        "no-pool": None,
        **none,
    }
    # What holds them up is one finding, and they are under it.
    assert {name.partition("/")[2] for (_, name), finding in found.items() if not finding.symptom_of} == {
        "no-pool",
        *none,
    }


def test_no_worker_is_missed_by_a_run_that_retries_in_its_own_process(prefect_server: Server, seed: Seed) -> None:
    """Prefect's own retry, made through the API: no worker is ever given such a run."""
    deployment = seed.deployment("retry/in-process", pool=seed.pool("dead"))
    policy = {"retries": 1, "retry_delay": 1}
    body = {"empirical_policy": policy, "state": {"type": "RUNNING"}}
    run = prefect_server.request("POST", f"/deployments/{deployment.id}/create_flow_run", body)
    prefect_server.request("POST", f"/flow_runs/{run['id']}/set_state", {"state": {"type": "FAILED"}})

    found = assess_server(seed.now + HOUR).found
    assert set(found) == {("late", "retry/in-process")}
    assert "still AwaitingRetry" in found["late", "retry/in-process"].observed
    assert found["late", "retry/in-process"].cause is None


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

    found = assess_server(now).found
    assert by_name(found, "stuck") == {f"{state}-stuck": "warning" for state in limits} | {
        "through-submitting": "warning"
    }
    assert len(found) == len(limits) + 1
    assert found["stuck", "stuck/through-submitting"].since == now - 30 * MINUTE - SECOND
    assert "Submitting" in found["stuck", "stuck/through-submitting"].observed
