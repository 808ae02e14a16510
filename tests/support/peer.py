"""The exporter that Prefect keeps, beside our metrics of its names: https://github.com/PrefectHQ/prometheus-prefect-exporter.

It is in no package index. What it gives on a server with a known world is kept in ``tests/golden/metrics-peer.json``,
which the tests compare with. With a checkout of it, and a Python that has its requirements, both are compared live:

    git clone https://github.com/PrefectHQ/prometheus-prefect-exporter ../exporter
    python -m venv ../exporter/.venv && ../exporter/.venv/bin/pip install -r ../exporter/requirements.txt
    python -m tests.support.peer ../exporter ../exporter/.venv/bin/python

``--record`` keeps what it gives as the new golden file. The status is 1 where the two differ.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from demo.stack import Process, Server, free_port, wait_until
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.read import work_pools as places
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.compatible import collect
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.metrics.compatible import METRICS, added
from monitoring.metrics.labels import harmless
from monitoring.metrics.openmetrics import text
from monitoring.metrics.snapshot import Snapshot
from monitoring.model.exporter_facts import ExporterFacts
from monitoring.model.ledger import Ledger
from monitoring.text.redaction import Redactor
from tests.support.noise import noise
from tests.support.paths import PROJECT
from tests.support.seed_values import DAY, HOUR, MINUTE, Run
from tests.support.seeding import Seed
from tests.support.servers import connected, start_server

GOLDEN = PROJECT / "tests" / "golden" / "metrics-peer.json"
#: The window, in minutes: nothing planted begins or ends near to its border.
WINDOW = 8
#: Failed runs that are named of each deployment.
FAILED_RUNS = 3
#: Services that change a world by themselves.
STILL = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
}
NAMES = frozenset(metric.name for metric in METRICS)
_OURS_HAVE_IDS_BELOW = UUID(int=1_000)

#: Values by labels, by the metric's name.
Series = dict[str, dict[frozenset[tuple[str, str]], float]]


def plant(server: Server, seed: Seed) -> None:
    """Plant a world in which every one of the metrics has something to say, and noise around it."""
    noise(seed)
    now = seed.now
    pool = seed.pool("etl-pool", status="READY")
    urgent = seed.queue(pool, "urgent", priority=2)
    seed.queue(pool, "polled", priority=3)
    seed.queue(pool, "held", paused=True, priority=4)
    seed.pool("k8s-pool", type="kubernetes", paused=True, status="PAUSED")
    daily = seed.deployment("etl/daily", pool=urgent, tags=["team:b", "a, b"], schedule="0 3 * * *", status="READY")
    server.request("PATCH", f"/deployments/{daily.id}", {"path": "/srv/flows"})
    hourly = seed.deployment("etl/hourly", pool=pool, paused=True)
    server.request("PATCH", f"/deployments/{hourly.id}", {"path": ""})
    hostile = seed.deployment('we"ird\\flow\n{x="1"} 7/na\\me "} 1', pool=pool, tags=['"', "\n"])
    homeless = seed.deployment("homeless/flow-is-gone")
    gone = seed.deployment("etl/gone")
    ids = (UUID(int=number) for number in range(1, _OURS_HAVE_IDS_BELOW.int))

    def run(deployment: Any, state: str, **fields: Any) -> Run:
        return seed.run(deployment, state, id=next(ids), **fields)

    # Two of a flow that ended in the window, one of which began before it.
    run(daily, "COMPLETED", started=now - 3 * MINUTE, ended=now - MINUTE)
    run(hourly, "COMPLETED", started=now - HOUR, ended=now - 2 * MINUTE)
    run(daily, "CANCELLED", started=now - 4 * MINUTE, ended=now - 3 * MINUTE)
    run(gone, "COMPLETED", started=now - 4 * MINUTE, ended=now - 2 * MINUTE)
    parent = run(None, "RUNNING", flow="laptop", started=now - 6 * MINUTE)
    run(None, "RUNNING", flow="part", parent=parent, started=now - 5 * MINUTE)
    # Two of the same deployment and state go on at once, and the clock of one is ahead.
    run(hostile, "RUNNING", started=now - 30 * MINUTE)
    run(hostile, "RUNNING", started=now + HOUR)
    run(daily, "PENDING", since=now - MINUTE, due=now - MINUTE)
    run(daily, "PENDING", since=now - MINUTE, started=now - 2 * HOUR)
    run(daily, "AwaitingRetry", started=now - 90 * MINUTE, due=now - 90 * MINUTE, next_due=now + HOUR)
    run(daily, "SCHEDULED", due=now + 6 * HOUR)
    run(daily, "SCHEDULED", due=now + 7 * HOUR)
    run(daily, "Late", due=now - 20 * MINUTE)
    run(daily, "Late", due=now - 2 * MINUTE)
    run(hourly, "Suspended", started=now - 5 * MINUTE, since=now - 4 * MINUTE)
    # More than are named, so the oldest are not; and one that is too old.
    for number in range(FAILED_RUNS + 2):
        run(hourly, "FAILED", started=now - number * DAY - HOUR, ended=now - number * DAY - 50 * MINUTE)
    run(hourly, "FAILED", ended=now - 8 * DAY)
    run(hourly, "TimedOut", ended=now - 9 * HOUR)
    run(hostile, "CRASHED", started=now - 4 * MINUTE, ended=now - 3 * MINUTE)
    run(gone, "CRASHED", ended=now - DAY)
    run(None, "FAILED", flow="laptop", ended=now - DAY)
    seed.lose_deployment(gone)
    seed.lose_flow(homeless)
    server.request("POST", "/work_pools/etl-pool/get_scheduled_flow_runs", {"work_queue_names": ["polled"]})
    wait_until(lambda: _is_polled(server), timeout=120, waiting_for="the server to note that a queue was polled")


def _is_polled(server: Server) -> bool:
    found = server.request("POST", "/work_queues/filter", {"work_queues": {"name": {"any_": ["polled"]}}})
    return all(queue["last_polled"] and queue["status"] == "READY" for queue in found)


def settings(**compatibility: Any) -> Config:
    """Our configuration, with the peer's windows."""
    ours = {"enabled": True, "window": f"{WINDOW}m", "failed_window": "7d", "failed_runs": FAILED_RUNS}
    return Config.model_validate({"metrics": {"enabled": True, "compatibility": {**ours, **compatibility}}})


def our_text(now: datetime) -> str:
    """What we give of the server that Prefect's client is pointed at, as of ``now``."""
    config = settings()
    with open_api(config.server) as api:
        return exposed(measured(collected(api, config, now), config, now))


def collected(api: Api, config: Config, now: datetime) -> ExporterFacts:
    """Collect everything, the deployments too, which a check has read by then."""
    redact = Redactor().redact
    deployed = places.deployments(Collection(api, config, redact, now, Policies(config)), Ledger())
    return collect(api, config, redact, now, deployed.flows)


def measured(facts: ExporterFacts, config: Config, now: datetime) -> Snapshot:
    """These metrics, and no others."""
    return added(Snapshot(target="prod", at=now), facts, config.metrics.compatibility)


def exposed(snapshot: Snapshot) -> str:
    """Our rendering in the classic text format."""
    return text(snapshot, definitions=METRICS).decode()


class Peer(Process):
    """The peer, in front of a server."""

    def __init__(self, server: Server, checkout: Path, python: Path, env: Mapping[str, str] | None = None) -> None:
        """Choose a port; ``checkout`` is its source and ``python`` has its requirements."""
        self.port = free_port()
        theirs = {
            "METRICS_ADDR": "127.0.0.1",
            "METRICS_PORT": str(self.port),
            "OFFSET_MINUTES": str(WINDOW),
            "FAILED_RUNS_LIMIT": str(FAILED_RUNS),
            **(env or {}),
        }
        super().__init__(
            "exporter",
            [str(python.absolute()), "main.py"],
            log=server.home / "exporter.log",
            env=server.client_env(theirs),
            cwd=checkout,
        )

    def scrape(self) -> str:
        """Ask it as Prometheus does."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=300, trust_env=False)
        return answer.raise_for_status().text

    def listens(self) -> bool:
        """Whether it answers; this is not its ``/metrics``, which asks the server for everything."""
        with suppress(httpx.HTTPError):
            httpx.options(f"http://127.0.0.1:{self.port}/", timeout=60, trust_env=False)
            return True
        return False


@contextmanager
def running(peer: Peer) -> Iterator[Peer]:
    """Let the peer run for the body of a ``with``."""
    peer.start()
    try:
        peer.wait(peer.listens, timeout=180, waiting_for="the exporter to listen")
        yield peer
    finally:
        peer.stop()


def series(page: str) -> Series:
    """What stands on a page in the classic text format, as ``series_of``."""
    return series_of(text_string_to_metric_families(page))


def series_of(families: Iterable[Family]) -> Series:
    """All samples of the metrics of these names, those with the same labels as one, with their sum.

    Ids that are made anew for each world are named alike, and run times that grow are in whole minutes.
    """
    found: Series = {}
    for family in families:
        if family.name not in NAMES:
            continue
        assert family.type == "gauge", family.name
        values = found.setdefault(family.name, {})
        for sample in family.samples:
            labels = frozenset((name, _same(name, value)) for name, value in sample.labels.items())
            grows = sample.name == "prefect_flow_runs_ongoing_run_time"
            values[labels] = values.get(labels, 0.0) + (round(sample.value / 60) if grows else round(sample.value, 3))
    return {name: values for name, values in found.items() if values}


def _same(label: str, value: str) -> str:
    return "new" if label.endswith("run_id") and UUID(value) >= _OURS_HAVE_IDS_BELOW else value


def differences(ours: Series, theirs: Series) -> list[str]:
    """Each series that only one of both has, or that has another value.

    What our rendering makes harmless in a name is no difference.
    """
    theirs = {
        name: {frozenset((label, harmless(text)) for label, text in labels): value for labels, value in values.items()}
        for name, values in theirs.items()
    }
    return [
        f"{name}{dict(sorted(labels))}: ours {our_values.get(labels)}, the exporter's {their_values.get(labels)}"
        for name in sorted(ours.keys() | theirs.keys())
        for our_values, their_values in [(ours.get(name, {}), theirs.get(name, {}))]
        for labels in sorted(our_values.keys() | their_values.keys(), key=sorted)
        if our_values.get(labels) != their_values.get(labels)
    ]


def recorded() -> Series:
    """What the golden file has."""
    return {
        name: {frozenset(sample["labels"].items()): sample["value"] for sample in values}
        for name, values in json.loads(GOLDEN.read_text()).items()
    }


def record(found: Series) -> None:
    """Write the golden file."""
    rows = {
        name: [{"labels": dict(sorted(labels)), "value": values[labels]} for labels in sorted(values, key=sorted)]
        for name, values in sorted(found.items())
    }
    GOLDEN.write_text(json.dumps(rows, indent=1) + "\n")


def main() -> int:
    """Compare live, or record."""
    parser = argparse.ArgumentParser(description="Compare our metrics of Prefect's exporter's names with its own.")
    parser.add_argument("checkout", type=Path, help="folder with its source")
    parser.add_argument("python", type=Path, help="a Python that has its requirements")
    parser.add_argument("--record", action="store_true", help="keep what it gives as the golden file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        server = start_server(Path(home), env=STILL)
        try:
            seed = Seed(server.database_url)
            plant(server, seed)
            with connected(server), running(Peer(server, arguments.checkout, arguments.python)) as peer:
                theirs, ours = series(peer.scrape()), series(our_text(seed.now))
        finally:
            server.stop()
    if arguments.record:
        record(theirs)
    found = differences(ours, theirs)
    counted = sum(map(len, theirs.values()))
    sys.stdout.writelines(f"{line}\n" for line in (*found, f"{counted} series compared, {len(found)} differ"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
