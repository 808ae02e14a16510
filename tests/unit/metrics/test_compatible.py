"""The metrics of Prefect's own exporter, made of facts: labels, sums, windows, caps, and what is not known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.config.metric_settings import Compatibility
from monitoring.metrics.catalog import PREFIX, SERIES_DROPPED
from monitoring.metrics.compatible import METRICS, QUERIES, added, compatible
from monitoring.metrics.snapshot import Sample, Snapshot
from monitoring.model import exporter_facts as names
from monitoring.model.coverage import Coverage, Query
from monitoring.model.exporter_facts import DeployedFlow, ExporterFacts, Pool, Queue
from monitoring.model.prefect import FlowRun
from tests.support.builders import NOW, hours, minutes
from tests.support.pages import items
from tests.support.paths import PROJECT

DOC = (PROJECT / "docs" / "metrics-compatibility.md").read_text()
SETTINGS = Compatibility(enabled=True)
FLOWS = {"f-etl": "etl", "f-ads": "ads"}
DAILY = DeployedFlow(id="d-daily", name="daily", flow_id="f-etl", paused=False)


def flow_run(number: int = 1, *, flow: str = "f-etl", of: str | None = "d-daily", **fields: Any) -> FlowRun:
    values: dict[str, Any] = {
        "id": f"run-{number}",
        "name": "",
        "flow_id": flow,
        "deployment_id": of,
        "state_type": "COMPLETED",
        "state_name": "Completed",
        "state_timestamp": NOW,
        "created": NOW,
        "start_time": NOW - minutes(1),
    }
    return FlowRun.model_validate({**values, **fields})


def failed(number: int, began: datetime | None, **fields: Any) -> FlowRun:
    fields = {"state_type": "FAILED", "state_name": "Failed", "start_time": began, **fields}
    return flow_run(number, **fields)


def answered(**outcomes: Literal["partial", "failed"]) -> Coverage:
    """Coverage in which every query but these was answered whole."""
    spelt = {name.replace("_", "-"): outcome for name, outcome in outcomes.items()}
    return Coverage(queries=tuple(Query(name=name, outcome=spelt.get(name, "complete")) for name in sorted(QUERIES)))


def facts(**fields: Any) -> ExporterFacts:
    return ExporterFacts.model_validate({"flows": FLOWS, "deployments": (DAILY,), "coverage": answered(), **fields})


def measured(known: ExporterFacts, settings: Compatibility = SETTINGS) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by labels, by the name of the metric without its prefix."""
    return {
        name.removeprefix("prefect_"): {sample.labels: number(sample) for sample in samples}
        for name, samples in compatible(known, settings, NOW).items()
    }


def number(sample: Sample) -> float:
    assert isinstance(sample.value, float)
    return sample.value


def test_all_are_gauges_and_none_has_a_name_of_ours() -> None:
    assert {metric.kind for metric in METRICS} == {"gauge"}
    assert len({metric.name for metric in METRICS}) == len(METRICS) == 14
    assert not any(metric.name.startswith(PREFIX) for metric in METRICS)


def test_the_documentation_has_every_metric_as_it_is_and_no_other() -> None:
    metric = re.compile(r"\*\*`(prefect_[a-z_]+)`\*\*(?: \((.+?)\))?: (.+)")
    rows = [match.groups(default="") for item in items(DOC) if (match := metric.fullmatch(item))]
    documented = [(name, tuple(re.findall("`(.+?)`", labels)), text) for name, labels, text in rows]
    assert documented == [(metric.name, metric.labels, metric.help) for metric in METRICS]


def test_the_documentation_has_every_query_and_no_other() -> None:
    assert set(re.findall(r"^\| `(compatible-[a-z-]+)` \|", DOC, re.MULTILINE)) == QUERIES


def test_each_sample_has_a_value_for_each_label() -> None:
    queue = Queue(name="default", work_pool="k8s", priority=1, paused=False)
    runs = [flow_run()]
    known = facts(
        started=runs, ended=runs, ongoing=runs, failed=runs, queues=[queue], pools=[Pool(name="", type="", paused=True)]
    )
    found = compatible(known, SETTINGS, NOW)
    assert found.keys() == {metric.name for metric in METRICS}
    for metric in METRICS:
        assert {len(sample.labels) for sample in found[metric.name]} == {len(metric.labels)}


def test_an_empty_server_has_totals_of_zero_and_nothing_else() -> None:
    found = measured(ExporterFacts(coverage=answered()))
    assert found == {
        name: {(): 0.0}
        for name in ("deployments_total", "flows_total", "flow_runs_total", "work_pools_total", "work_queues_total")
    }


# --- deployments and flows ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        ({}, ("etl", "True", "daily", "None", "False", "None", "None", "None", "")),
        ({"paused": True}, ("etl", "False", "daily", "None", "True", "None", "None", "None", "")),
        ({"flow_id": "gone"}, ("null", "True", "daily", "None", "False", "None", "None", "None", "")),
        (
            {"path": "/srv", "work_pool": "k8s", "work_queue": "default", "status": "READY", "tags": ("b", "a")},
            ("etl", "True", "daily", "/srv", "False", "k8s", "default", "READY", "a,b"),
        ),
        # Prefect keeps an empty text as it is.
        (
            {"path": "", "work_pool": "", "work_queue": "", "status": ""},
            ("etl", "True", "daily", "", "False", "", "", "", ""),
        ),
    ],
)
def test_the_labels_of_a_deployment(fields: dict[str, Any], labels: tuple[str, ...]) -> None:
    found = measured(facts(deployments=(DAILY.model_copy(update=fields),)))
    assert found["info_deployment"] == {labels: 1}
    assert found["deployments_total"] == {(): 1}


def test_flows_are_counted_and_named() -> None:
    found = measured(facts())
    assert found["flows_total"] == {(): 2}
    assert found["info_flows"] == {("etl",): 1, ("ads",): 1}


# --- flow runs ---------------------------------------------------------------------------------------


def test_run_times_of_a_flow_are_one_series_with_their_sum() -> None:
    ended = [
        flow_run(1, total_run_time=timedelta(seconds=90)),
        flow_run(2, total_run_time=timedelta(seconds=30), of=None),
        flow_run(3, total_run_time=timedelta(seconds=5), flow="f-ads"),
        flow_run(4, total_run_time=timedelta(seconds=7), flow="gone"),
    ]
    found = measured(facts(ended=ended))
    assert found["flow_runs_total"] == {(): 4}
    assert found["flow_runs_total_run_time"] == {("etl",): 120, ("ads",): 5, ("null",): 7}


@pytest.mark.parametrize(
    ("fields", "series"),
    [
        ({"start_time": NOW - minutes(5)}, {("daily", "etl", "Running", "run-1"): 300}),
        ({"start_time": NOW, "of": None}, {("null", "etl", "Running", "run-1"): 0}),
        ({"start_time": NOW - minutes(1), "of": "gone"}, {("null", "etl", "Running", "run-1"): 60}),
        ({"start_time": NOW + minutes(5)}, {("daily", "etl", "Running", "run-1"): 0}),
        ({"start_time": None, "state_type": "PENDING", "state_name": "Pending"}, None),
    ],
    ids=["runs", "without deployment", "deployment gone", "clock ahead", "never began"],
)
def test_how_long_a_run_has_been_going_on(fields: dict[str, Any], series: dict[tuple[str, ...], float] | None) -> None:
    run = flow_run(**{"state_type": "RUNNING", "state_name": "Running", **fields})
    assert measured(facts(ongoing=[run])).get("flow_runs_ongoing_run_time") == series


def test_runs_of_the_window_are_counted_by_names_state_and_queue() -> None:
    started = [flow_run(1), flow_run(2), flow_run(3, work_queue="urgent"), flow_run(4, state_name="Cached", of=None)]
    assert measured(facts(started=started))["info_flow_runs"] == {
        ("daily", "etl", "Completed", "None"): 2,
        ("daily", "etl", "Completed", "urgent"): 1,
        ("null", "etl", "Cached", "None"): 1,
    }


def test_the_newest_failed_runs_are_named_of_each_deployment_and_state() -> None:
    runs = [failed(n, NOW - hours(n)) for n in (3, 1, 2)]
    runs += [failed(n, NOW - hours(n), state_name="TimedOut") for n in (5, 4, 6)]
    # It never began: what counts is when it should have.
    runs += [failed(7, None, expected_start_time=NOW - minutes(30)), failed(8, NOW - hours(9), of="d-gone")]
    found = measured(facts(failed=runs), Compatibility(enabled=True, failed_runs=2))
    assert found["deployment_failed_flow_runs"] == {
        ("daily", "etl", "run-7", "Failed"): 1,
        ("daily", "etl", "run-1", "Failed"): 1,
        ("daily", "etl", "run-4", "TimedOut"): 1,
        ("daily", "etl", "run-5", "TimedOut"): 1,
        ("null", "etl", "run-8", "Failed"): 1,
    }


# --- work pools and work queues ----------------------------------------------------------------------


def test_a_paused_work_pool_is_zero() -> None:
    pools = [Pool(name="k8s", type="kubernetes", status="READY", paused=False), Pool(name="old", type="x", paused=True)]
    found = measured(facts(pools=pools))
    assert found["work_pools_total"] == {(): 2}
    assert found["info_work_pools"] == {("False", "k8s", "kubernetes", "READY"): 1, ("True", "old", "x", "None"): 0}


@pytest.mark.parametrize(
    ("polled", "late", "healthy"),
    [
        (NOW - timedelta(seconds=60), 0, "True"),
        (NOW - timedelta(seconds=61), 0, "False"),
        (NOW + timedelta(seconds=5), 0, "True"),
        (None, 0, "False"),
        (NOW, 1, "False"),
    ],
    ids=["just polled", "polled too long ago", "clock ahead", "never polled", "late runs"],
)
def test_when_a_work_queue_is_healthy(polled: datetime | None, late: int, healthy: str) -> None:
    fields: dict[str, Any] = {"name": "urgent", "work_pool": "k8s", "priority": 2, "status": "READY", "paused": False}
    found = measured(facts(queues=[Queue(**fields, last_polled=polled, late=late)]))
    labels = ("False", "urgent", "2", "null", "k8s", "READY", healthy, "0", "60")
    assert found["info_work_queues"] == {labels: 1}
    assert found["work_queues_late_runs_count"] == {labels: late}
    assert found["work_queues_total"] == {(): 1}


def test_a_paused_work_queue_is_zero() -> None:
    found = measured(facts(queues=[Queue(name="urgent", priority=2, paused=True)]))
    assert list(found["info_work_queues"].values()) == [0]


# --- what is not known, what is too much ---------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["partial", "failed"])
@pytest.mark.parametrize(
    ("query", "gone"),
    [
        (
            names.FLOWS,
            {
                "flows_total",
                "info_flows",
                "info_deployment",
                "info_flow_runs",
                "flow_runs_total_run_time",
                "flow_runs_ongoing_run_time",
                "deployment_failed_flow_runs",
            },
        ),
        (
            names.DEPLOYMENTS,
            {
                "deployments_total",
                "info_deployment",
                "info_flow_runs",
                "flow_runs_ongoing_run_time",
                "deployment_failed_flow_runs",
            },
        ),
        (names.STARTED, {"info_flow_runs"}),
        (names.ENDED, {"flow_runs_total", "flow_runs_total_run_time"}),
        (names.ONGOING, {"flow_runs_ongoing_run_time"}),
        (names.FAILED, {"deployment_failed_flow_runs"}),
        (names.POOLS, {"work_pools_total", "info_work_pools"}),
        (names.QUEUES, {"work_queues_total", "info_work_queues", "work_queues_late_runs_count"}),
        (names.LATE, {"info_work_queues", "work_queues_late_runs_count"}),
    ],
)
def test_what_rests_on_a_query_without_a_whole_answer_is_left_out(
    query: str, gone: set[str], outcome: Literal["partial", "failed"]
) -> None:
    runs = [flow_run()]
    known = facts(
        started=runs,
        ended=runs,
        ongoing=runs,
        failed=runs,
        pools=[Pool(name="k8s", type="kubernetes", paused=False)],
        queues=[Queue(name="default", priority=1, paused=False)],
    )
    whole = measured(known)
    assert len(whole) == len(METRICS)
    missing = measured(known.model_copy(update={"coverage": answered(**{query.replace("-", "_"): outcome})}))
    assert missing == {name: series for name, series in whole.items() if name not in gone}


def test_what_was_never_queried_is_left_out() -> None:
    assert compatible(facts(coverage=Coverage()), SETTINGS, NOW) == {}


def test_series_with_run_ids_are_capped_and_the_totals_still_count_all() -> None:
    runs = [flow_run(n, state_type="RUNNING", state_name="Running") for n in range(5)]
    found = compatible(facts(ongoing=runs, ended=runs), Compatibility(enabled=True, most_series=3), NOW)
    assert len(found["prefect_flow_runs_ongoing_run_time"]) == 3
    assert found["prefect_flow_runs_total"] == (Sample(value=5.0),)
    assert found[SERIES_DROPPED.name] == (Sample(labels=("prefect_flow_runs_ongoing_run_time",), value=2.0),)


def test_they_stand_beside_what_a_check_has_measured_and_every_cap_is_reported() -> None:
    sample = Sample(labels=("other",), value=1.0)
    snapshot = Snapshot(target="prod", at=NOW, samples={"other": (Sample(value=7.0),), SERIES_DROPPED.name: (sample,)})
    runs = [flow_run(n, state_type="RUNNING", state_name="Running") for n in range(2)]
    both = added(snapshot, facts(ongoing=runs), Compatibility(enabled=True, most_series=1))
    assert both.samples["other"] == (Sample(value=7.0),)
    assert both.samples["prefect_flows_total"] == (Sample(value=2.0),)
    capped = ("prefect_info_flows", "prefect_flow_runs_ongoing_run_time")
    assert set(both.samples[SERIES_DROPPED.name]) == {sample, *(Sample(labels=(name,), value=1.0) for name in capped)}
    assert SERIES_DROPPED.name not in added(Snapshot(target="prod", at=NOW), facts(), SETTINGS).samples


RUNS = st.lists(
    st.builds(
        flow_run,
        st.integers(0, 10_000),
        flow=st.sampled_from(["f-etl", "f-ads", "gone"]),
        of=st.sampled_from(["d-daily", "gone", None]),
        state_name=st.sampled_from(["Completed", 'a"b\n', "Failed"]),
        work_queue=st.sampled_from(["default", "\\", None]),
        start_time=st.sampled_from([NOW - minutes(1), NOW + minutes(1), NOW - hours(9), None]),
        total_run_time=st.integers(0, 10**6).map(lambda seconds: timedelta(seconds=seconds)),
    ),
    unique_by=lambda run: run.id,
    max_size=30,
)


@given(RUNS)
def test_no_series_is_there_twice_and_nothing_is_lost_in_a_sum(runs: Sequence[FlowRun]) -> None:
    found = compatible(facts(started=runs, ended=runs, ongoing=runs, failed=runs), SETTINGS, NOW)
    for samples in found.values():
        assert len({sample.labels for sample in samples}) == len(samples)

    def total(name: str) -> float:
        return sum(map(number, found.get(name, ())))

    assert total("prefect_info_flow_runs") == total("prefect_flow_runs_total") == len(runs)
    assert total("prefect_flow_runs_total_run_time") == sum(run.total_run_time.total_seconds() for run in runs)


@given(RUNS, st.integers(1, 5), st.integers(1, 3))
def test_however_many_runs_there_are_no_metric_has_more_series_than_may_be(
    runs: Sequence[FlowRun], most: int, named: int
) -> None:
    settings = Compatibility(enabled=True, most_series=most, failed_runs=named)
    known = facts(started=runs, ongoing=runs, failed=runs)
    found, again = compatible(known, settings, NOW), compatible(known, settings, NOW)
    whole = compatible(known, Compatibility(enabled=True, failed_runs=named), NOW)
    dropped = {sample.labels[0]: sample.value for sample in found.get(SERIES_DROPPED.name, ())}
    assert found == again
    for name, samples in whole.items():
        assert len(found[name]) == min(most, len(samples))
        assert set(found[name]) <= set(samples)
        assert dropped.get(name, 0) == len(samples) - len(found[name])
    by_deployment: dict[tuple[str, str, str], int] = {}
    for sample in whole.get("prefect_deployment_failed_flow_runs", ()):
        key = (sample.labels[0], sample.labels[1], sample.labels[3])
        by_deployment[key] = by_deployment.get(key, 0) + 1
    # Without a name, runs of several deployments look like those of one.
    assert all(count <= named for key, count in by_deployment.items() if key[0] != "null" and key[1] != "null")
