"""The numbers where people read them: in Prometheus, its Pushgateway and its node exporter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from demo.stack import wait_until
from monitoring.adapters.exporters.pushgateway import Pushgateway
from monitoring.adapters.exporters.scrape import ScrapeServer
from monitoring.adapters.exporters.textfile import Textfile
from monitoring.errors import DeliveryError
from monitoring.metrics import catalog, compatible
from monitoring.metrics.labels import harmless
from monitoring.metrics.openmetrics import text
from monitoring.metrics.snapshot import Metric, Sample, Snapshot
from tests.support.builders import NOW
from tests.support.metric_samples import HOSTILE, gauges, ordinary, run_times, snapshot
from tests.support.prometheus import node_exporter, prometheus, promtool, pushgateway

TIMEOUT = timedelta(seconds=10)
#: Names that do their worst, in each kind of metric.
WORST = snapshot(
    deployment_lateness_seconds=gauges(*HOSTILE),
    deployment_runs=tuple(Sample(labels=(name, "failed"), value=1.0) for name in HOSTILE),
    deployment_run_time_seconds=tuple(Sample(labels=(name,), value=run_times(3, 1.5)) for name in HOSTILE),
)
#: What each is to be called.
NAMES = {harmless(name): float(number) for number, name in enumerate(HOSTILE)}


def read(body: str, name: str) -> dict[str, float]:
    """A metric's values by deployment, from a page in the classic text format."""
    return {
        sample.labels["deployment"]: sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.parametrize("numbers", [ordinary(), WORST], ids=["ordinary", "worst"])
def test_promtool_finds_nothing_wrong(numbers: Snapshot) -> None:
    assert promtool("check", "metrics", given=text(numbers)) == ""


def one_of_each(metrics: Iterable[Metric]) -> Snapshot:
    """A sample of each of these."""
    samples = {
        metric.name: (
            Sample(
                labels=("x",) * len(metric.labels),
                value=run_times(1, 0.5) if metric.kind == "histogram" else 1.0,
            ),
        )
        for metric in metrics
    }
    return Snapshot(target="prod", at=NOW, samples=samples)


def test_every_metric_of_the_catalog_is_named_as_prometheus_wants_it() -> None:
    assert promtool("check", "metrics", given=text(one_of_each(catalog.METRICS))) == ""


def test_of_the_names_of_another_exporter_only_their_endings_are_remarked_on() -> None:
    metrics = compatible.METRICS
    *remarks, status = promtool("check", "metrics", given=text(one_of_each(metrics), metrics)).splitlines()
    endings = {re.sub(r"^prefect_\w+?(_total|_count) .*", r"\1", line) for line in remarks}
    assert (endings, status) == ({"_total", "_count"}, "status 3")


def test_prometheus_scrapes_what_was_measured(tmp_path: Path) -> None:
    pages = ScrapeServer("127.0.0.1:0")
    pages.show(WORST)
    host = urlsplit(pages.start()).netloc
    try:
        with prometheus(tmp_path, host) as known:
            wait_until(
                lambda: bool(known.query("prefect_watchdog_deployment_lateness_seconds")),
                timeout=180,
                waiting_for="a scrape",
            )
            found = known.query("prefect_watchdog_deployment_lateness_seconds")
            assert {sample["metric"]["deployment"]: float(sample["value"][1]) for sample in found} == NAMES
            assert {sample["metric"]["target"] for sample in found} == {"prod"}
            [runs] = known.query(f"prefect_watchdog_deployment_runs_total{{deployment={json.dumps(HOSTILE[0])}}}")
            assert float(runs["value"][1]) == 1
            quantile = "histogram_quantile(0.5, prefect_watchdog_deployment_run_time_seconds_bucket)"
            assert len(known.query(quantile)) == len(HOSTILE)
            # The next numbers arrive as well.
            pages.show(snapshot(server_up=(Sample(value=0.0),)))
            wait_until(
                lambda: [sample["value"][1] for sample in known.query("prefect_watchdog_server_up")] == ["0"],
                timeout=180,
                waiting_for="the next scrape",
            )
    finally:
        pages.stop()


def test_the_pushgateway_shows_what_the_last_check_pushed(tmp_path: Path) -> None:
    with pushgateway(tmp_path) as gateway:
        exporter = Pushgateway(gateway.url, TIMEOUT)
        exporter.publish(WORST)
        shown = json.loads(gateway.get("/api/v1/metrics"))["data"]
        [group] = shown
        assert group["labels"] == {"job": "prefect_watchdog", "target": "prod"}
        late = group["prefect_watchdog_deployment_lateness_seconds"]["metrics"]
        assert {sample["labels"]["deployment"]: float(sample["value"]) for sample in late} == NAMES
        assert {sample["labels"]["target"] for sample in late} == {"prod"}
        exporter.publish(ordinary().model_copy(update={"target": "staging"}))
        exporter.publish(ordinary())
        assert 'deployment="etl/nightly"' in gateway.get("/metrics")
        assert 'deployment="{}"' not in gateway.get("/metrics"), "what is not measured any more is gone"
        assert len(json.loads(gateway.get("/api/v1/metrics"))["data"]) == 2, "another target's numbers stay"


def test_the_pushgateway_says_why_it_rejects(tmp_path: Path) -> None:
    with pushgateway(tmp_path) as gateway:
        other = "# TYPE prefect_watchdog_server_up counter\nprefect_watchdog_server_up 1\n"
        httpx.put(f"{gateway.url}/metrics/job/other", content=other, trust_env=False).raise_for_status()
        with pytest.raises(DeliveryError, match="is not a COUNTER") as caught:
            Pushgateway(gateway.url, TIMEOUT).publish(ordinary())
    assert caught.value.permanent


def test_the_node_exporter_collects_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "collected"
    folder.mkdir()
    exporter = Textfile(str(folder / "prefect.prom"))
    exporter.publish(WORST)
    with node_exporter(tmp_path, folder) as node:
        page = node.get("/metrics")
        assert "node_textfile_scrape_error 0" in page
        assert read(page, "prefect_watchdog_deployment_lateness_seconds") == NAMES
        exporter.publish(ordinary())
        assert 'deployment="etl/nightly"' in node.get("/metrics")
