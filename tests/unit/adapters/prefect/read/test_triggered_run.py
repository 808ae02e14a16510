"""Checks that failures have started: which of them leaves the work to another."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from monitoring.adapters.prefect.read.triggered_run import CheckRun, RunState, TriggeredRun
from monitoring.model.prefect import SKIPPED, SUPERSEDED, TRIGGER_WINDOW, StateType

CREATED = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)
OURS = TriggeredRun("ours", "deployment", CREATED)


def run(started: timedelta, state: StateType = "RUNNING", message: str = "", name: str = "other") -> CheckRun:
    return CheckRun(id=name, start_time=CREATED + started, state=RunState(type=state, message=message))


OUR_RUN = run(5 * SECOND, name="ours")


@pytest.mark.parametrize(
    ("other", "covered"),
    [
        (run(TRIGGER_WINDOW), True),
        (run(TRIGGER_WINDOW - SECOND), False),
        (run(TRIGGER_WINDOW, "COMPLETED", "Nothing is wrong."), True),
        (run(TRIGGER_WINDOW - SECOND, "COMPLETED", "Nothing is wrong."), False),
        (run(TRIGGER_WINDOW, "COMPLETED", SKIPPED), False),
        (run(TRIGGER_WINDOW, "COMPLETED", SUPERSEDED), False),
    ],
)
def test_a_check_leaves_the_work_to_one_that_reads_after_its_window(other: CheckRun, covered: bool) -> None:
    assert OURS.covered_by([other, OUR_RUN]) is covered


def test_no_check_covers_itself() -> None:
    assert not OURS.covered_by([OUR_RUN])
    assert not OURS.covered_by([run(TRIGGER_WINDOW, name="ours")])


def test_a_check_that_the_server_does_not_list_among_its_own_checks() -> None:
    assert not OURS.covered_by([run(TRIGGER_WINDOW)])


@pytest.mark.parametrize("starts", [(0, 0, 1), (0, 1, 0), (1, 0, 0)])
def test_of_checks_that_waited_for_a_worker_just_one_works(starts: tuple[int, ...]) -> None:
    runs = [run(timedelta(minutes=1, seconds=start), name=f"run-{n}") for n, start in enumerate(starts)]
    works = [run for run in runs if not TriggeredRun(run.id, "deployment", CREATED).covered_by(runs)]
    assert len(works) == 1
    assert works[0].start_time == max(run.start_time for run in runs)


def test_a_check_that_started_late_leaves_the_work_to_the_one_before_only_when_that_is_done() -> None:
    late = run(timedelta(minutes=2), name="ours")
    assert not OURS.covered_by([late, run(timedelta(minutes=1))])
    assert OURS.covered_by([late, run(timedelta(minutes=1), "COMPLETED", "Nothing is wrong.")])
