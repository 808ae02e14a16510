"""What differs between two runs, and what is the same or was not read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.model.prefect import StateType
from monitoring.tuning.run_comparison import Given, RunDetails, TaskTime, changes
from tests.support.builders import hours, minutes, run

A_MINUTE = minutes(1)


def details(state: StateType = "COMPLETED", **fields: Any) -> RunDetails:
    return RunDetails(run=fields.pop("run", run(state)), **fields)


def given(text: str, identity: str | None = None) -> Given:
    return Given(shown=text, identity=identity or text)


def task(name: str, state: StateType = "COMPLETED", took: timedelta = A_MINUTE, runs: int = 1) -> TaskTime:
    return TaskTime(name=name, runs=runs, took=took, states=(state.capitalize(),), worst=state)


def in_short(bad: RunDetails, good: RunDetails) -> list[tuple[str, str, str]]:
    return [(change.what, change.bad, change.good) for change in changes(bad, good)]


def test_two_runs_alike_differ_in_nothing() -> None:
    both: dict[str, Any] = {
        "parameters": {"day": given("1")},
        "tasks": (task("load"),),
        "worker": "left",
        "tags": ("a", "b"),
    }
    assert changes(details("FAILED", **both), details(**both)) == ()


def test_parameters_that_came_went_and_changed() -> None:
    bad = details(parameters={"day": given("2"), "new": given("x"), "same": given("s")})
    good = details(parameters={"day": given("1"), "old": given("y"), "same": given("s")})

    assert in_short(bad, good) == [
        ("parameter day", "2", "1"),
        ("parameter new", "x", "not given"),
        ("parameter old", "not given", "y"),
    ]


def test_a_secret_that_changed_is_told_without_telling_it() -> None:
    bad = details(parameters={"key": given("REDACTED", "one")})
    good = details(parameters={"key": given("REDACTED", "other")})

    assert in_short(bad, good) == [("parameter key", "REDACTED (a different value)", "REDACTED")]


@pytest.mark.parametrize(
    ("field", "what"),
    [("deployment_version", "deployment version"), ("flow_version", "flow version"), ("worker", "worker")],
)
def test_versions_and_workers(field: str, what: str) -> None:
    one, two = (details().model_copy(update={field: value}) for value in ("one", "two"))

    assert in_short(two, one) == [(what, "two", "one")]
    assert in_short(two, details()) == [(what, "two", "none")]


def test_a_process_is_another_each_time_and_its_machine_is_not() -> None:
    for bad, good in (("a:1", "a:2"), ("4711", "4712"), ("c:default:job-x", "c:default:job-y"), ("4711", None)):
        assert in_short(details(infrastructure=bad), details(infrastructure=good)) == []
    assert in_short(details(infrastructure="a:1"), details(infrastructure="b:1")) == [("infrastructure", "a", "b")]


@pytest.mark.parametrize(
    ("now", "before", "shown"),
    [
        (timedelta(seconds=20), timedelta(seconds=10), True),
        (timedelta(seconds=19), timedelta(seconds=9.5), False),
        (timedelta(seconds=19), timedelta(seconds=9), True),
        (timedelta(seconds=39), timedelta(seconds=20), False),
        (timedelta(seconds=10), timedelta(seconds=20), True),
    ],
)
def test_a_task_is_shown_when_it_took_twice_as_long_and_ten_seconds_more(
    now: timedelta, before: timedelta, shown: bool
) -> None:
    assert (
        bool(in_short(details(tasks=(task("load", took=now),)), details(tasks=(task("load", took=before),)))) is shown
    )


def test_tasks_that_failed_or_were_not_reached() -> None:
    bad = details(tasks=(task("load", "FAILED"), task("extra", runs=3)))
    good = details(tasks=(task("load"), task("report", took=hours(1))))

    assert in_short(bad, good) == [
        ("task load", "Failed in 1 min", "Completed in 1 min"),
        ("task extra", "Completed 3 times in 1 min", "did not run"),
        ("task report", "not reached", "Completed in 1 h"),
    ]


def test_of_tasks_that_were_not_read_nothing_is_said() -> None:
    bad = details(tasks=(task("extra"),), more_tasks=True)
    good = details(tasks=(task("report"),), more_tasks=True)

    assert in_short(bad, good) == []
