"""The numbers in the DogStatsD protocol, read by a parser of its documented rules."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.metrics import catalog
from monitoring.metrics.dogstatsd import UDP_SIZE, UNIX_SIZE, datagrams
from monitoring.metrics.snapshot import Sample, Snapshot
from tests.support.builders import NOW
from tests.support.dogstatsd import Line, read
from tests.support.golden import Golden
from tests.support.metric_samples import ANOTHERS, HOSTILE, SERIES, gauges, large, ordinary, run_times, snapshot

TAGS = {"target": "prod", "deployment": "etl"}


def test_a_check(golden: Golden) -> None:
    golden("metrics-dogstatsd.txt", b"\n".join(datagrams(ordinary())).decode() + "\n")


def test_a_gauge_is_sent_as_it_is() -> None:
    given = snapshot(deployment_lateness_seconds=(Sample(labels=("etl",), value=0.25),))
    assert read(datagrams(given)) == [Line("prefect_watchdog_deployment_lateness_seconds", 0.25, "g", TAGS)]


def test_a_timestamp_loses_nothing_that_anybody_would_miss() -> None:
    given = snapshot(last_check_timestamp_seconds=(Sample(value=1_772_960_400.123456),))
    [line] = read(datagrams(given))
    assert line.value == pytest.approx(1_772_960_400.123456, abs=1e-4)


def test_a_counter_is_sent_as_what_it_has_risen_to() -> None:
    given = snapshot(deployment_runs=(Sample(labels=("etl", "failed"), value=7.0),))
    [line] = read(datagrams(given))
    assert line == Line("prefect_watchdog_deployment_runs_total", 7, "g", {**TAGS, "state": "failed"})


def test_a_histogram_is_two_gauges() -> None:
    given = snapshot(deployment_run_time_seconds=(Sample(labels=("etl",), value=run_times(5, 2.25)),))
    name = "prefect_watchdog_deployment_run_time_seconds"
    assert read(datagrams(given)) == [Line(f"{name}.count", 5, "g", TAGS), Line(f"{name}.sum", 2.25, "g", TAGS)]


def test_a_label_without_value_is_no_tag() -> None:
    given = snapshot(incidents=(Sample(labels=("work-pool", "warning", ""), value=1.0),))
    [line] = read(datagrams(given))
    assert line.tags == {"target": "prod", "check": "work-pool", "severity": "warning"}


def test_a_metric_of_another_exporter_keeps_its_name_and_its_labels() -> None:
    given = Snapshot(target="prod", at=NOW, samples={ANOTHERS.name: gauges("etl")})
    assert read(datagrams(given, (ANOTHERS,))) == [Line("prefect_flow_runs_total", 0, "g", {"flow_name": "etl"})]
    assert datagrams(given) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_not_sent(value: float) -> None:
    assert datagrams(snapshot(deployment_lateness_seconds=(Sample(labels=("etl",), value=value),))) == []


@pytest.mark.parametrize("size", [UDP_SIZE, UNIX_SIZE])
def test_datagrams_are_as_full_as_they_may_be(size: int) -> None:
    given = large(300)
    sent = datagrams(given, size=size)
    assert max(map(len, sent)) <= size
    # None that would have gone into the one before it.
    assert all(len(datagram) + 1 + len(following.split(b"\n")[0]) > size for datagram, following in pairwise(sent))
    assert len(read(sent)) == SERIES * 300 + 1


def test_a_line_that_is_longer_goes_alone() -> None:
    given = snapshot(deployment_lateness_seconds=gauges("a", "b" * 180, "c"))
    sent = datagrams(given, size=120)
    assert [len(read([datagram])) for datagram in sent] == [1, 1, 1]


@given(names=st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)), max_size=6))
def test_whatever_a_name_is_the_rules_hold(names: list[str]) -> None:
    given = snapshot(deployment_lateness_seconds=gauges(*names), limit_slots=tuple(_slots(names)))
    lines = read(datagrams(given))
    assert [line.value for line in lines] == [*range(len(names)), *range(len(names))]
    assert {line.name for line in lines} <= {metric.name for metric in catalog.METRICS}
    assert all(line.tags["target"] == "prod" for line in lines)


def _slots(names: list[str]) -> list[Sample]:
    return [Sample(labels=(name, name), value=float(number)) for number, name in enumerate(names)]


def test_names_that_differ_in_what_the_protocol_cannot_express_stay_apart() -> None:
    names = ["a_b", "a,b", "a|b", "a_", "a", "a:", "a::", "a,", ":", "::", "_", ",", "|", "etl/a,b", "etl/a_b"]
    lines = read(datagrams(snapshot(deployment_lateness_seconds=gauges(*names))))
    assert len({line.tags["deployment"] for line in lines}) == len(names)


def test_long_names_stay_apart() -> None:
    names = [f"etl/{'long' * 100}{number}" for number in range(3)]
    lines = read(datagrams(snapshot(deployment_lateness_seconds=gauges(*names))))
    assert len({line.tags["deployment"] for line in lines}) == 3
