"""Background for every integration test: things on a server that are all well and must never be reported."""

from __future__ import annotations

from datetime import timedelta

from prefect.server.schemas.schedules import IntervalSchedule

from tests.support.seed_values import HOUR, MINUTE, Run
from tests.support.seeding import Seed

HEARTBEAT = timedelta(minutes=3)


def noise(seed: Seed) -> None:
    """Plant healthy and idle things, all of them called ``noise-...``."""
    now = seed.now
    busy = seed.pool("noise-busy", status="READY")
    seed.worker(busy, name="noise-worker", last_heartbeat=now)
    # Workers of hosts that are gone leave their rows behind, and the rows read ONLINE.
    seed.worker(busy, name="noise-worker-of-yesterday", last_heartbeat=now - 24 * HOUR)
    # Nothing is due here, so nobody misses a worker.
    idle = seed.pool("noise-idle")
    seed.deployment("noise-by-hand/idle", pool=idle)

    # Its next run is most of an hour away: it does not come due, and read as late, while a test runs.
    last = now - 5 * MINUTE
    hourly = seed.deployment(
        "noise-hourly/healthy", pool=busy, schedule=IntervalSchedule(interval=HOUR, anchor_date=last), status="READY"
    )
    seed.many(
        Run(deployment=hourly, due=due, started=due + timedelta(seconds=5), ended=due + timedelta(seconds=65))
        for due in (last - n * HOUR for n in range(48))
    )
    # Failures from before a success are history.
    seed.run(hourly, "FAILED", ended=now - 50 * HOUR, message="noise: failed long ago, succeeded since")

    paused = seed.deployment("noise-paused/on-purpose", pool=idle, schedule="0 * * * *", paused=True)
    seed.run(paused, ended=now - 90 * 24 * HOUR)

    seed.run(seed.deployment("noise-later/once", pool=busy), "SCHEDULED", due=now + 6 * HOUR)

    working = seed.deployment("noise-working/now", pool=busy, status="READY")
    seed.run(working, ended=now - 24 * HOUR)
    running = seed.run(working, "RUNNING", started=now - 10 * MINUTE)
    seed.heartbeats(running, (now - MINUTE - n * HEARTBEAT for n in range(4)))


#: The rule for a test that gives every deployment a freshness window: one that runs by hand, or once later, has none.
NOISE_MAY_BE_STALE = {"match": {"deployment": "noise-*"}, "stale": {"enabled": False}}
