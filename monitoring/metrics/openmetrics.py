"""Metrics as text for Prometheus: OpenMetrics 1.0, and the classic format that Pushgateway and node exporter read.

Rules: https://prometheus.io/docs/specs/om/open_metrics_spec/ and
https://prometheus.io/docs/instrumenting/exposition_formats/. No sample has a timestamp: receivers of files and pushes
reject timestamps, and a scraped series would go stale between two checks. The time of the check is a metric itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from monitoring.metrics.catalog import METRICS
from monitoring.metrics.labels import harmless, label_names, label_values
from monitoring.metrics.snapshot import Distribution, Metric, Sample, Snapshot

OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = "seconds"


class Families(Collector):
    """The families of the measured metrics, which prometheus-client renders and pushes."""

    def __init__(self, snapshot: Snapshot, definitions: Iterable[Metric] = METRICS) -> None:
        """Nothing is rendered yet.

        Args:
            snapshot: The snapshot.
            definitions: The metrics to render, in this order.
        """
        self._snapshot = snapshot
        self._definitions = definitions

    def collect(self) -> Iterator[Family]:
        """Make a family of each metric that has samples."""
        for metric in self._definitions:
            found: dict[tuple[str, ...], float | Distribution] = {}
            for sample in self._snapshot.samples.get(metric.name, ()):
                if _fits(metric, sample):
                    labels = tuple(map(harmless, label_values(metric, self._snapshot, sample)))
                    # Receivers reject everything if two samples have the same labels.
                    found.setdefault(labels, sample.value)
            if found:
                yield _family(metric, found)


def openmetrics(snapshot: Snapshot, definitions: Iterable[Metric] = METRICS) -> bytes:
    """Render as OpenMetrics; arguments are those of ``Families``."""
    encode, _ = exposition.choose_encoder(OPENMETRICS_TYPE)
    return encode(Families(snapshot, definitions))


def text(snapshot: Snapshot, definitions: Iterable[Metric] = METRICS) -> bytes:
    """Render in Prometheus' classic text format, 0.0.4; arguments are those of ``Families``."""
    return exposition.generate_latest(Families(snapshot, definitions))


def _fits(metric: Metric, sample: Sample) -> bool:
    """Whether the sample fits this metric: a watchdog of another version may have saved it."""
    if len(sample.labels) != len(metric.labels):
        return False
    if isinstance(sample.value, Distribution):
        return metric.kind == "histogram" and len(sample.value.cumulative) == len(metric.buckets) + 1
    return metric.kind != "histogram"


def _family(metric: Metric, found: dict[tuple[str, ...], float | Distribution]) -> Family:
    names = label_names(metric)
    unit = _SECONDS if metric.name.endswith(f"_{_SECONDS}") else ""
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=names, unit=unit)
        bounds = [*map(str, metric.buckets), "+Inf"]
        for labels, value in found.items():
            if isinstance(value, Distribution):
                histogram.add_metric(labels, list(zip(bounds, value.cumulative, strict=True)), value.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=names, unit=unit)
    for labels, value in found.items():
        if not isinstance(value, Distribution):
            family.add_metric(labels, value)
    return family
