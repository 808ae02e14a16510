"""The cost of a check on a server with many runs, beside the same reads through Prefect's own client.

    python -m benchmarks.check --runs 100000

Seeds a fresh server on SQLite with runs of the last 30 days, most of them successes. Then measures ``watchdog check``
as a whole process (seconds, peak memory) and its requests from inside (number, bytes of responses, seconds waited). The
comparison reads the runs that ended in the last 24 hours with ``PrefectClient.read_flow_runs``, 200 at a time, and does
nothing with them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterEndTime
from prefect.client.schemas.sorting import FlowRunSort
from prefect.server.schemas.schedules import IntervalSchedule

from demo.stack import Server
from monitoring.adapters.prefect.client.api import Traffic, open_api
from monitoring.adapters.prefect.read.reader import ServerReader
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.model.coverage import Coverage
from monitoring.model.ledger import Ledger
from monitoring.text.redaction import Redactor
from monitoring.usecases.assess import assess
from tests.support.seed_values import Run
from tests.support.seeding import Seed
from tests.support.servers import connected, start_server

DAYS = 30
DEPLOYMENTS = 200
REPEATS = 5
_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=False)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def plant(seed: Seed, count: int) -> None:
    """Write runs of many daily deployments, spread over the last days; two in a hundred fail, one crashes."""
    chance = random.Random(7)
    pool = seed.pool("busy", status="READY")
    # Sends no heartbeat during the measurement.
    seed.worker(pool, interval=3_600)
    # No run becomes due during the measurement.
    daily = IntervalSchedule(interval=timedelta(days=1), anchor_date=seed.now - timedelta(hours=1))
    deployments = [
        seed.deployment(f"flow-{n % 20}/deployment-{n}", schedule=daily, pool=pool) for n in range(DEPLOYMENTS)
    ]
    ahead = seed.now + timedelta(hours=23)
    seed.many(Run(deployment=deployment, state="SCHEDULED", due=ahead) for deployment in deployments)

    def runs() -> Iterator[Run]:
        for _ in range(count):
            ended = seed.now - timedelta(days=DAYS * chance.random())
            state = chance.choices(["COMPLETED", "FAILED", "CRASHED"], [97, 2, 1])[0]
            started = ended - timedelta(minutes=chance.uniform(1, 10))
            yield Run(
                deployment=chance.choice(deployments),
                state=state,
                started=started,
                due=started,
                ended=ended,
                history=(),
            )

    seed.many(runs())


def look(ledger: Ledger, now: datetime) -> tuple[Traffic, Ledger, int]:
    """Assess once in this process; return the traffic, the new ledger, and the number of runs read."""
    config = Config()
    with open_api(config.server) as api:
        reader = ServerReader(api, config, Redactor().redact)
        seen = assess(reader, ledger, Policies(config), now, Coverage())
        return api.traffic, seen.ledger, len(seen.observation.runs.ended)


def with_prefects_client(now: datetime) -> int:
    """Read the runs that ended in the last 24 hours through Prefect's own client."""
    window = FlowRunFilter(end_time=FlowRunFilterEndTime(after_=now - timedelta(days=1), before_=now))
    count = 0
    with get_client(sync_client=True) as client:
        while page := client.read_flow_runs(
            flow_run_filter=window, sort=FlowRunSort.END_TIME_DESC, limit=200, offset=count
        ):
            count += len(page)
    return count


def seconds(work: Callable[[], object]) -> float:
    """Time a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_memory(command: list[str], server: Server) -> int:
    """Peak memory of a command's process, in MiB."""
    output = subprocess.run(
        [sys.executable, "-c", _PEAK, *command], env=server.client_env(), capture_output=True, check=True, text=True
    ).stdout
    return int(output) // 1024


def report(server: Server, stored: int) -> None:
    """Measure and print."""
    command = [str(Path(sys.executable).parent / "watchdog"), "check", "--json"]
    now = datetime.now(timezone.utc)
    first, ledger, read = look(Ledger(), now)
    next_one, _, read_next = look(ledger, now + timedelta(minutes=5))
    ours, theirs, whole = [], [], []
    for _ in range(REPEATS):
        ours.append(seconds(lambda: look(Ledger(), now)))
        theirs.append(seconds(lambda: with_prefects_client(now)))
        whole.append(
            seconds(lambda: subprocess.run(command, env=server.client_env(), stdout=subprocess.DEVNULL, check=False))
        )
    print(f"{stored:,} runs stored, {read:,} of them ended in the last 24 hours, {DEPLOYMENTS} deployments")
    for name, traffic, rows in (
        ("a check that remembers nothing", first, read),
        ("the check five minutes later", next_one, read_next),
    ):
        print(
            f"{name}: {traffic.requests} requests, {traffic.bytes / 1024:,.0f} KiB of answers, "
            f"{traffic.seconds:.2f} s of API time, {rows:,} ended runs read"
        )
    print(f"watchdog check --json, whole process: {statistics.median(whole):.2f} s (median of {REPEATS})")
    print(f"  peak memory {peak_memory(command, server)} MiB")
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"assessing alone / the same runs through Prefect's own client: {ratio:.2f} (median of {REPEATS} pairs)")


def main() -> None:
    """Seed a server and measure."""
    parser = argparse.ArgumentParser(description="Measure the cost of a check.")
    parser.add_argument("--runs", type=int, default=100_000, help="how many runs to seed (default: 100,000)")
    count = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as home:
        server = start_server(Path(home))
        try:
            plant(Seed(server.database_url), count)
            with connected(server):
                report(server, count)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
