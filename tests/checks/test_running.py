"""zombie and slow: runs that read RUNNING."""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitoring.model import Heartbeats
from tests.support.builders import NOW, complete, deployment, found, hours, minutes, names, observation, run

SECOND = timedelta(seconds=1)


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
    beating = {"run": beats(10, timedelta(seconds=30), timedelta(seconds=5))}

    findings = found(observation(active, heartbeats=beating), slow={"limit": "1h"})

    assert names(findings) == ([("slow", "etl/nightly", "warning")] if slow else [])
    assert found(observation(active, heartbeats=beating)) == ()


@pytest.mark.parametrize(("took", "slow"), [(hours(1), False), (hours(1) + SECOND, True)])
def test_the_latest_ended_run_can_be_slow(took: timedelta, slow: bool) -> None:
    ended = run("COMPLETED", total_run_time=took, start_time=NOW - hours(5))

    assert bool(found(observation(ended), slow={"limit": "1h"})) is slow


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
