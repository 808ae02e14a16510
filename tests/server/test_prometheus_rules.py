"""Dashboards and rules in the programs that read them: promtool, a real Prometheus, a real Alertmanager."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from demo.stack import wait_until
from monitoring.metrics import catalog
from monitoring.metrics.openmetrics import OPENMETRICS_TYPE, openmetrics
from monitoring.metrics.snapshot import Distribution, Metric, Sample, Snapshot
from tests.support.alertmanager import Prometheus, alertmanager, checked, prometheus
from tests.support.dashboards import PAGE, RULES, panels, rules
from tests.support.paths import PROJECT

DEPLOYMENT = "etl/nightly"
#: What Grafana puts in place of its variables.
VARIABLES = {"$target": "prod", "$deployment": DEPLOYMENT, "$__range": "1h"}
RECORDED = [rule for rule in rules() if not rule.alerts]
TESTED = sorted((PROJECT / "tests/rules").glob("*.yml"))


def documented(name: str) -> dict[str, Any]:
    """The example of a configuration file in the documentation."""
    [text] = re.findall(rf"```yaml\n# {re.escape(name)}\n(.*?)```", PAGE, re.DOTALL)
    config: dict[str, Any] = yaml.safe_load(text)
    return config


def home(folder: Path) -> Path:
    """A folder as the documentation tells people to make it."""
    shutil.copytree(RULES, folder / "prefect-watchdog")
    return folder


#: Only there in trouble.
TROUBLE = {catalog.INCIDENTS.name, catalog.OLDEST_DUE.name, catalog.SERIES_DROPPED.name}
LABELS: dict[str, list[tuple[str, ...]]] = {
    catalog.RUNS.name: [(DEPLOYMENT, "completed"), (DEPLOYMENT, "failed")],
    catalog.CHECK_QUERIES.name: [("complete",), ("failed",)],
    **{
        metric.name: [("tag", "database"), ("deployment", DEPLOYMENT)]
        for metric in (catalog.LIMIT_SLOTS, catalog.LIMIT_SLOTS_USED, catalog.LIMIT_WAITING)
    },
}
ONE = {catalog.SERVER_UP.name, catalog.LIVE_WORKERS.name, catalog.LIMIT_SLOTS.name}


def measured(metric: Metric, scrape: int) -> list[Sample]:
    """What is measured on a healthy server with something of everything; one run more has completed at each scrape."""
    anything = [tuple(DEPLOYMENT if label == "deployment" else "default" for label in metric.labels)]
    return [Sample(labels=labels, value=number(metric, labels, scrape)) for labels in LABELS.get(metric.name, anything)]


def number(metric: Metric, labels: tuple[str, ...], scrape: int) -> float | Distribution:
    if metric.kind == "histogram":
        return Distribution(cumulative=(0, *(scrape for _ in metric.buckets)), sum=3.0 * scrape)
    if metric.name.endswith("_timestamp_seconds"):
        return time.time()
    return float(scrape if "completed" in labels else metric.name in ONE)


@dataclass
class Watchdog:
    """A page to scrape, and what an Alertmanager tells its receiver."""

    incidents: list[Sample] = field(default_factory=list)
    scrapes: int = 0
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def metrics(self, request: Request) -> Response:
        self.scrapes += 1
        samples = {
            metric.name: tuple(measured(metric, self.scrapes))
            for metric in catalog.METRICS
            if metric.name not in TROUBLE
        }
        samples[catalog.INCIDENTS.name] = tuple(self.incidents)
        snapshot = Snapshot(target="prod", at=datetime.now(timezone.utc), samples=samples)
        return Response(openmetrics(snapshot), content_type=OPENMETRICS_TYPE)

    def receive(self, request: Request) -> Response:
        body: dict[str, Any] = request.get_json()
        self.alerts += body["alerts"]
        return Response("ok")


@pytest.fixture
def watchdog(httpserver: HTTPServer) -> Watchdog:
    watchdog = Watchdog()
    httpserver.expect_request("/metrics").respond_with_handler(watchdog.metrics)
    httpserver.expect_request("/alerts").respond_with_handler(watchdog.receive)
    return watchdog


@pytest.fixture
def watched(watchdog: Watchdog, httpserver: HTTPServer, tmp_path: Path) -> Iterator[Prometheus]:
    """Prometheus and Alertmanager as the documentation sets them up, but with seconds for minutes."""
    folder = home(tmp_path)
    for path in (folder / "prefect-watchdog").glob("*.yml"):
        path.write_text(path.read_text().replace("interval: 2m", "interval: 1s"))
    settings = documented("alertmanager.yml")
    settings["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    settings["receivers"][0]["webhook_configs"][0]["url"] = httpserver.url_for("/alerts")
    with alertmanager(folder, yaml.safe_dump(settings)) as url:
        config = documented("prometheus.yml")
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [url.removeprefix("http://")]
        # As two that serve the same numbers.
        pages = [f"{host}:{httpserver.port}" for host in ("127.0.0.1", "localhost")]
        config["scrape_configs"][0]["static_configs"][0]["targets"] = pages
        with prometheus(folder, yaml.safe_dump(config)) as running:
            yield running


def filled(query: str) -> str:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


@pytest.mark.parametrize("path", sorted(RULES.glob("*.yml")), ids=lambda path: str(path.name))
def test_promtool_takes_the_rules(path: Path) -> None:
    assert "SUCCESS" in checked("promtool", "check", "rules", "--lint-fatal", path.name, cwd=RULES)


@pytest.mark.parametrize("path", TESTED, ids=lambda path: str(path.name))
def test_the_rules_do_as_they_should(path: Path) -> None:
    assert "SUCCESS" in checked("promtool", "test", "rules", path.name, cwd=path.parent)


def test_the_documented_configuration_is_right(tmp_path: Path) -> None:
    folder = home(tmp_path)
    for name, tool, check in (
        ("prometheus.yml", "promtool", ("check", "config")),
        ("alertmanager.yml", "amtool", ("check-config",)),
    ):
        (folder / name).write_text(yaml.safe_dump(documented(name)))
        assert "SUCCESS" in checked(tool, *check, name, cwd=folder)


def test_a_healthy_server_fills_the_dashboards_and_fires_nothing(watched: Prometheus, watchdog: Watchdog) -> None:
    recorded = "|".join(rule.name for rule in RECORDED)

    def all_recorded() -> bool:
        return len({sample["metric"]["__name__"] for sample in watched.query(f'{{__name__=~"{recorded}"}}')}) == len(
            RECORDED
        )

    wait_until(all_recorded, timeout=180, waiting_for="everything to be recorded")
    empty = {(str(panel), query) for panel in panels() for query in panel.queries if not watched.query(filled(query))}
    may_be_empty = {str(panel) for panel in panels() if "Empty if" in panel.description}
    assert [query for panel, query in empty if panel not in may_be_empty] == []
    assert {rule.name for rule in rules() if watched.query(rule.query)} == {rule.name for rule in RECORDED}
    loaded = [rule for group in watched.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in loaded} == {rule.name for rule in rules()}
    assert {(rule["health"], rule.get("lastError")) for rule in loaded} == {("ok", None)}
    assert watchdog.alerts == []


def test_an_incident_that_is_scraped_from_two_pages_is_one(watched: Prometheus, watchdog: Watchdog) -> None:
    incidents = catalog.INCIDENTS.name
    watchdog.incidents = [Sample(labels=("failed", "critical", DEPLOYMENT), value=1.0)]
    wait_until(lambda: len(watched.query(incidents)) == 2, timeout=180, waiting_for="both pages to be scraped")
    shown = {
        query: {sample["value"][1] for sample in watched.query(filled(query))}
        for panel in panels()
        for query in panel.queries
        if incidents in query
    }
    assert shown
    assert shown == {query: {"0" if "warning" in query else "1"} for query in shown}


def test_alertmanager_notifies_of_an_incident_and_of_its_end(watched: Prometheus, watchdog: Watchdog) -> None:
    name = 'etl/"nightly" {{ .Labels }}'
    watchdog.incidents = [Sample(labels=("failed", "critical", name), value=1.0)]
    wait_until(lambda: bool(watchdog.alerts), timeout=180, waiting_for="Alertmanager's notification")
    alert = watchdog.alerts[0]
    assert alert["status"] == "firing"
    assert alert["labels"] == {
        "alertname": "PrefectIncident",
        "target": "prod",
        "check": "failed",
        "severity": "critical",
        "deployment": name,
    }
    assert alert["annotations"]["summary"] == f"Prefect server prod: failed of {name}"
    assert f"about {name} on prod, of severity critical" in alert["annotations"]["description"]
    watchdog.incidents = []
    wait_until(lambda: watchdog.alerts[-1]["status"] == "resolved", timeout=180, waiting_for="its resolution")
    assert watchdog.alerts[-1]["labels"] == alert["labels"]
