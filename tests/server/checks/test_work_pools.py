"""work-pool, work-queue and ahead: due work where nothing starts it, and work that is due soon."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Cancelling

from demo.stack import Server
from monitoring.model.finding import Cause
from tests.support.assessment import assess_server
from tests.support.seed_values import DAY, HOUR, MINUTE, SECOND, Run
from tests.support.seeding import Seed


def dead_pool(seed: Seed, name: str, since: timedelta) -> Any:
    """A pool whose worker was last heard of a while ago; its row says ONLINE for ever."""
    pool = seed.pool(name)
    seed.worker(pool, last_heartbeat=seed.now - since, status="ONLINE")
    return pool


def live_pool(seed: Seed, name: str, **fields: Any) -> Any:
    pool = seed.pool(name, **fields)
    seed.worker(pool)
    return pool


def test_pools_whose_names_differ_in_a_secret_only_are_two(prefect_server: Server, world: Seed) -> None:
    """Rows name their pool without its id, so what is waiting in one must not be taken for waiting in the other."""
    alive, dead = live_pool(world, "gpu password=one"), dead_pool(world, "gpu password=two", HOUR)
    for name, pool in (("alive", alive), ("dead", dead)):
        world.run(world.deployment(f"wait/{name}", pool=pool), "SCHEDULED", due=world.now - 8 * MINUTE)

    seen = assess_server(world.now)
    [((check, name), finding)] = seen.found.items()
    assert check == "work-pool"
    assert name.startswith("gpu password=REDACTED")
    assert finding.subject.id == str(dead.id)
    pools = seen.assessment.observation.pools.work_pools
    assert sorted(found for found in pools if found.startswith("gpu")) == [
        "gpu password=REDACTED",
        "gpu password=REDACTED (2)",
    ]


def test_due_work_where_nothing_starts_it(prefect_server: Server, world: Seed) -> None:
    now = world.now

    def plant(name: str, pool: Any, ago: timedelta = 5 * MINUTE + SECOND, **fields: Any) -> None:
        world.run(world.deployment(f"wait/{name}", pool=pool), "SCHEDULED", due=now - ago, **fields)

    plant("dead", dead_pool(world, "dead", 5 * MINUTE + SECOND), 8 * MINUTE)
    plant("not-yet", dead_pool(world, "not-yet", 6 * MINUTE), 5 * MINUTE)
    # Its only worker was busy, and is restarted.
    plant("restarted", dead_pool(world, "restarted", 95 * SECOND), 8 * MINUTE)
    plant("never", world.pool("never"))
    plant("alive", live_pool(world, "alive"))
    plant("paused", live_pool(world, "paused", paused=True))
    queue = world.queue(live_pool(world, "lanes"), "slow", paused=True)
    plant("slow", queue)
    for kind in ("ecs:push", "prefect:managed", "prefect-agent"):
        plant(kind.replace(":", "-"), world.pool(f"of-{kind.replace(':', '-')}", type=kind))
    # Another deployment's runs may sit in a pool that is not its own.
    plant("no-pool", None)

    found = assess_server(now).found
    assert {key: finding.severity for key, finding in found.items()} == {
        ("work-pool", "dead"): "critical",
        ("work-pool", "never"): "critical",
        ("work-pool", "paused"): "warning",
        ("work-queue", "lanes/slow"): "warning",
    }
    dead = found["work-pool", "dead"]
    assert dead.since == now - 5 * MINUTE - SECOND
    assert "5 min 1 s ago" in dead.observed
    assert dead.cause == Cause(kind="work-pool", name="dead", reason="no-live-worker")
    assert found["work-queue", "lanes/slow"].subject.id == str(queue.queue_id)


def test_three_hundred_late_runs_on_a_dead_pool_are_one_problem(prefect_server: Server, world: Seed) -> None:
    now = world.now
    pool = dead_pool(world, "etl", HOUR)
    for name in ("a", "b", "c"):
        deployment = world.deployment(f"etl/{name}", pool=pool)
        world.many(Run(deployment=deployment, state="Late", due=now - HOUR) for _ in range(100))

    looked = assess_server(now)
    head = looked.found["work-pool", "etl"]
    assert head.flow_run_count == 300
    assert head.symptom_of is None
    late = [finding for (check, _), finding in looked.found.items() if check == "late"]
    assert [finding.symptom_of for finding in late] == [head.fingerprint] * 3
    assert len(looked.found) == 4


def test_a_backlog_that_has_grown_for_half_an_hour(prefect_server: Server, world: Seed) -> None:
    now = world.now

    def plant(name: str, lateness: timedelta, **fields: Any) -> Any:
        """A run a minute for two hours, each of which starts so late, or not yet."""
        pool = live_pool(world, name, **fields)
        deployment = world.deployment(f"backlog/{name}", pool=pool)
        for minute in range(120, 0, -1):
            due = now - minute * MINUTE
            # The worker gets slower and slower, or keeps up.
            started = due + lateness * (120 - minute) / 120
            if started < now:
                times: dict[str, Any] = {"due": due, "started": started, "ended": min(now, started + 20 * SECOND)}
                world.run(deployment, created=due - DAY, **times)
            else:
                world.run(deployment, "SCHEDULED", due=due, created=due - DAY)
        return pool

    pool = plant("grows", HOUR)
    # Nobody watches it any more, and it takes its place among the others.
    gone = world.deployment("backlog/gone", pool=pool)
    world.run(gone, "SCHEDULED", due=now - 100 * MINUTE, created=now - DAY)
    world.lose_deployment(gone)
    plant("steady", 5 * SECOND)
    plant("paused", HOUR, paused=True)

    looked = assess_server(now, late={"enabled": False}, stale={"enabled": False})
    assert {key: finding.severity for key, finding in looked.found.items()} == {
        ("work-pool", "grows"): "warning",
        ("work-pool", "paused"): "warning",
    }
    grows = looked.found["work-pool", "grows"]
    samples = looked.assessment.observation.pools.backlogs["grows"].samples
    assert grows.cause is None
    assert set(looked.assessment.observation.pools.backlogs) == {"grows"}

    # What was due more than a minute before, and started later or not yet, counted by hand.
    def by_hand(ago: float) -> int:
        moment = now - ago * MINUTE
        dues = [now - minute * MINUTE for minute in range(120, 0, -1)]
        starts = {due: due + HOUR * (120 - (now - due) / MINUTE) / 120 for due in dues}
        return sum(due < moment - MINUTE and start >= moment for due, start in starts.items())

    assert [count - 1 for _, count in samples] == [by_hand(30), by_hand(20), by_hand(10), by_hand(0)]


def test_work_that_is_due_soon(prefect_server: Server, world: Seed) -> None:
    now = world.now

    def plant(name: str, pool: Any, *ahead: timedelta, **fields: Any) -> Any:
        deployment = world.deployment(f"soon/{name}", pool=pool, **fields)
        world.many(Run(deployment=deployment, state="SCHEDULED", due=now + span, created=now - DAY) for span in ahead)
        return deployment

    dead = dead_pool(world, "dead", HOUR)
    plant("a", dead, *[9 * HOUR] * 30)
    plant("b", dead, *[9 * HOUR] * 7, 12 * HOUR + MINUTE)
    plant("alive", live_pool(world, "alive"), HOUR)
    plant("much-later", world.pool("later"), 12 * HOUR + MINUTE)
    plant("slow", world.queue(live_pool(world, "lanes"), "slow", paused=True), HOUR, 2 * HOUR)
    plant("paused", live_pool(world, "paused", paused=True), HOUR)
    # Learned from its last runs: it takes three hours, and one hour is gone.
    long = plant("long", live_pool(world, "single", concurrency_limit=1), HOUR, 3 * HOUR)
    taken: dict[str, Any] = {"concurrency_limit": 1, "slots_taken": 1}
    limited = plant("limited", world.pool("push", type="ecs:push"), HOUR, 3 * HOUR, **taken)
    # What comes while it runs is skipped, as its owner wants it.
    skips = plant("skips", world.pool("push-3", type="ecs:push"), HOUR, collision="CANCEL_NEW", **taken)
    for deployment in (long, limited, skips):
        for day in (1, 2, 3):
            started = now - day * DAY
            world.run(deployment, started=started, ended=started + 3 * HOUR, due=started)
        running = world.run(deployment, "RUNNING", started=now - HOUR)
        world.heartbeats(running, [now - 4 * MINUTE, now - MINUTE])
    plant("not-limited", world.pool("push-2", type="ecs:push"), HOUR)

    looked = assess_server(now)
    found = {name: finding for (check, name), finding in looked.found.items() if check == "ahead"}
    assert {name: finding.flow_run_count for name, finding in found.items()} == {
        "dead": 37,
        "lanes/slow": 2,
        "paused": 1,
        "single": 1,
        "soon/limited": 1,
    }
    assert len(looked.found) == len(found)
    assert looked.missing == {}
    at = f"{now + 9 * HOUR:%Y-%m-%d %H:%M} UTC"
    assert found["dead"].summary == f"dead: 37 runs are due at {at}, and it has no live worker"
    assert found["dead"].since == now - HOUR
    assert found["dead"].cause == Cause(kind="work-pool", name="dead", reason="no-live-worker")
    single = found["single"].cause
    assert single
    assert single.what == ("work-pool", "single", "limit-reached")
    assert len(single.flow_run_ids) == 1


def test_due_work_that_the_server_has_not_made_yet_counts(prefect_server: Server, world: Seed) -> None:
    """Prefect makes the runs of a schedule for about an hour ahead: here 12 of those that are due in 12 hours."""
    now = world.now
    deployment = world.deployment("soon/often", pool=world.pool("dead"), schedule="*/5 * * * *")
    first = now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0) + 5 * MINUTE
    world.many(Run(deployment=deployment, state="SCHEDULED", due=first + 5 * n * MINUTE, history=()) for n in range(12))

    finding = assess_server(now).found["ahead", "dead"]
    assert finding.summary == f"dead: 144 runs are due from {first:%Y-%m-%d %H:%M} UTC on, and it has no live worker"
    assert (finding.flow_run_count, len(finding.flow_run_ids)) == (144, 12)
    assert finding.evidence == ("soon/often: 144 runs",)


def test_much_that_is_due_soon_is_reported_and_leaves_the_rest_known(prefect_server: Server, world: Seed) -> None:
    now = world.now
    deployment = world.deployment("soon/many", pool=world.pool("dead"))
    world.many(
        Run(deployment=deployment, state="SCHEDULED", due=now + HOUR + n * SECOND, history=()) for n in range(1_001)
    )

    looked = assess_server(now)
    assert looked.found["ahead", "dead"].summary.startswith("dead: at least 200 runs are due from ")
    assert looked.missing == {}


@pytest.mark.parametrize("state", [Cancelled(), Cancelling()], ids=["state", "cancel"])
def test_what_is_cancelled_before_a_worker_took_it_was_not_served(
    prefect_server: Server, world: Seed, state: State[Any]
) -> None:
    """The server's own orchestration: as a person cancels a late run, and as an automation does."""
    deployment = world.deployment("cancelled/late", pool=world.pool("dead"))
    with get_client(sync_client=True) as client:
        runs = [client.create_flow_run_from_deployment(deployment.id) for _ in range(3)]
        answers = [client.set_flow_run_state(run.id, state) for run in runs]
    assert {answer.state and answer.state.name for answer in answers} == {"Cancelled"}

    at = world.now + HOUR
    looked = assess_server(at)
    pool = looked.found["work-pool", "dead"]
    assert pool.summary == "dead: no live worker, and 3 runs were cancelled before starting"
    assert (pool.severity, pool.flow_run_count, pool.evidence) == ("critical", 3, ("cancelled/late: 3 runs",))
    assert set(pool.flow_run_ids) == {str(run.id) for run in runs}

    # What ended before is in the ledger alone.
    again = assess_server(at + HOUR, ledger=looked.assessment.ledger)
    assert again.found["work-pool", "dead"].flow_run_count == 3
    expired = assess_server(at + 25 * HOUR, ledger=looked.assessment.ledger)
    assert ("work-pool", "dead") not in expired.found
