"""The cost of the saved state of many deployments: the size of the ledger, and the time to save and to load it.

    python -m benchmarks.state --deployments 5000

Generates the ledger of deployments that have run for four months, with the maximum of run times, writes it to a fresh
server on SQLite through the functions that a check uses, and reads it back; then the same ledger without compression.
The times are medians, from the value to the response of the server and from the request to the value.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import TypeAdapter

from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.state import LEDGER, decode, encode, pack
from monitoring.history.baselines import MAX_PER_MONTH, MAX_RECENT
from monitoring.history.counts import RUN_TIME_BUCKETS
from monitoring.model.ledger import Counts, EndedRun, Ledger, Record, RunTimes, Streak
from monitoring.model.policy import ApiSettings as ServerSettings
from tests.support.servers import connected, start_server

REPEATS = 5
NOW = datetime(2026, 3, 15, 12, tzinfo=timezone.utc)
MONTHS = ("2025-12", "2026-01", "2026-02", "2026-03")


def many_deployments(count: int) -> Ledger:
    """A ledger of deployments that run every hour or day, for 10 minutes to 2 hours; one in twenty has failed."""
    chance = random.Random(7)
    return Ledger(cursor=NOW, records={_id(chance): _record(chance) for _ in range(count)})


def _record(chance: random.Random) -> Record:
    every = timedelta(hours=chance.choice([1, 24]))
    usual = 600 * 12 ** chance.random()
    last = NOW - every * chance.random()

    def took() -> float:
        return round(usual * chance.lognormvariate(0, 0.2), 1)

    def ended(state: Literal["COMPLETED", "FAILED"], at: datetime, message: str = "") -> EndedRun:
        return EndedRun(
            id=_id(chance),
            name=f"{chance.choice(['ancient', 'blue', 'calm'])}-{chance.choice(['owl', 'fox', 'mole'])}",
            state_type=state,
            state_name=state.capitalize(),
            message=message,
            ended=at,
            run_time=timedelta(seconds=took()),
        )

    success = ended("COMPLETED", last)
    failed = ended("FAILED", last + every, "ValueError: no rows") if chance.random() < 0.05 else None
    recent = ((int((last - every * n).timestamp()) + chance.randrange(600), took()) for n in range(MAX_RECENT))
    months = {
        month: tuple((rank, took()) for rank in sorted(chance.sample(range(1 << 18), MAX_PER_MONTH)))
        for month in MONTHS
    }
    counts = Counts(
        ends={
            "COMPLETED": chance.randrange(100, 3_000),
            "FAILED": chance.randrange(100),
            "CRASHED": chance.randrange(9),
        },
        run_times=tuple(chance.randrange(900) for _ in range(len(RUN_TIME_BUCKETS) + 1)),
        run_time=took() * 1_000,
    )
    return Record(
        last_ended=failed or success,
        last_success=success,
        streak=Streak(since=failed.ended, failed=1, run_ids=(failed.id,)) if failed else None,
        run_times=RunTimes(recent=tuple(recent), months=months),
        run_times_searched=True,
        schedule=f"{chance.getrandbits(64):016x}",
        scheduled_since=NOW - timedelta(days=120 * chance.random()),
        counts=counts,
    )


def _id(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128)))


def seconds(work: Callable[[], object]) -> float:
    """The median time of a call."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def report(documents: Documents, name: str, encoded: Callable[[], str], adapter: TypeAdapter[Ledger]) -> None:
    """Measure one form of a ledger, and print.

    Args:
        documents: Where it is written.
        name: What to call the form, and the document.
        encoded: Makes the document's body.
        adapter: Validates its data.
    """
    saving = seconds(lambda: documents.write(name, encoded()))
    loading = seconds(lambda: decode(name, documents.read(name) or "", adapter))
    print(f"{name}: {len(encoded()) / 1e6:.1f} MB, saved in {saving:.1f} s, loaded in {loading:.1f} s")


def main() -> None:
    """Start a server and measure."""
    parser = argparse.ArgumentParser(description="Measure what the ledger costs.")
    parser.add_argument("--deployments", type=int, default=5_000, help="how many (default: 5,000)")
    count = parser.parse_args().deployments
    with tempfile.TemporaryDirectory() as home:
        server = start_server(Path(home))
        try:
            with connected(server), open_api(ServerSettings()) as api:
                documents, ledger = Documents(api), many_deployments(count)
                print(f"{count:,} deployments, four months of run times; median of {REPEATS}")
                report(documents, "plain", lambda: encode(ledger, ()), TypeAdapter(Ledger))
                report(documents, "compressed", lambda: encode(pack(ledger)), LEDGER)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
