"""The numbers as text for Prometheus, read back by prometheus-client's own parsers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from monitoring.history.counts import RUN_TIME_BUCKETS
from monitoring.metrics import catalog
from monitoring.metrics import openmetrics as render
from monitoring.metrics.labels import MAX_LENGTH, harmless
from monitoring.metrics.snapshot import Distribution, Sample, Snapshot
from tests.support.builders import NOW
from tests.support.golden import Golden
from tests.support.metric_samples import ANOTHERS, HOSTILE, gauges, ordinary, run_times, snapshot

Read = Callable[[bytes], list[Family]]


def read_openmetrics(body: bytes) -> list[Family]:
    parse: Callable[[str], Iterable[Family]] = openmetrics_parser.text_string_to_metric_families
    return list(parse(body.decode()))


def read_text(body: bytes) -> list[Family]:
    return list(text_string_to_metric_families(body.decode()))


FORMATS = pytest.mark.parametrize(
    ("rendered", "read"),
    [
        pytest.param(render.openmetrics, read_openmetrics, id="OpenMetrics"),
        pytest.param(render.text, read_text, id="text"),
    ],
)
Rendered = Callable[..., bytes]


def values(families: Iterable[Family]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples that were read, by name and labels; none may be there twice."""
    found = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def key(name: str, labels: Mapping[str, str]) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"{catalog.PREFIX}{name}", frozenset(labels.items())


def test_openmetrics(golden: Golden) -> None:
    golden("metrics-openmetrics.txt", render.openmetrics(ordinary()).decode())


def test_classic_text(golden: Golden) -> None:
    golden("metrics-prometheus.txt", render.text(ordinary()).decode())


@FORMATS
def test_every_number_is_read_as_it_was_measured(rendered: Rendered, read: Read) -> None:
    found = values(read(rendered(ordinary())))
    of = {"target": "prod", "deployment": "etl/nightly"}
    assert found[key("deployment_runs_total", {**of, "state": "failed"})] == 3
    assert found[key("deployment_run_time_seconds_bucket", {**of, "le": "15.0"})] == 2
    assert found[key("deployment_run_time_seconds_bucket", {**of, "le": "+Inf"})] == 12
    assert found[key("deployment_run_time_seconds_count", of)] == 12
    assert found[key("deployment_run_time_seconds_sum", of)] == 1_234.5
    assert found[key("deployment_lateness_seconds", {**of, "deployment": "ml/train"})] == 4_210.25
    assert found[key("server_up", {"target": "prod"})] == 1


@FORMATS
def test_what_was_not_measured_is_not_there(rendered: Rendered, read: Read) -> None:
    assert [family.name for family in read(rendered(snapshot(server_up=(Sample(value=0.0),))))] == [
        "prefect_watchdog_server_up"
    ]


def test_seconds_are_a_unit_to_openmetrics() -> None:
    units = {family.name: family.unit for family in read_openmetrics(render.openmetrics(ordinary()))}
    assert units["prefect_watchdog_deployment_lateness_seconds"] == "seconds"
    assert units["prefect_watchdog_deployment_runs"] == ""


@FORMATS
def test_a_metric_of_another_exporter_keeps_its_name_and_its_labels(rendered: Rendered, read: Read) -> None:
    given = Snapshot(target="prod", at=NOW, samples={ANOTHERS.name: gauges("etl")})
    [family] = read(rendered(given, definitions=(*catalog.METRICS, ANOTHERS)))
    [sample] = family.samples
    assert (family.type, sample.name, sample.labels) == ("gauge", "prefect_flow_runs_total", {"flow_name": "etl"})
    assert read(rendered(given)) == []


@FORMATS
@pytest.mark.parametrize(
    "sample",
    [
        Sample(labels=("etl", "one too many"), value=1.0),
        Sample(labels=("etl",), value=1.0),
        Sample(labels=("etl",), value=Distribution(cumulative=(1, 1), sum=1.0)),
    ],
    ids=["labels", "kind", "buckets"],
)
def test_a_sample_that_another_version_measured_otherwise_is_left_out(
    rendered: Rendered, read: Read, sample: Sample
) -> None:
    fits = Sample(labels=("ml",), value=run_times(1, 0.5))
    found = values(read(rendered(snapshot(deployment_run_time_seconds=(sample, fits)))))
    assert {dict(labels)["deployment"] for _, labels in found} == {"ml"}


@FORMATS
def test_hostile_names_stay_apart_and_do_nothing(rendered: Rendered, read: Read) -> None:
    [family] = read(rendered(snapshot(deployment_lateness_seconds=gauges(*HOSTILE))))
    assert [sample.value for sample in family.samples] == list(range(len(HOSTILE)))
    assert len({sample.labels["deployment"] for sample in family.samples}) == len(HOSTILE)
    assert all(sample.labels["deployment"].isprintable() for sample in family.samples)


NAMES = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)), unique=True, max_size=5)


@FORMATS
@given(names=NAMES, value=st.floats(allow_nan=False))
def test_whatever_a_name_is_it_is_read_as_it_was_written(
    rendered: Rendered, read: Read, names: list[str], value: float
) -> None:
    given = snapshot(
        deployment_lateness_seconds=tuple(Sample(labels=(name,), value=value) for name in names),
        deployment_runs=tuple(Sample(labels=(name, name), value=abs(value)) for name in names),
        deployment_run_time_seconds=tuple(Sample(labels=(name,), value=run_times(3, 1.5)) for name in names),
    )
    found = values(read(rendered(given)))
    for name in names:
        of = {"target": "prod", "deployment": harmless(name)}
        assert found[key("deployment_lateness_seconds", of)] == value
        assert found[key("deployment_runs_total", {**of, "state": harmless(name)})] == abs(value)
        assert found[key("deployment_run_time_seconds_count", of)] == 3
    assert len(found) == len(names) * (1 + 1 + len(RUN_TIME_BUCKETS) + 3)


@FORMATS
def test_two_samples_with_the_same_labels_are_one(rendered: Rendered, read: Read) -> None:
    twice = (Sample(labels=("etl",), value=1.0), Sample(labels=("etl",), value=2.0))
    assert list(values(read(rendered(snapshot(deployment_lateness_seconds=twice)))).values()) == [1]


ANYTHING = st.text(st.characters(exclude_categories=()))


@given(text=ANYTHING)
@example(text="\ud800lone surrogate")
@example(text="\u200f" * 3)
@example(text="word " * 60)
def test_a_label_is_short_and_visible(text: str) -> None:
    shown = harmless(text)
    assert not {"Cc", "Cf", "Cs", "Zl", "Zp"} & set(map(category, shown))
    assert len(shown) <= MAX_LENGTH
    assert harmless(shown) == shown


@pytest.mark.parametrize("text", ["", "etl/nightly", 'a "quoted" \\ name', "naïve 🔥 名前", "x" * MAX_LENGTH])
def test_a_label_that_is_harmless_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


def test_names_that_look_the_same_are_different_labels() -> None:
    alike = ["a b", "a  b", "a\nb", "a\0 b", "a \u200fb", "a \ud800b", " a b", "a b\t"]
    assert len({harmless(text) for text in alike}) == len(alike)
