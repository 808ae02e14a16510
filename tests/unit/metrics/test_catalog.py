"""The contract of names: as the docs have it, and as the field has it."""

from __future__ import annotations

import re

import pytest

from monitoring.metrics.catalog import BY_NAME, METRICS, PREFIX, TARGET
from monitoring.metrics.snapshot import Metric
from tests.support.pages import items
from tests.support.paths import PROJECT

DOC = (PROJECT / "docs" / "metrics.md").read_text()
METRIC = re.compile(r"\*\*`(prefect_watchdog_[a-z_]+)`\*\* \(([a-z]+)(?:; (.+?))?\): (.+)")
ROWS = [match.groups(default="") for item in items(DOC) if (match := METRIC.fullmatch(item))]


def test_the_documentation_has_every_metric_as_it_is_and_no_other() -> None:
    expected = [
        (
            f"{metric.name}_total" if metric.kind == "counter" else metric.name,
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.help,
        )
        for metric in METRICS
    ]
    assert [(name, kind, labels.strip(), text) for name, kind, labels, text in ROWS] == expected


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_are_as_prometheus_wants_them(metric: Metric) -> None:
    # https://prometheus.io/docs/practices/naming/
    assert re.fullmatch(rf"{PREFIX}[a-z]+(_[a-z]+)*", metric.name)
    assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", label) for label in metric.labels)
    assert TARGET not in metric.labels
    assert metric.help.endswith(".")
    assert (metric.kind == "histogram") == bool(metric.buckets)
    assert list(metric.buckets) == sorted(metric.buckets)
    moments_and_spans = re.search(r"timestamp|duration|_age|lateness|run_time|answer", metric.name)
    assert bool(moments_and_spans) == metric.name.endswith("_seconds")


def test_every_name_is_there_once() -> None:
    assert len(BY_NAME) == len(METRICS)
