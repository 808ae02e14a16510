"""The cost of a check on a server with many runs, beside the same reads through Prefect's own client.

    python -m benchmarks.check --runs 100000

Seeds a fresh server on SQLite with runs of the last 30 days, most of them successes. Then measures ``watchdog check``
as a whole process (seconds, peak memory) and its requests from inside (number, bytes of responses, seconds waited),
from the saved state of a deployed check and without it. The comparison reads the runs that ended in the last 24 hours
with ``PrefectClient.read_flow_runs``, 200 at a time, and does nothing with them. Further, what the digest reads of the
failures since yesterday, and what the digests of parameters cost per row.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
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
from monitoring.adapters.prefect.read.rows import flow_run
from monitoring.cli.start import begin
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.model.coverage import Coverage
from monitoring.model.ledger import Ledger
from monitoring.model.target import OWN_SERVER
from monitoring.text.redaction import Redactor
from monitoring.usecases.assess import assess
from monitoring.usecases.by_hand import assess_by_hand
from monitoring.wiring import open_session
from tests.support.paths import PROJECT
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


def by_hand(now: datetime, *, without_state: bool) -> Traffic:
    """Assess once as ``watchdog check`` does, in this process; return the traffic."""
    policies = Policies(Config())
    with open_session(OWN_SERVER, policies, now) as session:
        begun = begin(session, now, "--fresh" if without_state else None)
        assess_by_hand(session.reader(), begun, policies, now)
        return session.api.traffic


def failures(now: datetime) -> tuple[Traffic, int]:
    """Read what the digest shows of failures since yesterday; return the traffic and the number of runs."""
    policies = Policies(Config())
    with open_session(OWN_SERVER, policies, now) as session:
        found, _ = session.reader().failures(now - timedelta(days=1.5), now, policies)
        return session.api.traffic, len(found)


def row_seconds(parameters: dict[str, object]) -> float:
    """The time to convert the row of a run with parameters, in seconds."""
    with get_client(sync_client=True) as client:
        row = client.request("POST", "/flow_runs/filter", json={"limit": 1}).json()[0] | {"parameters": parameters}
    repeats = 2_000
    return timeit.timeit(lambda: flow_run(row, str, str), number=repeats) / repeats


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


def process_seconds(command: list[str], server: Server) -> float:
    """The time of a whole process; the median of several."""
    env = server.client_env()
    return statistics.median(
        seconds(lambda: subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=False))
        for _ in range(REPEATS)
    )


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
    ours, theirs = [], []
    for _ in range(REPEATS):
        ours.append(seconds(lambda: look(Ledger(), now)))
        theirs.append(seconds(lambda: with_prefects_client(now)))
    whole = process_seconds(command, server)
    print(f"{stored:,} runs stored, {read:,} of them ended in the last 24 hours, {DEPLOYMENTS} deployments")
    for name, traffic, rows in (
        ("a check that remembers nothing", first, read),
        ("the check five minutes later", next_one, read_next),
    ):
        print(
            f"{name}: {traffic.requests} requests, {traffic.bytes / 1024:,.0f} KiB of answers, "
            f"{traffic.seconds:.2f} s of API time, {rows:,} ended runs read"
        )
    print(f"watchdog check --json, whole process: {whole:.2f} s (median of {REPEATS})")
    print(f"  peak memory {peak_memory(command, server)} MiB")
    _report_by_hand(command, server)
    traffic, found = failures(now)
    print(f"the digest's failures: {traffic.requests} requests, {traffic.seconds:.2f} s of API time, {found:,} runs")
    plain, five = row_seconds({}), row_seconds({f"name-{number}": "a value" for number in range(5)})
    print(f"a row: {1e6 * plain:.0f} us; with five parameters {1e6 * five:.0f} us")
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"assessing alone / the same runs through Prefect's own client: {ratio:.2f} (median of {REPEATS} pairs)")


def _report_by_hand(command: list[str], server: Server) -> None:
    """Let a check save its state, and measure checks by hand that start from it and that do not."""
    saving = [sys.executable, "-c", "from flows.check import check; check()"]
    subprocess.run(saving, env=server.client_env(), cwd=PROJECT, check=True, capture_output=True)
    # What the first check by hand reads, the second one finds in the server's memory.
    by_hand(datetime.now(timezone.utc), without_state=False)
    for name, options in (("from saved state", []), ("--fresh", ["--fresh"])):
        traffic = by_hand(datetime.now(timezone.utc), without_state=bool(options))
        whole = process_seconds([*command, *options], server)
        print(
            f"by hand, {name}: {traffic.requests} requests, {traffic.bytes / 1024:,.0f} KiB of answers, "
            f"{traffic.seconds:.2f} s of API time; whole process {whole:.2f} s"
        )


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
