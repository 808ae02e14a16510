from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.failures.paths import failing_child
from monitoring.history.ledger import fold
from monitoring.model.ledger import Ledger
from monitoring.model.observation import ServerState
from monitoring.model.prefect import FlowRun, StateType
from tests.support.builders import NOW, complete, deployment, hours, minutes, observation, run


def test_the_cursor_moves_when_everything_that_ended_was_read() -> None:
    first = fold(Ledger(), observation())
    second = fold(first, observation(at=NOW + minutes(5)))

    assert (first.cursor_before, first.cursor) == (None, NOW)
    assert (second.cursor_before, second.cursor) == (NOW, NOW + minutes(5))


@pytest.mark.parametrize("outcome", ["partial", "failed"])
def test_the_cursor_stays_when_something_was_missing(outcome: Any) -> None:
    seen = observation(run("FAILED"))
    queries = tuple(
        query.model_copy(update={"outcome": outcome}) if query.name == "ended-runs" else query
        for query in seen.coverage.queries
    )
    blind = seen.model_copy(update={"coverage": seen.coverage.model_copy(update={"queries": queries})})

    ledger = fold(Ledger(), blind)

    assert ledger.cursor is None
    assert ledger.recent == {}
    # What was read counts for this check all the same: a part may open something.
    assert ledger.records["etl/nightly"].streak is not None


def test_a_run_in_the_overlap_counts_once() -> None:
    failed = run("FAILED", "a", since=NOW - minutes(5))
    first = fold(Ledger(), observation(failed))
    again = fold(first, observation(failed, at=NOW + minutes(5)))
    later = fold(again, observation(at=NOW + minutes(20)))

    streak = again.records["etl/nightly"].streak
    assert streak is not None
    assert streak.length == 1
    assert first.recent == {"a": NOW - minutes(5)}
    assert later.recent == {}


def test_a_run_that_was_run_again_counts_again() -> None:
    first = fold(Ledger(), observation(run("FAILED", "a", since=NOW - minutes(5))))
    again = run("COMPLETED", "a", since=NOW + minutes(1))
    second = fold(first, observation(again, at=NOW + minutes(5)))

    assert second.records["etl/nightly"].streak is None
    assert second.records["etl/nightly"].last_success is not None


def test_a_run_that_arrives_behind_a_newer_one_says_nothing_about_now() -> None:
    first = fold(Ledger(), observation(run("COMPLETED", "new", since=NOW - minutes(1))))
    second = fold(first, observation(run("FAILED", "old", since=NOW - minutes(8)), at=NOW + minutes(5)))

    assert second.records["etl/nightly"].streak is None


def test_a_deleted_deployment_is_forgotten_and_an_unseen_one_is_not() -> None:
    ledger = fold(Ledger(), observation(run("FAILED")))
    gone = observation(deployments=[], at=NOW + minutes(5))
    unseen = gone.model_copy(update={"coverage": complete().model_copy(update={"queries": ()})})

    assert fold(ledger, gone).records == {}
    assert fold(ledger, unseen).records == ledger.records


def test_an_unusable_server_changes_nothing() -> None:
    ledger = fold(Ledger(), observation(run("FAILED")))
    state = ServerState(api_url="http://api.example/api", problem="no answer")
    down = observation(deployments=[], state=state)

    assert fold(ledger, down) == ledger


def test_only_a_hundred_ids_of_a_streak_are_kept_and_all_are_counted() -> None:
    runs = [run("FAILED", f"run-{n:03}", since=NOW - hours(1) + timedelta(seconds=n)) for n in range(150)]
    streak = fold(Ledger(), observation(*runs)).records["etl/nightly"].streak

    assert streak is not None
    assert (streak.length, len(streak.run_ids), streak.run_ids[0]) == (150, 100, "run-149")


STATES: list[StateType] = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


@given(st.lists(st.sampled_from(STATES), max_size=12), st.integers(0, 12))
def test_it_does_not_matter_in_how_many_checks_runs_are_read(states: list[StateType], cut: int) -> None:
    runs = [run(state, f"run-{n}", since=NOW - hours(20 - n)) for n, state in enumerate(states)]
    begun = Ledger(cursor=NOW - hours(24))
    at_once = fold(begun, observation(*runs))
    halfway = fold(begun, observation(*runs[:cut], at=NOW - minutes(5)))
    in_two = fold(halfway, observation(*runs[cut:]))

    assert in_two.records == at_once.records


EARLIER = NOW - minutes(2)


def parent(message: str) -> FlowRun:
    return run("FAILED", "parent", message=message, since=NOW - minutes(1))


def child(message: str, run_id: str = "child", ended: datetime = EARLIER) -> FlowRun:
    return run("FAILED", run_id, of=None, flow_id="sub", parent_task_run_id="task", message=message, since=ended)


@pytest.mark.parametrize(
    ("message", "children", "blamed"),
    [
        ("ValueError: boom", [child("ValueError: boom")], "child"),
        ("ValueError: boom", [child("KeyError: 1", "first"), child("ValueError: boom")], "child"),
        ("1/2 states failed.", [child("ValueError: boom")], "child"),
        ("Flow run encountered an exception: FailedRun: ValueError: boom", [child("ValueError: boom")], "child"),
        # It caught the child's exception and failed of something else: no guess.
        ("KeyError: 1", [child("ValueError: boom")], None),
        ("ValueError: boom", [], None),
        ("", [child("")], None),
        # It ended after its parent: it cannot be why.
        ("ValueError: boom", [child("ValueError: boom", ended=NOW)], None),
    ],
)
def test_a_child_is_blamed_on_evidence_only(message: str, children: list[FlowRun], blamed: str | None) -> None:
    found = failing_child(parent(message), tuple(children))

    assert (found.id if found else None) == blamed


def test_the_blamed_child_is_recorded_by_its_flow() -> None:
    seen = observation(parent("boom"), children={"parent": (child("boom"),)}, flow_names={"sub": "load-table"})
    last = fold(Ledger(), seen).records["etl/nightly"].last_ended

    assert last is not None
    assert last.failure is not None
    assert [(child.flow_name, child.name) for child in last.failure.path] == [("load-table", "name of child")]


def test_a_search_is_recorded_even_when_it_found_nothing() -> None:
    ledger = fold(Ledger(), observation(last_success={"etl/nightly": None}))

    assert ledger.records["etl/nightly"].success_searched
    assert deployment().id in ledger.records


@pytest.mark.parametrize(
    ("fresh", "streak", "success"),
    [
        (run("FAILED", "a"), 1, False),
        # Marked as completed by hand: Prefect leaves its end as it was.
        (run("COMPLETED", "a"), 0, True),
        (run("RUNNING", "a"), 0, False),
        (None, 0, False),
    ],
    ids=["still failed", "marked", "started again", "deleted"],
)
def test_a_failure_that_somebody_dealt_with_by_hand_is_none(fresh: FlowRun | None, streak: int, success: bool) -> None:
    first = fold(Ledger(), observation(run("FAILED", "a")))
    record = fold(first, observation(at=NOW + minutes(5), read_again={"a": fresh})).records["etl/nightly"]

    assert (record.streak.length if record.streak else 0) == streak
    assert bool(record.last_success) is success


def test_a_success_that_arrives_late_is_still_the_newest_success() -> None:
    first = fold(Ledger(), observation(run("FAILED", "new", since=NOW - minutes(1))))
    late = observation(run("COMPLETED", "old", since=NOW - minutes(8)), at=NOW + minutes(5))
    record = fold(first, late).records["etl/nightly"]

    assert (record.last_success.id if record.last_success else None) == "old"
    assert record.streak is not None


def test_of_a_long_message_the_beginning_is_kept() -> None:
    last = fold(Ledger(), observation(run("FAILED", message="x" * 20_000))).records["etl/nightly"].last_ended

    assert last is not None
    assert last.message == "x" * 500


def test_runs_cancelled_for_lack_of_a_slot_are_counted_over_checks_until_one_ends_that_had_a_slot() -> None:
    def rejected(number: int) -> FlowRun:
        message = "Deployment concurrency limit reached."
        return run("CANCELLED", f"rejected-{number}", since=NOW + minutes(number), message=message)

    def later(ledger: Ledger, *ended: FlowRun, at: int) -> Ledger:
        return fold(ledger, observation(*ended, at=NOW + minutes(at)))

    first = later(Ledger(), run("COMPLETED", "before", since=NOW), rejected(1), rejected(2), at=3)
    overlapping = later(first, rejected(2), rejected(3), at=5)
    kept = overlapping.records["etl/nightly"].rejected
    assert kept
    assert (kept.count, kept.run_ids) == (3, ("rejected-3", "rejected-2", "rejected-1"))
    assert (kept.since, kept.until) == (NOW + minutes(1), NOW + minutes(3))

    by_hand = later(overlapping, run("CANCELLED", "it held the slot", since=NOW + minutes(6), run_count=1), at=7)
    assert by_hand.records["etl/nightly"].rejected is None
    arrived_late = later(overlapping, run("FAILED", "older", since=NOW + minutes(2)), at=7)
    assert arrived_late.records["etl/nightly"].rejected == kept


def test_runs_cancelled_before_they_started_are_counted_until_another_ends_and_not_before_their_time() -> None:
    def cancelled(number: int, due: datetime, **fields: Any) -> FlowRun:
        return run("CANCELLED", f"cancelled-{number}", since=NOW + minutes(number), expected_start_time=due, **fields)

    def kept(*ended: FlowRun) -> tuple[str, ...] | None:
        runs = fold(Ledger(), observation(*ended, at=NOW + hours(1))).records["etl/nightly"].not_served
        return runs.run_ids if runs else None

    late, later = cancelled(1, NOW), cancelled(5, NOW + minutes(2))
    assert kept(late, later) == ("cancelled-5", "cancelled-1")
    assert kept(late, cancelled(5, NOW + hours(9))) == ("cancelled-1",)
    assert kept(late, run("COMPLETED", since=NOW + minutes(2)), later) == ("cancelled-5",)
    assert kept(late, cancelled(5, NOW, run_count=1)) is None
    assert kept(cancelled(1, NOW, message="Deployment concurrency limit reached.")) is None
