"""The numbers in the DogStatsD protocol, read by a parser of its documented rules."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.metrics import catalog
from monitoring.metrics.values import Sample, Snapshot
from monitoring.render.dogstatsd import UDP_SIZE, UNIX_SIZE, datagrams
from tests.render.conftest import Golden
from tests.render.metric_samples import ANOTHERS, HOSTILE, gauges, large, ordinary, run_times, snapshot
from tests.support.builders import NOW
from tests.support.dogstatsd import Line, read

TAGS = {"target": "prod", "deployment": "etl"}


def counted(now: float, before: float | None) -> list[Line]:
    """What is sent of a counter."""
    [earlier, later] = [
        None if value is None else snapshot(deployment_runs=(Sample(labels=("etl", "failed"), value=value),))
        for value in (before, now)
    ]
    assert later
    return read(datagrams(later, earlier))


def test_a_check_after_another(golden: Golden) -> None:
    earlier = ordinary()
    runs, times = "prefect_watchdog_deployment_runs", "prefect_watchdog_deployment_run_time_seconds"
    later = earlier.model_copy(
        update={
            "samples": {
                **earlier.samples,
                runs: (
                    Sample(labels=("etl/nightly", "completed"), value=14.0),
                    Sample(labels=("etl/nightly", "failed"), value=3.0),
                ),
                times: (Sample(labels=("etl/nightly",), value=run_times(14, 1_300.75)),),
            }
        }
    )
    golden("metrics-dogstatsd.txt", b"\n".join(datagrams(later, earlier)).decode() + "\n")


def test_a_gauge_is_sent_as_it_is() -> None:
    given = snapshot(deployment_lateness_seconds=(Sample(labels=("etl",), value=0.25),))
    assert read(datagrams(given, None)) == [Line("prefect_watchdog_deployment_lateness_seconds", 0.25, "g", TAGS)]


def test_a_moment_loses_nothing_that_anybody_would_miss() -> None:
    given = snapshot(last_check_timestamp_seconds=(Sample(value=1_772_960_400.123456),))
    [line] = read(datagrams(given, None))
    assert line.value == pytest.approx(1_772_960_400.123456, abs=1e-4)


def test_a_counter_is_sent_as_far_as_it_has_risen() -> None:
    assert counted(now=7, before=4) == [
        Line("prefect_watchdog_deployment_runs_total", 3, "c", {**TAGS, "state": "failed"})
    ]


@pytest.mark.parametrize("before", [None, 7, 8], ids=["nothing before", "did not rise", "fell"])
def test_a_counter_that_is_not_known_to_have_risen_is_not_sent(before: float | None) -> None:
    assert counted(now=7, before=before) == []


def test_a_counter_that_was_unknown_before_is_not_sent() -> None:
    earlier = snapshot(deployment_runs=(Sample(labels=("ml", "failed"), value=1.0),))
    later = snapshot(deployment_runs=(Sample(labels=("etl", "failed"), value=1_000.0),))
    assert datagrams(later, earlier) == []


def test_a_histogram_is_two_counters() -> None:
    earlier, later = (
        snapshot(deployment_run_time_seconds=(Sample(labels=("etl",), value=value),))
        for value in (run_times(2, 1.5), run_times(5, 2.25))
    )
    name = "prefect_watchdog_deployment_run_time_seconds"
    assert read(datagrams(later, earlier)) == [
        Line(f"{name}.count", 3, "c", TAGS),
        Line(f"{name}.sum", 0.75, "c", TAGS),
    ]
    assert datagrams(later, None) == []


def test_a_label_without_value_is_no_tag() -> None:
    given = snapshot(incidents=(Sample(labels=("work-pool", "warning", ""), value=1.0),))
    [line] = read(datagrams(given, None))
    assert line.tags == {"target": "prod", "check": "work-pool", "severity": "warning"}


def test_a_metric_of_another_exporter_keeps_its_name_and_its_labels() -> None:
    given = Snapshot(target="prod", at=NOW, samples={ANOTHERS.name: gauges("etl")})
    assert read(datagrams(given, None, (ANOTHERS,))) == [Line("prefect_flow_runs_total", 0, "g", {"flow_name": "etl"})]
    assert datagrams(given, None) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_not_sent(value: float) -> None:
    assert datagrams(snapshot(deployment_lateness_seconds=(Sample(labels=("etl",), value=value),)), None) == []


@pytest.mark.parametrize("size", [UDP_SIZE, UNIX_SIZE])
def test_datagrams_are_as_full_as_they_may_be(size: int) -> None:
    given = large(300)
    sent = datagrams(given, None, size=size)
    assert max(map(len, sent)) <= size
    # None that would have gone into the one before it.
    assert all(len(one) + 1 + len(next_.split(b"\n")[0]) > size for one, next_ in pairwise(sent))
    assert len(read(sent)) == 4 * 300 + 1


def test_a_line_that_is_longer_goes_alone() -> None:
    given = snapshot(deployment_lateness_seconds=gauges("a", "b" * 180, "c"))
    sent = datagrams(given, None, size=120)
    assert [len(read([one])) for one in sent] == [1, 1, 1]


@given(names=st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)), max_size=6))
def test_whatever_a_name_is_the_rules_hold(names: list[str]) -> None:
    given = snapshot(deployment_lateness_seconds=gauges(*names), limit_slots=tuple(_slots(names)))
    lines = read(datagrams(given, None))
    assert [line.value for line in lines] == [*range(len(names)), *range(len(names))]
    assert {line.name for line in lines} <= {metric.name for metric in catalog.METRICS}
    assert all(line.tags["target"] == "prod" for line in lines)


def _slots(names: list[str]) -> list[Sample]:
    return [Sample(labels=(name, name), value=float(number)) for number, name in enumerate(names)]


def test_long_names_stay_apart() -> None:
    names = [f"etl/{'long' * 100}{number}" for number in range(3)]
    lines = read(datagrams(snapshot(deployment_lateness_seconds=gauges(*names)), None))
    assert len({line.tags["deployment"] for line in lines}) == 3
