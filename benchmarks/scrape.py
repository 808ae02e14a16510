"""How long a scrape of ``watchdog metrics serve`` takes, beside the same bytes from a bare ``http.server``.

    python -m benchmarks.scrape --deployments 1000 --scrapers 10

Both servers run in processes of their own, and are measured in turns. Each scraper asks without a pause, which is far
more often than Prometheus does, and over a new connection: for OpenMetrics in gzip, as Prometheus does, and then
uncompressed. Ours is measured twice: at rest, and while it takes in the numbers of another check every second, which
in earnest is every few minutes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from monitoring.adapters.prefect_server.state import pack, unpack
from monitoring.adapters.scrape import ScrapeServer, answers_first
from monitoring.metrics.catalog import ALERTS_SENT
from monitoring.metrics.values import Sample, Snapshot
from monitoring.render.openmetrics import OPENMETRICS_TYPE, openmetrics, text
from tests.render.metric_samples import large

ROUNDS = 4
#: Seconds between the numbers of one check and of the next.
EVERY = 1.0
#: Of each scraper in each round; they take some seconds, so that several renewals are among them.
SCRAPES = 100
OURS, RENEWED, BARE = "ours", "ours, renewed every second", "bare http.server"
_PACKED, _PLAIN = "gzip", "identity"


def ours(pipe: Connection, deployments: int) -> None:
    """Serve as ``watchdog metrics serve`` does, and be told whether other numbers come meanwhile."""
    kept = cycle([pack(checked(deployments, alerts)) for alerts in (1.0, 2.0)])
    answers_first()
    server = ScrapeServer("127.0.0.1:0")
    server.show(Snapshot.model_validate(unpack(next(kept))))
    pipe.send(urlsplit(server.start()).netloc)
    renewing = False
    while True:
        if pipe.poll(EVERY if renewing else None):
            renewing = pipe.recv()
            pipe.send("heard")
        if renewing:
            server.show(Snapshot.model_validate(unpack(next(kept))))


def checked(deployments: int, alerts: float) -> Snapshot:
    """What a check measures that has sent so many alerts."""
    numbers = large(deployments)
    sent = {ALERTS_SENT.name: (Sample(labels=("default",), value=alerts),)}
    return numbers.model_copy(update={"samples": {**numbers.samples, **sent}})


def bare(pipe: Connection, body: bytes) -> None:
    """Serve the same bytes with nothing around them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        # As many as ours takes: else it is connecting that is measured.
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        pipe.send(f"127.0.0.1:{server.server_address[1]}")
        server.serve_forever()


def scrape(host: str, encoding: str) -> tuple[float, bytes]:
    """Scrape once: milliseconds until the last byte is there, and the bytes."""
    started = time.perf_counter()
    connection = HTTPConnection(host, timeout=60)
    connection.request("GET", "/metrics", headers={"Accept": OPENMETRICS_TYPE, "Accept-Encoding": encoding})
    body = connection.getresponse().read()
    connection.close()
    return 1_000 * (time.perf_counter() - started), body


def latencies(host: str, encoding: str, scrapers: int) -> list[float]:
    """Let so many scrape at a time, each again and again; milliseconds."""
    with ThreadPoolExecutor(scrapers) as pool:
        return list(pool.map(lambda _: scrape(host, encoding)[0], range(scrapers * SCRAPES)))


def percentile(values: list[float], of: int) -> float:
    """A percentile."""
    return statistics.quantiles(values, n=100)[of - 1]


def started(serve: Callable[..., None], given: object) -> tuple[multiprocessing.Process, Connection, str]:
    """Start a server in a process of its own; the process, how to speak to it, and where it listens."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(there, given), daemon=True)
    process.start()
    return process, here, here.recv()


def report(deployments: int, scrapers: int) -> None:
    """Measure, and print."""
    numbers = large(deployments)
    for render in (openmetrics, text):
        began = time.perf_counter()
        size = len(render(numbers)) / 1024
        took = time.perf_counter() - began
        print(f"rendered once for each check: {render.__name__}, {size:,.0f} KiB, {took:.2f} s")
    process, pipe, host = started(ours, deployments)
    for encoding in (_PACKED, _PLAIN):
        _, body = scrape(host, encoding)
        beside, _, bare_host = started(bare, body)
        turns = [(OURS, host, False), (RENEWED, host, True), (BARE, bare_host, False)]
        found: dict[str, list[float]] = {name: [] for name, _, _ in turns}
        for _ in range(ROUNDS):
            for name, at, renewing in turns:
                pipe.send(renewing)
                # Whatever is rendered still is none of the next one's burden.
                pipe.recv()
                found[name] += latencies(at, encoding, scrapers)
        beside.kill()
        print(f"{encoding}, {len(body) / 1024:,.0f} KiB, {scrapers} scrapers at a time")
        for name, waits in found.items():
            print(
                f"  {name}: p50 {percentile(waits, 50):.1f} ms, p99 {percentile(waits, 99):.1f} ms, "
                f"max {max(waits):.1f} ms of {len(waits)} scrapes"
            )
        for name in (OURS, RENEWED):
            ratios = (percentile(found[name], of) / percentile(found[BARE], of) for of in (50, 99))
            print(f"  {name} / {BARE}: " + "p50 {:.2f}, p99 {:.2f}".format(*ratios))
    process.kill()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description="Measure how long a scrape takes.")
    parser.add_argument("--deployments", type=int, default=1_000, help="how many deployments (default: 1,000)")
    parser.add_argument("--scrapers", type=int, default=10, help="how many scrape at a time (default: 10)")
    arguments = parser.parse_args()
    report(arguments.deployments, arguments.scrapers)


if __name__ == "__main__":
    main()
