"""zombie: runs that read RUNNING."""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitoring.model import Heartbeats
from tests.support.builders import NOW, complete, found, hours, names, observation, run


def beats(count: int, every: timedelta, silence: timedelta) -> Heartbeats:
    last = NOW - silence
    return Heartbeats(count=count, first=last - every * (count - 1), last=last)


@pytest.mark.parametrize(
    ("heard", "dead"),
    [
        # Its own interval counts: 30 s.
        (beats(10, timedelta(seconds=30), timedelta(seconds=90)), False),
        (beats(10, timedelta(seconds=30), timedelta(seconds=91)), True),
        # One beat only: Prefect's default of 180 s.
        (beats(1, timedelta(0), timedelta(seconds=540)), False),
        (beats(1, timedelta(0), timedelta(seconds=541)), True),
    ],
)
def test_three_intervals_of_silence_make_a_zombie(heard: Heartbeats, dead: bool) -> None:
    seen = observation(run("RUNNING", since=NOW - hours(2)), heartbeats={"run": heard})

    assert names(found(seen)) == ([("zombie", "etl/nightly", "critical")] if dead else [])


def test_a_run_that_has_just_gone_on_after_a_retry_gets_its_time() -> None:
    heard = beats(10, timedelta(seconds=30), hours(1))

    assert found(observation(run("RUNNING", since=NOW - timedelta(seconds=90)), heartbeats={"run": heard})) == ()


@pytest.mark.parametrize(("age", "told"), [(timedelta(seconds=540), False), (timedelta(seconds=541), True)])
def test_a_run_that_never_sent_one_cannot_be_judged(age: timedelta, told: bool) -> None:
    seen = observation(run("RUNNING", since=NOW - age))

    assert names(found(seen)) == ([("zombie", "etl/nightly", "info")] if told else [])


def test_unanswered_heartbeats_accuse_nobody() -> None:
    seen = observation(run("RUNNING", since=NOW - hours(3)), coverage=complete())

    assert found(seen) == ()
