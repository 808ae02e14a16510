"""History replayed as checks: by hand at known moments, and against going through every single moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.checks.registry import BY_NAME
from monitoring.config.policy import Policies
from monitoring.history.ledger import fold
from monitoring.incidents.lifecycle import advance
from monitoring.messages import terminal
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.observation import ServerState
from monitoring.model.prefect import Deployment
from monitoring.tuning.backtest import (
    EVERY,
    NOT_REPLAYED,
    WARM_UP,
    History,
    PastRun,
    Replay,
    Replayed,
    compare,
    judged,
    observation_at,
    past_run,
    replay,
)
from monitoring.tuning.backtest_message import backtest_message
from tests.support.builders import NOW, deployment, hours, minutes, policies, run

SINCE = NOW - hours(48)
DAILY = deployment("etl/nightly")
BY_HAND = deployment("tools/by-hand", scheduled=False)


def past(run_id: str, of: str = "etl/nightly", state: str | None = "COMPLETED", **fields: Any) -> PastRun:
    """A run that was due an hour before it ended, unless given otherwise, and took all that time."""
    ended = fields.pop("ended", NOW - hours(20))
    due = fields.pop("due", (ended or NOW) - hours(1))
    started = fields.pop("started", due)
    values: dict[str, Any] = {
        "id": run_id,
        "name": f"name of {run_id}",
        "flow_id": f"flow of {of}",
        "deployment_id": of,
        "created": due - hours(1),
        "auto_scheduled": True,
        "due": due,
        "started": started,
        "ended": ended,
        "run_time": (ended or NOW) - started if started else timedelta(0),
        "state_type": state,
        "state_name": (state or "Running").capitalize(),
        "message": "",
    }
    return PastRun(**{**values, **fields})


def history(*runs: PastRun, deployments: Sequence[Deployment] = (DAILY, BY_HAND), **fields: Any) -> History:
    by_key: dict[str, list[PastRun]] = {}
    for replayed in runs:
        by_key.setdefault(str(replayed.deployment_id), []).append(replayed)
    values: dict[str, Any] = {
        "target": "prod",
        "server": ServerState(api_url="http://api.example/api"),
        "since": SINCE,
        "until": NOW,
        "deployments": {deployed.id: deployed for deployed in deployments},
        "runs": by_key,
        "oldest": NOW - timedelta(days=400),
    }
    return History(**{**values, **fields})


def alerts(replayed: Replay) -> list[tuple[str, str, datetime, datetime | None, str | None]]:
    return [
        (
            entry.incident.finding.check,
            entry.incident.finding.subject.name,
            entry.incident.opened_at,
            entry.incident.resolved_at,
            entry.incident.resolution,
        )
        for entry in replayed.incidents
    ]


# --- known moments -----------------------------------------------------------------------------------


def test_a_failure_opens_at_the_next_check_and_resolves_with_a_success() -> None:
    failed = past("bad", state="FAILED", ended=NOW - hours(20) - minutes(2))
    good = past("good", ended=NOW - hours(10))
    replayed = replay(history(failed, good), policies())

    assert alerts(replayed) == [("failed", "etl/nightly", NOW - hours(20), NOW - hours(10), "succeeded")]
    assert replayed.incidents[0].decided_by == "failed.tolerate 0, failed.critical_after 3 (default)"
    assert replayed.incidents[0].alert


@pytest.mark.parametrize(("waited", "opens"), [(14, False), (15, False), (20, True)])
def test_late_opens_when_the_limit_has_passed_and_ends_with_the_start(waited: int, opens: bool) -> None:
    due = NOW - hours(20)
    waiting = past("late", due=due, started=due + minutes(waited) + minutes(1), ended=due + hours(2))
    found = alerts(replay(history(waiting), policies()))

    expected = ("late", "etl/nightly", due + minutes(20), due + minutes(25), "cleared")
    assert found == ([expected] if opens else [])


def test_severity_is_the_worst_that_it_became() -> None:
    due = NOW - hours(20)
    [replayed] = replay(
        history(past("late", due=due, started=due + hours(5), ended=due + hours(6))), policies()
    ).incidents

    assert replayed.incident.finding.severity == "critical"
    assert replayed.incident.opened_at == due + minutes(20)


def test_slow_is_told_by_run_time_and_waits_between_attempts_are_none() -> None:
    started = NOW - hours(20)
    steady = past("steady", due=started, ended=started + hours(3))
    paused = past("paused", "tools/by-hand", due=started, ended=started + hours(3), run_time=hours(1))
    found = replay(history(steady, paused), policies(slow={"limit": "2h"}))

    assert [row[:3] for row in alerts(found)] == [("slow", "etl/nightly", started + hours(2) + EVERY)]
    assert found.incidents[0].decided_by == "slow.limit 2h (configuration)"


def test_stale_when_scheduled_times_pass_without_a_success() -> None:
    times = tuple(NOW - hours(n) for n in (60, 36, 24, 12))
    seen = history(past("before", ended=NOW - hours(50)), scheduled_times={"etl/nightly": times})
    [found] = alerts(replay(seen, policies()))

    # A run has its usual hour, and the grace.
    assert found == ("stale", "etl/nightly", NOW - hours(24) + minutes(90), None, None)


def test_the_usual_run_time_counts_from_the_second_check() -> None:
    # Without the run time of the day before, both scheduled times have passed at the first check; with it, neither.
    seen = history(
        past("before", ended=SINCE - minutes(207), run_time=minutes(400)),
        scheduled_times={"etl/nightly": (SINCE - minutes(206), SINCE - minutes(34))},
    )

    assert alerts(replay(seen, policies())) == [
        ("stale", "etl/nightly", SINCE, SINCE + EVERY, "succeeded"),
        ("stale", "etl/nightly", SINCE + hours(7), None, None),
    ]


def test_one_slow_run_is_forgiven_before_another_becomes_slow() -> None:
    ended = NOW - hours(27)
    first = past("first", "tools/by-hand", due=ended - hours(3), ended=ended)
    second = past("second", "tools/by-hand", due=ended - minutes(20), ended=ended + hours(7))
    found = alerts(replay(history(first, second), policies(slow={"limit": "2h", "expire_after": "30m"})))

    assert [row[2:] for row in found] == [
        (ended - hours(1) + EVERY, ended + minutes(30), "cleared"),
        (ended + minutes(100) + EVERY, ended + hours(7) + minutes(30), "cleared"),
    ]


def test_what_was_so_before_is_no_alert() -> None:
    bad = past("bad", state="FAILED", ended=SINCE - hours(2))
    [replayed] = replay(history(bad), policies()).incidents

    assert replayed.before
    assert not replayed.alert
    assert replay(history(bad), policies()).per_day(ZoneInfo("UTC")) == {
        date(2026, 11, day): (0, 0) for day in (21, 22, 23)
    }


def test_a_success_from_before_the_runs_that_are_known_counts() -> None:
    times = tuple(SINCE - hours(24 * n) for n in (3, 2, 1))
    old = run("COMPLETED", "old", since=SINCE - hours(24 * 5), auto_scheduled=True)
    found = [
        alerts(
            replay(history(scheduled_times={"etl/nightly": times}, last_success={"etl/nightly": success}), policies())
        )
        for success in (old, None)
    ]

    assert [[row[:2] for row in rows] for rows in found] == [[("stale", "etl/nightly")]] * 2
    assert alerts(replay(history(scheduled_times={"etl/nightly": times}), policies())) == []


def test_days_are_those_of_the_zone() -> None:
    bad = past("bad", state="FAILED", ended=datetime.fromisoformat("2026-11-22T23:30:00+00:00"))
    replayed = replay(history(bad), policies())

    assert replayed.per_day(ZoneInfo("UTC"))[date(2026, 11, 22)] == (1, 0)
    assert replayed.per_day(ZoneInfo("Europe/Berlin"))[date(2026, 11, 23)] == (1, 0)
    assert replayed.per_rule() == {("failed", "failed.tolerate 0, failed.critical_after 3 (default)"): 1}


def test_the_source_of_a_limit_is_named() -> None:
    tagged = deployment("etl/nightly", tags=("watchdog:max-run-time=30m",))
    started = NOW - hours(20)
    seen = history(past("long", due=started, ended=started + hours(2)), deployments=[tagged])
    [replayed] = replay(seen, policies()).incidents

    assert replayed.decided_by == "slow.limit 30m (tag watchdog:max-run-time=30m)"


def test_what_is_not_watched_is_not_replayed() -> None:
    bad = past("bad", state="FAILED")
    assert replay(history(bad), policies(watch=False)).incidents == ()


def test_progress_is_told() -> None:
    done: list[int] = []
    replay(history(), policies(), done.append)
    assert done == [1, 2]


# --- what a run was ----------------------------------------------------------------------------------


def test_a_run_that_never_began_only_waited() -> None:
    ended = NOW - hours(1)
    cancelled = run("CANCELLED", start_time=ended, end_time=ended, expected_start_time=NOW - hours(3), since=ended)
    kept = past_run(cancelled, NOW)

    assert (kept.started, kept.due, kept.ended) == (None, NOW - hours(3), ended)
    assert kept.at(NOW - hours(2), NOW).state_type == "SCHEDULED"


def test_a_run_that_is_paused_now_is_only_known_up_to_the_pause() -> None:
    paused = run("PAUSED", since=NOW - hours(1), start_time=NOW - hours(2), total_run_time=hours(1))
    kept = past_run(paused, NOW)

    assert (kept.ended, kept.state_type) == (NOW - hours(1), None)


def test_a_run_that_runs_now_ran_since_it_began() -> None:
    kept = past_run(run("RUNNING", since=NOW - hours(3), start_time=NOW - hours(3)), NOW)
    seen = kept.at(NOW - hours(1), NOW)

    assert (seen.state_type, seen.state_timestamp) == ("RUNNING", NOW - hours(3))


def test_every_check_is_replayed_or_said_not_to_be() -> None:
    replayed = {"failed", "crashed", "late", "slow", "stale"}
    assert set(BY_NAME) == replayed | set(NOT_REPLAYED)
    assert not replayed & set(NOT_REPLAYED)


# --- two configurations ------------------------------------------------------------------------------


def test_two_configurations_are_told_apart() -> None:
    due = NOW - hours(20)
    runs = (
        past("late", due=due, started=due + hours(1), ended=due + hours(2)),
        past("bad", "tools/by-hand", "FAILED", ended=NOW - hours(10)),
    )
    first = replay(history(*runs), policies())
    patient = replay(history(*runs), policies(late={"after": "30m"}))
    silent = replay(history(*runs), policies(late={"enabled": False}))

    moved = compare(first, patient)
    assert (moved.only_first, moved.only_second, moved.same) == ((), (), 1)
    [(before, after)] = moved.changed
    assert after.incident.opened_at - before.incident.opened_at == minutes(15)
    gone = compare(first, silent)
    assert [entry.incident.finding.check for entry in gone.only_first] == ["late"]
    assert compare(silent, first).only_second == gone.only_first
    assert compare(first, first).same == len(first.incidents) == 2


# --- every moment ------------------------------------------------------------------------------------


def stepped(seen: History, rules: Policies) -> set[tuple[str, datetime, datetime | None, str | None]]:
    """The same, the long way: the whole server at every single moment."""
    ledger = Ledger()
    open_ = Incidents()
    closed: list[Incident] = []
    runs = [run for mine in seen.runs.values() for run in mine]
    before, at = seen.since - WARM_UP, seen.since
    while at <= seen.until:
        ended = sorted(
            (run for run in runs if run.state_type and run.ended and before < run.ended <= at),
            key=lambda run: (run.ended, run.id),
        )
        there = {
            key: (
                deployment,
                [
                    run
                    for run in seen.runs.get(key, ())
                    if run.seen_from and run.seen_from <= at and (run.ended is None or at < run.ended)
                ],
            )
            for key, deployment in seen.deployments.items()
        }
        observation = observation_at(seen, there, ledger, at, before, ended, rules)
        ledger = fold(ledger, observation, timedelta(0))
        moved = advance(open_, (), judged(observation, ledger, rules), observation, ledger, rules, complete=True)
        open_ = moved.incidents
        closed += moved.closed
        before, at = at, at + EVERY
    return {
        (incident.finding.fingerprint, incident.opened_at, incident.resolved_at, incident.resolution)
        for incident in (*closed, *open_.open.values())
    }


@st.composite
def histories(draw: st.DrawFn) -> History:
    since = NOW - hours(12)
    mine = (DAILY, BY_HAND, deployment("etl/paused", paused=True, scheduled=False))
    span = st.integers(-20 * 60, 12 * 60)
    runs = []
    for number in range(draw(st.integers(0, 12))):
        due = since + minutes(draw(span))
        started = draw(st.sampled_from([None, *(due + minutes(n) for n in (-1, 0, 3, 16, 61, 200))]))
        ended = draw(st.sampled_from([None, *((started or due) + minutes(n) for n in (-30, 0, 1, 4, 30, 90, 400))]))
        if ended and not since - hours(23) < ended <= NOW:
            ended = None
        whole = max(timedelta(0), (ended or NOW) - started) if started else timedelta(0)
        made = past(
            f"run {number}",
            draw(st.sampled_from([deployed.id for deployed in mine])),
            draw(st.sampled_from(["COMPLETED", "COMPLETED", "FAILED", "CRASHED", "CANCELLED"])) if ended else None,
            due=due,
            started=started,
            ended=ended,
            run_time=whole * draw(st.sampled_from([1.0, 0.4])),
        )
        runs.append(replace(made, due=draw(st.sampled_from([made.due, made.due, None]))))
    times = tuple(sorted({since + minutes(draw(span)) for _ in range(draw(st.integers(0, 8)))}))
    return history(*runs, deployments=mine, since=since, scheduled_times={"etl/nightly": times})


CONFIGURATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"slow": {"limit": "1h"}, "stale": {"within": "5h"}, "late": {"after": "1m"}},
    {"failed": {"expire_after": "2h", "tolerate": 1}, "stale": {"grace": "3m", "missed_fires": 1}},
    {"slow": {"min_samples": 5, "floor": "1m", "severity": "warning", "expire_after": "1h"}},
)


@given(histories(), st.sampled_from(CONFIGURATIONS))
@settings(max_examples=60)
def test_looking_only_where_something_can_change_misses_nothing(seen: History, config: dict[str, Any]) -> None:
    rules = policies(**config)
    replayed = replay(seen, rules)

    assert {
        (
            entry.incident.finding.fingerprint,
            entry.incident.opened_at,
            entry.incident.resolved_at,
            entry.incident.resolution,
        )
        for entry in replayed.incidents
    } == stepped(seen, rules)


@given(histories(), st.sampled_from(CONFIGURATIONS), st.sampled_from(CONFIGURATIONS))
def test_whatever_was_replayed_is_in_the_difference_once_and_can_be_printed(
    seen: History, config: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = replay(seen, policies(**config)), replay(seen, policies(**other))
    apart = compare(first, second)

    assert len(first.incidents) == len(apart.only_first) + len(apart.changed) + apart.same
    assert len(second.incidents) == len(apart.only_second) + len(apart.changed) + apart.same
    changed: list[Replayed] = [entry for pair in apart.changed for entry in pair]
    assert all(entry.incident.opened_at for entry in changed)

    stream = StringIO()
    terminal.show(terminal.console(stream), backtest_message(seen, first, ZoneInfo("UTC"), second, apart))
    assert "What history cannot show:" in stream.getvalue()
    assert stream.getvalue().count("2026-11-2") >= len(first.incidents)


def test_hostile_text_does_nothing() -> None:
    hostile = deployment("etl/[red]x\x1b[31m\n<!channel>", id="etl/nightly")
    seen = history(past("bad", state="FAILED", message="[bold]boom\x1b[0m"), deployments=[hostile])
    stream = StringIO()
    terminal.show(terminal.console(stream), backtest_message(seen, replay(seen, policies()), ZoneInfo("UTC")))

    assert "\x1b" not in stream.getvalue()
    assert "[red]x" in stream.getvalue()
