"""The cost of the metrics of Prefect's own exporter, beside one scrape of that exporter.

    python -m benchmarks.compatibility ../exporter ../exporter/.venv/bin/python --runs 100000

Takes a checkout of the exporter and a Python that has its requirements; ``tests/support/peer.py`` explains where they
come from. Seeds a fresh server as ``benchmarks.check`` does, and measures: a scrape of the exporter; the
collection of the same metrics, including the deployments; and a check five minutes after the last one that collects
them too and reads the deployments once. All look back as far as the exporter does. Both ratios are of the watchdog to
the exporter, each the median of pairs.

A scrape of the watchdog reads only the metrics of the last check from the Prefect server, whatever the server holds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from benchmarks.check import DEPLOYMENTS, look, plant, seconds
from demo.stack import Server
from monitoring.adapters.prefect.client.api import Traffic, open_api
from monitoring.adapters.prefect.read.reader import ServerReader
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.metrics.compatible import compatible
from monitoring.model.coverage import Coverage
from monitoring.model.exporter_facts import ExporterFacts
from monitoring.model.ledger import Ledger
from monitoring.text.redaction import Redactor
from monitoring.usecases.assess import assess
from tests.support.peer import Peer, collected, running
from tests.support.seeding import Seed
from tests.support.servers import connected, start_server

REPEATS = 5
#: Minutes that both look back for runs; for failed runs both default to 7 days and 10 runs.
WINDOW = 5


#: The names of the measurements.
CONFIG = Config.model_validate(
    {"metrics": {"enabled": True, "compatibility": {"enabled": True, "window": f"{WINDOW}m"}}}
)


def alone(now: datetime) -> tuple[Traffic, int]:
    """Collect and measure once; return the traffic and the number of series."""
    with open_api(CONFIG.server) as api:
        return api.traffic, series(collected(api, CONFIG, now), now)


def with_check(ledger: Ledger, now: datetime) -> None:
    """Read the server as a check does, then collect and measure."""
    redact = Redactor().redact
    with open_api(CONFIG.server) as api:
        reader = ServerReader(api, CONFIG, redact, for_exporter=True)
        facts = assess(reader, ledger, Policies(CONFIG), now, Coverage()).observation.exporter
        assert facts
        series(facts, now)


def series(facts: ExporterFacts, now: datetime) -> int:
    """Measure and count the series."""
    missing = facts.coverage.missing
    if missing:
        raise SystemExit(f"incomplete: {missing[0].name}: {missing[0].detail}")
    return sum(map(len, compatible(facts, CONFIG.metrics.compatibility, now).values()))


def report(server: Server, peer: Peer, stored: int) -> None:
    """Measure and print."""
    now = datetime.now(timezone.utc)
    _, ledger, _ = look(Ledger(), now)
    later = now + timedelta(minutes=5)

    works: tuple[Callable[[], object], ...] = (
        peer.scrape,
        lambda: alone(later),
        lambda: with_check(ledger, later),
    )
    for work in works:
        work()
    rounds = [[seconds(work) for work in works] for _ in range(REPEATS)]
    theirs, ours, both = (statistics.median(column) for column in zip(*rounds, strict=True))
    traffic, counted = alone(later)
    print(f"{stored:,} runs stored, {DEPLOYMENTS} deployments; medians of {REPEATS}")
    print(f"one scrape of the exporter: {theirs:.2f} s")
    print(
        f"our collection: {ours:.2f} s, {traffic.requests} requests, {traffic.bytes / 1024:,.0f} KiB of answers, "
        f"{counted:,} series"
    )
    print(f"our collection and one check's: {both:.2f} s")
    for name, column in (("our collection", 1), ("our collection and one check's", 2)):
        ratio = statistics.median(row[column] / row[0] for row in rounds)
        print(f"{name} / one scrape of the exporter: {ratio:.2f}")


def main() -> None:
    """Seed a server and measure."""
    parser = argparse.ArgumentParser(description="Measure the metrics of Prefect's own exporter beside it.")
    parser.add_argument("checkout", type=Path, help="folder with the exporter's source")
    parser.add_argument("python", type=Path, help="a Python that has its requirements")
    parser.add_argument("--runs", type=int, default=100_000, help="how many runs to seed (default: 100,000)")
    arguments = parser.parse_args()
    defaults = {"OFFSET_MINUTES": str(WINDOW), "FAILED_RUNS_LIMIT": "10"}
    with tempfile.TemporaryDirectory() as home:
        server = start_server(Path(home))
        try:
            plant(Seed(server.database_url), arguments.runs)
            peer = Peer(server, arguments.checkout, arguments.python, defaults)
            with connected(server), running(peer):
                report(server, peer, arguments.runs)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
