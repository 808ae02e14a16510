"""suspicious: a run that completed, and is unlike the other runs of its deployment."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.model.finding import Finding
from monitoring.model.ledger import EndedRun, Ledger, Record, RunTimes, Traces
from tests.support.builders import NOW, deployment, found, hours, minutes, observation


def suspicious(
    *,
    errors: int = 0,
    tasks: int | None = 10,
    took: float = 60,
    earlier: tuple[tuple[int, int | None], ...] = ((0, 10),) * 10,
    usual: float = 60,
    state: str = "COMPLETED",
    settings: dict[str, Any] | None = None,
    **of_deployment: Any,
) -> Finding | None:
    """The finding about a run of so many minutes that ended an hour ago, among others."""
    ended = NOW - hours(1)
    last = {"id": "last", "name": "last", "state_type": state, "state_name": state.capitalize(), "ended": ended}
    before = int((NOW - hours(9)).timestamp())
    record = Record(
        last_ended=EndedRun.model_validate({**last, "run_time": minutes(took)}),
        run_times=RunTimes(recent=tuple((before + number, usual * 60) for number in range(10))),
        traces=Traces(run_id="last", errors=errors, first_error="no such table" if errors else "", task_runs=tasks),
        earlier_traces=earlier,
        schedule="daily",
    )
    ledger = Ledger(records={"etl/nightly": record})
    seen = observation(deployments=[deployment(**of_deployment)])
    findings = found(seen, ledger, suspicious=settings or {}, stale={"enabled": False})
    return next((finding for finding in findings if finding.check == "suspicious"), None)


def test_errors_that_at_most_one_other_run_had_are_unusual() -> None:
    finding = suspicious(errors=3, earlier=((2, 10), *[(0, 10)] * 9))

    assert finding
    assert finding.severity == "info"
    assert finding.summary == "etl/nightly: the last run completed, but with 3 errors in its log"
    assert finding.evidence == ("no such table",)
    assert suspicious(errors=3, earlier=((2, 10), (1, 10), *[(0, 10)] * 9)) is None
    assert suspicious(errors=3, earlier=((0, 10),) * 9) is None
    assert suspicious(errors=3, settings={"errors": False}) is None


@pytest.mark.parametrize(("took", "quick"), [(12, True), (12.1, False), (0, False)])
def test_a_fifth_of_the_median_is_too_quick_unless_it_took_no_time(took: float, quick: bool) -> None:
    """A run that somebody marked as completed never ran."""
    assert bool(suspicious(took=took)) is quick


def test_short_runs_are_not_judged_by_their_run_time() -> None:
    assert suspicious(took=1 / 60, usual=59 / 60) is None
    assert suspicious(took=1 / 60, usual=1)


@pytest.mark.parametrize(
    ("tasks", "usual", "few"),
    [(1, [10] * 10, True), (2, [10] * 10, False), (0, [1] * 10, True), (0, [0] * 10, False), (1, [10] * 9, False)],
)
def test_a_tenth_of_the_task_runs_is_too_few(tasks: int, usual: list[int], few: bool) -> None:
    assert bool(suspicious(tasks=tasks, earlier=tuple((0, count) for count in usual))) is few


def test_what_two_other_runs_did_is_usual() -> None:
    assert suspicious(tasks=0, earlier=((0, 0), (0, 0), *[(0, 10)] * 9)) is None
    assert suspicious(tasks=0, earlier=((0, 0), *[(0, 10)] * 10))


def test_a_server_that_counts_no_task_runs_is_judged_by_the_rest() -> None:
    unknown = ((0, None),) * 10

    assert suspicious(tasks=None, earlier=unknown) is None
    assert suspicious(tasks=None, earlier=unknown, errors=1)


def test_several_oddities_are_one_finding() -> None:
    finding = suspicious(errors=1, tasks=0, took=1, settings={"severity": "warning"})

    assert finding
    assert finding.severity == "warning"
    assert finding.summary.endswith("but with 1 error in its log and in 1 min and with no task runs")
    assert finding.expected == (
        "as usual: errors in the log of 0 of 10 earlier runs and 1 h is the median of 10 runs and 10 task runs"
    )


def test_only_a_run_that_completed_is_judged_and_not_of_a_paused_deployment() -> None:
    assert suspicious(errors=1, state="FAILED") is None
    assert suspicious(errors=1, paused=True) is None
    assert suspicious(errors=1, scheduled=False, settings={"expire_after": "1h"}) is None
    assert suspicious(errors=1, scheduled=True, settings={"expire_after": "1h"})
