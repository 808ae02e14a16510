"""The time of a scrape of ``watchdog metrics serve``, beside the same bytes from a bare ``http.server``.

    python -m benchmarks.scrape --deployments 1000 --scrapers 10

Runs the command beside a real Prefect server that holds the metrics of a check. Each scraper sends requests without a
pause, far more often than Prometheus does, and over new connections: for OpenMetrics in gzip, as Prometheus does, and
then uncompressed. The command is measured at rest; while it loads the metrics of another check every other second,
which in practice happens every few minutes; and after the Prefect server was stopped. The bare server is measured in
turns.

The promise: with 1,000 deployments and 10 scrapers at a time, the 99th percentile of a scrape in gzip is at most 50 ms,
at rest and while the Prefect server is down. The exit status is 0 if it is kept, else 1 with a line.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timezone
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

from demo.stack import Process, Server, free_port, prefect_env
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.metrics_document import Measured
from monitoring.metrics.catalog import ALERTS_SENT
from monitoring.metrics.openmetrics import OPENMETRICS_TYPE, openmetrics, text
from monitoring.metrics.snapshot import Sample, Snapshot
from monitoring.model.policy import ApiSettings as Settings
from monitoring.model.target import Target
from tests.support.metric_samples import large
from tests.support.servers import start_server

ROUNDS = 4
#: Seconds between the metrics of two checks.
EVERY = 2.0
#: The promised 99th percentile, in milliseconds.
PROMISE = 50.0
#: Requests of each scraper per round; a round takes some seconds, so that several renewals happen during it.
SCRAPES = 100
OURS, RENEWED, DOWN = "ours", "ours, renewed every other second", "ours, the Prefect server stopped"
BARE = "bare http.server"
PROMISED = (OURS, DOWN)
GZIP = "gzip"
ENCODINGS = (GZIP, "identity")
Found = dict[str, list[float]]


@contextmanager
def serving(server: Server, home: Path) -> Iterator[str]:
    """Run ``watchdog metrics serve`` until the body ends; the body gets its address."""
    host = f"127.0.0.1:{free_port()}"
    (home / "watchdog.yaml").write_text("metrics: {enabled: true, refresh: 1s}\n")
    command = [str(Path(sys.executable).with_name("watchdog")), "metrics", "serve", "--listen", host]
    process = Process("serve", command, log=home / "serve.log", env=prefect_env(home, server.api_url), cwd=home)
    process.start()

    def ready() -> bool:
        try:
            return httpx.get(f"http://{host}/-/ready", trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        process.wait(ready, timeout=60, waiting_for="the first numbers")
        yield host
    finally:
        process.stop()


@contextmanager
def renewed(server: Server, numbers: Snapshot) -> Iterator[None]:
    """Save new metrics on the server again and again, as checks do, until the body ends."""
    over = threading.Event()

    def renew() -> None:
        for alerts in count(1):
            keep(server, numbers, alerts)
            if over.wait(EVERY):
                return

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def keep(server: Server, numbers: Snapshot, alerts: int = 0) -> None:
    """Save the metrics on the server, as a check does that has sent this many alerts."""
    sent = {ALERTS_SENT.name: (Sample(labels=("default",), value=float(alerts)),)}
    now = {"at": datetime.now(timezone.utc), "samples": {**numbers.samples, **sent}}
    with open_api(Settings(), Target(address=server.api_url)) as api:
        Measured(Documents(api)).save(numbers.model_copy(update=now))


def bare(pipe: Connection, body: bytes) -> None:
    """Serve the same bytes without anything else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Listening(ThreadingHTTPServer):
        # The backlog of the command; otherwise connecting would dominate.
        request_queue_size = 128

    with Listening(("127.0.0.1", 0), Handler) as listening:
        pipe.send(f"127.0.0.1:{listening.server_address[1]}")
        listening.serve_forever()


@contextmanager
def serving_bare(body: bytes) -> Iterator[str]:
    """Serve these bytes from a process of its own until the body ends; the body gets the address."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=bare, args=(there, body), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.kill()


def scrape(host: str, encoding: str) -> tuple[float, bytes]:
    """Scrape once; return the milliseconds until the last byte, and the bytes."""
    started = time.perf_counter()
    connection = HTTPConnection(host, timeout=60)
    connection.request("GET", "/metrics", headers={"Accept": OPENMETRICS_TYPE, "Accept-Encoding": encoding})
    body = connection.getresponse().read()
    connection.close()
    return 1_000 * (time.perf_counter() - started), body


def in_turns(
    encoding: str, scrapers: int, turns: Iterable[tuple[str, str, Callable[[], AbstractContextManager[None]]]]
) -> Found:
    """Scrape each address in turn with this many scrapers; return the milliseconds by name."""
    found: Found = {}
    for _ in range(ROUNDS):
        for name, host, meanwhile in turns:
            with meanwhile(), ThreadPoolExecutor(scrapers) as pool:
                waits = pool.map(lambda _, host=host: scrape(host, encoding)[0], range(scrapers * SCRAPES))
                found.setdefault(name, []).extend(waits)
    return found


def print_percentiles(found: Mapping[str, list[float]]) -> None:
    """Print percentiles, and ratios to the bare server's."""
    for name, waits in found.items():
        ratios = (percentile(waits, of) / percentile(found[BARE], of) for of in (50, 99))
        print(
            f"  {name}: p50 {percentile(waits, 50):.1f} ms, p99 {percentile(waits, 99):.1f} ms, max {max(waits):.1f} "
            f"ms of {len(waits)} scrapes; to the bare one's: " + "p50 {:.2f}, p99 {:.2f}".format(*ratios)
        )


def percentile(values: list[float], of: int) -> float:
    """Return a percentile."""
    return statistics.quantiles(values, n=100)[of - 1]


def broken(found: Mapping[str, list[float]]) -> list[str]:
    """Return a phrase for each measurement that breaks the promise."""
    worst = {name: percentile(found[name], 99) for name in PROMISED if name in found}
    return [f"{name}: {value:.1f} ms" for name, value in worst.items() if value > PROMISE]


def report(server: Server, home: Path, deployments: int, scrapers: int) -> list[str]:
    """Measure and print; return a phrase for each measurement that breaks the promise."""
    failing: list[str] = []
    numbers = large(deployments)
    for render in (openmetrics, text):
        began = time.perf_counter()
        size = len(render(numbers)) / 1024
        took = time.perf_counter() - began
        print(f"rendered once for each check: {render.__name__}, {size:,.0f} KiB, {took:.2f} s")
    keep(server, numbers)
    with serving(server, home) as host:
        bodies = {encoding: scrape(host, encoding)[1] for encoding in ENCODINGS}
        for encoding, body in bodies.items():
            print(f"{encoding}, {len(body) / 1024:,.0f} KiB, {scrapers} scrapers at a time")
            with serving_bare(body) as beside:
                turns = [(OURS, host), (RENEWED, host), (BARE, beside)]
                while_renewed = {RENEWED: lambda: renewed(server, numbers)}
                found = in_turns(
                    encoding, scrapers, [(*turn, while_renewed.get(turn[0], nullcontext)) for turn in turns]
                )
                print_percentiles(found)
                failing += broken(found) if encoding == GZIP else []
        server.stop()
        for encoding, body in bodies.items():
            print(f"{encoding}, {len(body) / 1024:,.0f} KiB, {scrapers} scrapers at a time")
            with serving_bare(body) as beside:
                found = in_turns(encoding, scrapers, [(DOWN, host, nullcontext), (BARE, beside, nullcontext)])
                print_percentiles(found)
                failing += broken(found) if encoding == GZIP else []
    return failing


def main() -> None:
    """Start a server, measure, and exit with the verdict."""
    parser = argparse.ArgumentParser(description="Measure how long a scrape takes.")
    parser.add_argument("--deployments", type=int, default=1_000, help="how many deployments (default: 1,000)")
    parser.add_argument("--scrapers", type=int, default=10, help="how many scrape at a time (default: 10)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        server = start_server(Path(home))
        try:
            failing = report(server, Path(home), arguments.deployments, arguments.scrapers)
        finally:
            server.stop()
    if failing:
        sys.exit(f"the promise is broken, p99 of {GZIP} scrapes within {PROMISE:.0f} ms: {'; '.join(failing)}")


if __name__ == "__main__":
    main()
