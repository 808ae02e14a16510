"""zombie: runs that read RUNNING."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.checks.facts.slot_holders import Holders
from monitoring.model.observation import Heartbeats, Holder, OwnRuns, Vitals
from tests.support.builders import NOW, complete, deployment, found, hours, minutes, names, observation, policies, run


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


@pytest.mark.parametrize(("age", "reported"), [(timedelta(seconds=540), False), (timedelta(seconds=541), True)])
def test_a_run_that_never_sent_one_cannot_be_judged(age: timedelta, reported: bool) -> None:
    seen = observation(run("RUNNING", since=NOW - age))

    assert names(found(seen)) == ([("zombie", "etl/nightly", "info")] if reported else [])


def test_unanswered_heartbeats_accuse_nobody() -> None:
    seen = observation(run("RUNNING", since=NOW - hours(3)), coverage=complete())

    assert found(seen) == ()


SECOND = timedelta(seconds=1)
THREE_MINUTES = minutes(3)
#: Its third beat was due nine minutes after the last.
SILENT = run("RUNNING", since=NOW - hours(2)), beats(10, THREE_MINUTES, minutes(20))
MISSED = NOW - minutes(11)


def judged(newest: datetime | None, **fields: Any) -> list[tuple[str, bool]]:
    """How a run is judged whose last heartbeat was 20 minutes ago, by the newest event of all."""
    silent, heard = SILENT
    seen = observation(silent, **{"heartbeats": {"run": heard}, "vitals": Vitals(newest_event=newest), **fields})
    return [(finding.severity, finding.unknown) for finding in found(seen) if finding.check == "zombie"]


DEAD, UNKNOWN = [("critical", False)], [("info", True)]
ENDED = run("COMPLETED", "ended", since=NOW - minutes(2))


@pytest.mark.parametrize(
    ("newest", "expected"),
    [(MISSED, UNKNOWN), (MISSED + SECOND, DEAD), (NOW - minutes(20), UNKNOWN), (NOW - minutes(1), DEAD)],
)
def test_silence_proves_nothing_where_events_do_not_arrive(newest: datetime, expected: list[tuple[str, bool]]) -> None:
    unheard = Vitals(newest_event=newest, unheard=ENDED if newest < NOW - minutes(3) else None)

    assert judged(newest, vitals=unheard) == expected
    assert judged(newest, own=OwnRuns(ended=(ENDED,))) == expected
    # The check that looks is known to be running, and nothing tells of that.
    assert judged(newest, own=OwnRuns(active=(run("RUNNING", "check", since=NOW - SECOND),))) == expected


@pytest.mark.parametrize("newest", [NOW - minutes(20), None])
def test_on_a_quiet_server_the_dead_runs_last_beat_is_the_newest_event(newest: datetime | None) -> None:
    assert judged(newest) == DEAD
    # That a run was planned is no event.
    assert judged(newest, own=OwnRuns(active=(run("SCHEDULED", "planned", since=NOW - SECOND),))) == DEAD


@pytest.mark.parametrize(("after", "expected"), [(minutes(1), DEAD), (minutes(1) + SECOND, UNKNOWN)])
def test_an_event_may_be_a_minute_older_than_what_it_reports(
    after: timedelta, expected: list[tuple[str, bool]]
) -> None:
    newest = NOW - minutes(15)
    changed = run("COMPLETED", "ended", since=newest + after)

    assert judged(newest, own=OwnRuns(ended=(changed,))) == expected


def test_other_runs_that_beat_show_that_events_arrive() -> None:
    silent, heard = SILENT
    others = [run("RUNNING", f"other-{n}", of="etl/other", since=NOW - minutes(2)) for n in range(3)]
    lively = {other.id: beats(5, THREE_MINUTES, minutes(1)) for other in others}
    seen = observation(
        silent,
        *others,
        deployments=[deployment(), deployment("etl/other")],
        heartbeats={"run": heard, **lively},
        vitals=Vitals(),
    )

    assert names(found(seen)) == [("zombie", "etl/nightly", "critical")]


def test_a_dead_pipeline_makes_one_problem_and_no_zombies() -> None:
    runs = [run("RUNNING", f"run-{n}", since=NOW - hours(3)) for n in range(3)]
    silent = {run.id: beats(40, THREE_MINUTES, hours(1)) for run in runs}
    vitals = Vitals(newest_event=NOW - hours(1), unheard=run("COMPLETED", "ended", since=NOW - minutes(16)))
    findings = found(observation(*runs, heartbeats=silent, vitals=vitals), server={"events_missing": "15m"})

    assert names(findings) == [("zombie", "etl/nightly", "info"), ("server", "prod", "warning")]
    assert findings[0].observed == (
        "name of run-0: no heartbeat for 1 h, nor any other event since 2026-11-23 11:00 UTC, "
        "though runs have changed state"
    )


@pytest.mark.parametrize(("newest", "dead"), [(MISSED, False), (MISSED + SECOND, True)])
def test_nobody_who_holds_a_slot_is_called_dead_while_no_events_arrive(newest: datetime, dead: bool) -> None:
    silent, heard = SILENT
    vitals = Vitals(newest_event=newest)
    seen = observation(silent, ENDED, heartbeats={"run": heard}, vitals=vitals)
    holders = Holders(seen, policies())
    holder = Holder(flow_run_id="run", name="run", state_name="Running", since=NOW - hours(2))

    assert (holders.dead_since(holder) == heard.last) is dead
    assert ("without a heartbeat" in holders.lines([holder])[0]) is dead
