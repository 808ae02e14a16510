"""slow: against a given limit, and against what is usual."""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from typing import Any

import pytest

from monitoring.history.baselines import with_run
from monitoring.history.ledger import fold
from monitoring.model.ledger import Ledger, Record, RunTimes
from monitoring.model.observation import ConcurrencyLimit, Heartbeats
from monitoring.model.prefect import StateType
from tests.support.builders import NOW, deployment, found, hours, minutes, names, observation, run

SECOND = timedelta(seconds=1)


def beats(count: int, every: timedelta, silence: timedelta) -> Heartbeats:
    last = NOW - silence
    return Heartbeats(count=count, first=last - every * (count - 1), last=last)


ALIVE = {"run": beats(10, timedelta(seconds=30), timedelta(seconds=5))}


# --- a given limit ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "running_for", "slow"),
    [
        (timedelta(0), hours(1), False),
        (timedelta(0), hours(1) + SECOND, True),
        # All attempts together; the wait between them is none of it.
        (minutes(50), minutes(10), False),
        (minutes(50), minutes(10) + SECOND, True),
    ],
)
def test_slow_counts_time_in_running(before: timedelta, running_for: timedelta, slow: bool) -> None:
    active = run("RUNNING", since=NOW - running_for, start_time=NOW - hours(9), total_run_time=before)

    findings = found(observation(active, heartbeats=ALIVE), slow={"limit": "1h"})

    assert names(findings) == ([("slow", "etl/nightly", "warning")] if slow else [])
    assert found(observation(active, heartbeats=ALIVE)) == (), "nothing is given, and nothing learned"


@pytest.mark.parametrize(("took", "slow"), [(hours(1), False), (hours(1) + SECOND, True)])
@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CRASHED"])
def test_the_latest_ended_run_can_be_slow(state: StateType, took: timedelta, slow: bool) -> None:
    ended = run(state, total_run_time=took, start_time=NOW - hours(5))
    findings = found(observation(ended), slow={"limit": "1h"})

    assert ("slow" in [finding.check for finding in findings]) is slow


def test_a_later_run_within_the_limit_ends_slowness() -> None:
    slow = run("COMPLETED", "slow", total_run_time=hours(2), since=NOW - hours(3))
    quick = run("COMPLETED", "quick", total_run_time=minutes(2), since=NOW - hours(1))

    assert found(observation(slow, quick), slow={"limit": "1h"}) == ()


def test_without_a_schedule_slowness_expires() -> None:
    ended = run("COMPLETED", total_run_time=hours(2), since=NOW - hours(24))

    assert found(observation(ended, deployments=[deployment(scheduled=False)]), slow={"limit": "1h"}) == ()
    assert len(found(observation(ended), slow={"limit": "1h"})) == 1


def test_a_dead_run_is_no_slow_one() -> None:
    dead = run("RUNNING", "dead", since=NOW - hours(5))
    alive = run("RUNNING", "alive", since=NOW - hours(5))
    silent = beats(10, timedelta(seconds=30), hours(1))
    beating = beats(10, timedelta(seconds=30), timedelta(seconds=5))

    alone = found(observation(dead, heartbeats={"dead": silent}), slow={"limit": "1h"})
    both = found(observation(dead, alive, heartbeats={"dead": silent, "alive": beating}), slow={"limit": "1h"})

    assert [finding.check for finding in alone] == ["zombie"]
    assert [finding.check for finding in both] == ["zombie", "slow"]


# --- what is usual ---------------------------------------------------------------------------------


def history(*took: timedelta) -> Ledger:
    """What is remembered of a deployment that ran once a day up to the day before yesterday; oldest first."""
    ends = [NOW - timedelta(days=len(took) + 1 - n) for n in range(len(took))]
    ran = [
        run("COMPLETED", f"day {n}", since=end, start_time=end - hours(20), total_run_time=span)
        for n, (end, span) in enumerate(zip(ends, took, strict=True))
    ]
    known = reduce(with_run, ran, RunTimes())
    return Ledger(records={"etl/nightly": Record(run_times=known, run_times_searched=True)})


USUAL = history(*[minutes(10)] * 12)


def running(took: timedelta, run_id: str = "run", **fields: Any) -> Any:
    return run("RUNNING", run_id, since=NOW - took, **fields)


@pytest.mark.parametrize(
    ("known", "settings", "limit"),
    [
        (USUAL, {}, minutes(20)),
        (USUAL, {"min_ratio": 1.2}, minutes(15)),
        (history(*[minutes(1)] * 12), {}, minutes(6)),
        (history(*[minutes(10)] * 10, minutes(30), minutes(30)), {}, minutes(36)),
    ],
    ids=["twice the median", "the floor", "the floor, of short runs", "seen twice"],
)
@pytest.mark.parametrize(("over", "slow"), [(timedelta(0), False), (SECOND, True)])
def test_a_run_beyond_what_is_usual_is_found(
    known: Ledger, settings: dict[str, Any], limit: timedelta, over: timedelta, slow: bool
) -> None:
    expected = [("slow", "etl/nightly", "info")] if slow else []
    ended = run("COMPLETED", total_run_time=limit + over, start_time=NOW - hours(5))

    assert names(found(observation(running(limit + over), heartbeats=ALIVE), known, slow=settings)) == expected
    assert names(found(observation(ended), known, slow=settings)) == expected


def test_what_it_says_and_what_it_rests_on() -> None:
    known = history(*[minutes(4)] * 60, *[minutes(9)] * 30)
    (finding,) = found(observation(running(minutes(60)), heartbeats=ALIVE), known)

    assert finding.summary == "etl/nightly: 1 run beyond the usual run time (running)"
    assert finding.observed == "name of run: running for 1 h"
    assert finding.expected == "at most 18 min of run time: 9 min is the median of 30 runs"
    assert finding.evidence == ("median 4 min in August 2026, 9 min now",)
    assert finding.since == NOW - minutes(42)
    assert finding.flow_run_ids == ("run",)
    assert finding.url == "http://ui.example/runs/flow-run/run"
    assert not finding.unknown


def test_the_baseline_needs_samples() -> None:
    nine, ten = history(*[minutes(10)] * 9), history(*[minutes(10)] * 10)

    assert found(observation(running(hours(9)), heartbeats=ALIVE), nine) == ()
    assert len(found(observation(running(hours(9)), heartbeats=ALIVE), ten)) == 1


def test_it_may_matter_more_than_that() -> None:
    seen = observation(running(hours(1)), heartbeats=ALIVE)

    assert names(found(seen, USUAL, slow={"severity": "critical"})) == [("slow", "etl/nightly", "critical")]
    assert found(seen, USUAL, slow={"baseline": False}) == ()
    assert found(seen, USUAL, slow={"enabled": False}) == ()


def test_a_limit_replaces_the_baseline() -> None:
    seen = observation(running(hours(1)), heartbeats=ALIVE)

    assert found(seen, USUAL, slow={"limit": "1h"}) == ()
    assert names(found(seen, USUAL, slow={"limit": "59m"})) == [("slow", "etl/nightly", "warning")]


def test_a_run_is_not_judged_by_itself() -> None:
    """Nine others are too few, and it does not count as the tenth; of ten others it is no second longest."""
    slow = run("COMPLETED", total_run_time=hours(1), start_time=NOW - hours(5))
    longest = history(*[minutes(10)] * 9, minutes(59))

    assert found(observation(slow), history(*[minutes(10)] * 9)) == ()
    assert names(found(observation(slow), longest)) == [("slow", "etl/nightly", "info")]


def test_a_run_that_has_ended_is_judged_by_as_many_as_one_that_runs() -> None:
    slow = run("COMPLETED", total_run_time=hours(1), start_time=NOW - hours(5))
    known = history(*[minutes(10)] * 40)

    for seen in (observation(slow), observation(running(hours(1)), heartbeats=ALIVE)):
        (finding,) = found(seen, known, slow={"min_samples": 30})
        assert finding.expected == "at most 20 min of run time: 10 min is the median of 30 runs"


def test_an_ended_run_stays_slow_until_another_ends() -> None:
    slow = run("COMPLETED", "slow", total_run_time=hours(1), start_time=NOW - hours(5), since=NOW - minutes(5))
    quick = run("COMPLETED", "quick", total_run_time=minutes(9), start_time=NOW, since=NOW + hours(20))
    first = fold(USUAL, observation(slow))
    again = observation(slow, at=NOW + minutes(4))
    later = observation(at=NOW + hours(19))

    assert names(found(again, first)) == names(found(later, first)) == [("slow", "etl/nightly", "info")]
    assert found(observation(quick, at=NOW + hours(21)), first) == ()


@pytest.mark.parametrize("state", ["FAILED", "CRASHED", "CANCELLED"])
def test_of_ended_runs_only_completed_ones_are_compared_with_completed_ones(state: StateType) -> None:
    ended = run(state, total_run_time=hours(9), start_time=NOW - hours(10))

    assert "slow" not in [finding.check for finding in found(observation(ended), USUAL)]


def test_a_run_without_heartbeats_can_be_slow() -> None:
    findings = found(observation(running(hours(1))), USUAL)

    assert names(findings) == [("zombie", "etl/nightly", "info"), ("slow", "etl/nightly", "info")]


def test_the_longest_run_stands_for_all() -> None:
    ended = run("COMPLETED", "ended", total_run_time=hours(7), start_time=NOW - hours(9))
    several = observation(
        running(hours(1), "one"),
        running(hours(3), "three"),
        running(minutes(5), "well"),
        ended,
        heartbeats=dict.fromkeys(("one", "three", "well"), ALIVE["run"]),
    )
    (finding,) = found(several, USUAL)

    assert finding.flow_run_ids == ("three", "one", "ended")
    assert finding.summary == "etl/nightly: 3 runs beyond the usual run time (running)"
    assert finding.observed == "name of three: running for 3 h"


# --- why -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waited", "blamed"),
    [(minutes(40), True), (minutes(40) - SECOND, False)],
    ids=["slow because it waits", "slow before it waited"],
)
def test_a_full_tag_limit_is_why_a_run_that_waits_there_is_slow(waited: timedelta, blamed: bool) -> None:
    full = ConcurrencyLimit(kind="tag", id="limit", name="database", limit=1, taken=1, waiting={"run": NOW - waited})
    seen = observation(running(minutes(60)), heartbeats=ALIVE, full=(full,))
    slow = next(finding for finding in found(seen, USUAL) if finding.check == "slow")

    assert (slow.cause and slow.cause.what) == (("tag", "database", "limit-reached") if blamed else None)
