"""What is learned of run times, and how good it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from functools import reduce
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.baselines import OURS, PATTERNS, RULES, Score, study, table
from monitoring.checks.slow import Slow
from monitoring.history.baselines import (
    Baseline,
    baseline,
    drift,
    granted,
    monthly,
    quickest,
    typical,
    with_run,
    without_run,
)
from monitoring.history.ledger import fold
from monitoring.model.ledger import EndedRun, Ledger, RunTimes
from monitoring.model.prefect import FlowRun
from tests.support.builders import NOW, hours, minutes, observation, run
from tests.support.paths import PROJECT

DOCS = PROJECT / "docs"
SECOND = timedelta(seconds=1)


def completed(run_id: str, *, ended: datetime = NOW, took: timedelta = 600 * SECOND) -> FlowRun:
    return run("COMPLETED", run_id, since=ended, start_time=ended - hours(30), total_run_time=took)


def learned_from(runs: Iterable[FlowRun]) -> RunTimes:
    return reduce(with_run, runs, RunTimes())


def every_day(*took: timedelta, until: datetime = NOW) -> list[FlowRun]:
    """A run a day, the last of them at ``until``; what each took, oldest first."""
    first = until - timedelta(days=len(took) - 1)
    return [completed(f"run {n}", ended=first + timedelta(days=n), took=span) for n, span in enumerate(took)]


# --- the sample ------------------------------------------------------------------------------------

runs = st.lists(
    st.builds(
        completed,
        run_id=st.uuids().map(str),
        ended=st.timedeltas(SECOND, timedelta(days=300)).map(lambda ago: NOW - ago),
        took=st.timedeltas(SECOND, hours(5)),
    ),
    max_size=80,
    unique_by=lambda made: made.id,
)


@given(runs, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(made: list[FlowRun], chance: object) -> None:
    shuffled = made + made[: len(made) // 2]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    assert learned_from(shuffled) == learned_from(made)


@given(runs, st.integers(0, 80), st.integers(0, 80))
def test_neither_windows_nor_a_search_that_overlaps_them_matter(made: list[FlowRun], cut: int, found: int) -> None:
    oldest_first = sorted(made, key=lambda each: each.state_timestamp)
    newest = tuple(reversed(oldest_first))[:found]
    early, late = oldest_first[:cut], oldest_first[cut:]
    at_once = fold(Ledger(), observation(*oldest_first))
    first = fold(Ledger(), observation(*early, at=NOW - minutes(5)))
    in_two = fold(first, observation(*early[-3:], *late, samples={"etl/nightly": newest}))

    assert in_two.records["etl/nightly"].run_times == at_once.records["etl/nightly"].run_times


def test_a_search_is_recorded_even_when_it_found_nothing() -> None:
    record = fold(Ledger(), observation(samples={"etl/nightly": ()})).records["etl/nightly"]

    assert record.run_times_searched


def test_it_survives_being_saved() -> None:
    known = learned_from(every_day(*(minutes(n / 7 + 1) for n in range(90))))

    assert RunTimes.model_validate_json(known.model_dump_json()) == known


def test_it_is_bounded() -> None:
    known = learned_from(every_day(*[minutes(10)] * 400))

    assert len(known.recent) == 31
    assert known.recent[0][0] == int(NOW.timestamp())
    assert {month: len(drawn) for month, drawn in known.months.items()} == {
        "2026-08": 7,
        "2026-09": 7,
        "2026-10": 7,
        "2026-11": 7,
    }
    # 5,000 deployments with as much: six megabytes.
    assert len(known.model_dump_json()) < 1_200


def test_the_runs_of_a_month_are_drawn_from_all_of_it() -> None:
    """Each run takes as many seconds as runs came before it: what is drawn shows when."""
    first = datetime(2026, 10, 1, tzinfo=timezone.utc)
    made = [completed(f"run {n}", ended=first + minutes(n), took=n * SECOND) for n in range(1, 10_001)]
    drawn = sorted(seconds for _, seconds in learned_from(made).months["2026-10"])

    assert drawn[0] < 4_000
    assert drawn[-1] > 6_000


@pytest.mark.parametrize(
    "never_ran",
    [
        run("COMPLETED", total_run_time=minutes(5), start_time=None),
        run("COMPLETED", total_run_time=minutes(5), start_time=NOW, since=NOW),
        run("COMPLETED", total_run_time=timedelta(0), start_time=NOW - hours(1), since=NOW),
    ],
    ids=["never started", "ended before it started", "was marked"],
)
def test_a_run_that_never_ran_took_no_time(never_ran: FlowRun) -> None:
    assert learned_from([never_ran]) == RunTimes()


@pytest.mark.parametrize("state", ["FAILED", "CRASHED", "CANCELLED"])
def test_only_completed_runs_are_learned_from(state: str) -> None:
    ended = completed("a").model_copy(update={"state_type": state})

    assert fold(Ledger(), observation(ended)).records["etl/nightly"].run_times == RunTimes()


# --- the baseline ----------------------------------------------------------------------------------


def judged_by(took: Sequence[timedelta], **settings: object) -> Baseline | None:
    return baseline(learned_from(every_day(*took)), Slow.model_validate(settings))


@pytest.mark.parametrize(
    ("took", "settings", "limit"),
    [
        # Too few samples.
        ([minutes(10)] * 9, {}, None),
        ([minutes(10)] * 10, {}, minutes(20)),
        ([minutes(10)] * 10, {"min_samples": 11}, None),
        # The median times two, or five minutes more than the median.
        ([minutes(10)] * 10, {"min_ratio": 3}, minutes(30)),
        ([minutes(2)] * 10, {}, minutes(7)),
        ([minutes(2)] * 10, {"floor": "1m"}, minutes(4)),
        # A fifth more than the second longest, whatever the longest took.
        ([*[minutes(10)] * 13, hours(1), hours(9)], {}, minutes(72)),
        ([*[minutes(10)] * 14, hours(9)], {}, minutes(20)),
        # Half of them are at 1/e of the median or e times it: a MAD of 1.
        ([minutes(10 / 2.718281828)] * 5 + [minutes(10)] + [minutes(27.18281828)] * 5, {}, minutes(854.6)),
        (
            [minutes(10 / 2.718281828)] * 5 + [minutes(10)] + [minutes(27.18281828)] * 5,
            {"deviations": 2},
            minutes(194.0),
        ),
    ],
)
def test_what_a_run_may_take(took: list[timedelta], settings: dict[str, object], limit: timedelta | None) -> None:
    learned = judged_by(took, **settings)

    if limit is None:
        assert learned is None
    else:
        assert learned is not None
        assert abs(learned.limit - limit) < 30 * SECOND
        assert learned.samples == len(took)


def test_wild_run_times_have_a_limit_all_the_same() -> None:
    learned = judged_by([SECOND] * 8 + [timedelta(days=36_000)] * 8, deviations=20)

    assert learned is not None
    assert learned.limit == timedelta(days=36_500)


def test_only_the_newest_runs_make_the_baseline() -> None:
    learned = judged_by([hours(9)] * 30 + [minutes(10)] * 30)

    assert learned == Baseline(samples=30, median=minutes(10), limit=minutes(20))


def test_a_run_is_taken_out_of_what_it_is_judged_by() -> None:
    took = [*[minutes(10)] * 10, hours(1)]
    own = EndedRun(id="run 10", name="x", state_type="COMPLETED", state_name="Completed", ended=NOW, run_time=hours(1))
    other = own.model_copy(update={"ended": NOW - SECOND})

    assert without_run(learned_from(every_day(*took)), own).recent == learned_from(every_day(*took)).recent[1:]
    assert without_run(learned_from(every_day(*took)), other) == learned_from(every_day(*took))


def test_the_usual_run_time_is_the_median_of_the_newest() -> None:
    assert typical(RunTimes()) is None
    assert typical(learned_from(every_day(minutes(3)))) == minutes(3)
    assert typical(learned_from(every_day(minutes(1), minutes(4), minutes(300)))) == minutes(4)


@pytest.mark.parametrize(
    ("usual", "granted_time"),
    [
        (timedelta(seconds=0.1), minutes(1)),
        (minutes(1), minutes(1)),
        (minutes(1) + SECOND, minutes(2)),
        (minutes(10), minutes(10)),
        (minutes(10) + SECOND, minutes(15)),
        (minutes(60), minutes(60)),
        (minutes(60) + SECOND, minutes(75)),
        (timedelta(hours=4), timedelta(hours=4)),
        (timedelta(hours=4) + SECOND, timedelta(hours=5)),
        (timedelta(days=1), timedelta(days=1)),
        (timedelta(days=1) + SECOND, timedelta(hours=30)),
    ],
)
def test_time_is_granted_in_steps(usual: timedelta, granted_time: timedelta) -> None:
    assert granted(RunTimes(recent=((0, usual.total_seconds()),))) == granted_time


def test_where_nothing_is_known_no_time_is_granted() -> None:
    assert granted(RunTimes()) == timedelta(0)


# --- drift -----------------------------------------------------------------------------------------


def two_months(then: timedelta, now: timedelta) -> RunTimes:
    """A run a day: one run time up to the end of September, another since."""
    september = datetime(2026, 9, 30, 12, 0, tzinfo=timezone.utc)
    return learned_from([*every_day(*[then] * 20, until=september), *every_day(*[now] * 40)])


@pytest.mark.parametrize(
    ("then", "now", "text"),
    [
        (minutes(4), minutes(9), "median 4 min in September 2026, 9 min now"),
        (minutes(9), minutes(4), "median 9 min in September 2026, 4 min now"),
        (minutes(4), minutes(6), "median 4 min in September 2026, 6 min now"),
        (minutes(4), minutes(6) - SECOND, None),
        (minutes(4), minutes(4), None),
    ],
)
def test_drift_is_reported_when_the_median_has_moved_by_half(then: timedelta, now: timedelta, text: str | None) -> None:
    assert drift(two_months(then, now)) == text


def test_a_month_of_few_runs_says_nothing() -> None:
    september = datetime(2026, 9, 30, 12, 0, tzinfo=timezone.utc)
    few = [*every_day(*[minutes(1)] * 4, until=september), *every_day(*[minutes(9)] * 10)]

    assert list(monthly(learned_from(few))) == ["2026-11"]
    assert drift(learned_from(few)) is None
    assert drift(RunTimes()) is None


# --- how good it is --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scores() -> dict[str, dict[str, Score]]:
    return study()


def test_the_table_in_the_docs_is_what_the_study_prints(scores: dict[str, dict[str, Score]]) -> None:
    assert table(scores) in (DOCS / "baselines.md").read_text()


def test_it_raises_the_fewest_false_alarms(scores: dict[str, dict[str, Score]]) -> None:
    rate = {rule: score.false_alarm_rate for rule, score in scores["all"].items()}

    assert rate[OURS] <= 5
    assert all(rate[OURS] < 0.6 * rate[rule] for rule in RULES if rule != OURS)


def test_it_finds_about_as_many_slow_runs(
    scores: dict[str, dict[str, Score]],
) -> None:
    found = {rule: score.detection_rate(2, 3, 5) for rule, score in scores["all"].items()}

    assert found[OURS] > found["3 x mean"] + 5
    assert found[OURS] > found["mean + 3 SD"] - 5


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_hang_is_noticed_in_time(pattern: str, scores: dict[str, dict[str, Score]]) -> None:
    assert median(scores[pattern][OURS].noticed) <= 5


def test_of_steady_runs_none_is_called_slow_and_nearly_every_one_that_took_three_times_as_long(
    scores: dict[str, dict[str, Score]],
) -> None:
    assert scores["steady"][OURS].false_alarms == 0
    assert scores["steady"][OURS].detection_rate(3, 5) > 95


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [
        # A fifth of the median; too short a median; what two runs took; three deviations where runs are wide apart.
        ([600.0] * 10, 120),
        ([59.0] * 10, None),
        ([600.0] * 8 + [60.0, 90.0], 75),
        ([300.0] * 5 + [1200.0] * 5, 750 * 2.04**-4.448),
    ],
)
def test_the_quickest_usual_run_time(seconds: list[float], limit: float | None) -> None:
    found = quickest(RunTimes(recent=tuple(enumerate(seconds))), 10, 5)

    assert (found.limit / SECOND if found else None) == (limit and pytest.approx(limit, rel=0.1))


def test_the_quickest_usual_run_time_needs_enough_runs() -> None:
    assert quickest(RunTimes(recent=tuple(enumerate([600.0] * 9))), 10, 5) is None
