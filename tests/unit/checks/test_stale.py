from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.history.ledger import fold
from monitoring.model.finding import Finding
from monitoring.model.ledger import EndedRun, Ledger, Record, RunTimes
from monitoring.model.observation import Heartbeats, MissedRuns, Observation
from monitoring.model.prefect import Deployment, FlowRun, ScheduleParameters, StateType
from tests.support.builders import NOW, deployment, found, hours, minutes, names, observation, run

DUE = (NOW - hours(2), NOW - hours(1))
SECOND = timedelta(seconds=1)


def success(ended: datetime) -> FlowRun:
    return run("COMPLETED", "success", since=ended)


@pytest.mark.parametrize(
    ("ended", "stale"), [(DUE[0] - SECOND, True), (DUE[0], False), (DUE[0] + SECOND, False), (NOW - minutes(1), False)]
)
def test_two_fires_without_a_success_are_stale(ended: datetime, stale: bool) -> None:
    seen = observation(success(ended), deployments=[deployment(due=DUE)])

    assert names(found(seen)) == ([("stale", "etl/nightly", "critical")] if stale else [])


def test_one_fire_is_not_enough() -> None:
    assert found(observation(success(NOW - hours(9)), deployments=[deployment(due=DUE[1:])])) == ()


@pytest.mark.parametrize(("ended", "stale"), [(NOW - hours(26) - SECOND, True), (NOW - hours(26), False)])
def test_a_given_window_goes_before_the_schedule(ended: datetime, stale: bool) -> None:
    seen = observation(success(ended), deployments=[deployment(scheduled=False)])

    assert bool(found(seen, stale={"within": "26h"})) is stale


def test_a_young_deployment_with_an_old_success_is_not_young() -> None:
    seen = observation(deployments=[deployment(due=DUE, created=NOW)], last_success=OLD)

    assert names(found(seen)) == [("stale", "etl/nightly", "critical")]


def test_a_deployment_younger_than_its_window_is_not_stale() -> None:
    seen = observation(
        deployments=[deployment(created=NOW - hours(25))],
        last_success={"etl/nightly": None},
        oldest_success=NOW - hours(99),
    )

    assert found(seen, stale={"within": "26h"}) == ()


def test_a_success_before_the_window_is_found_by_search_and_says_when() -> None:
    old = run("COMPLETED", "old", since=NOW - timedelta(days=3))
    (finding,) = found(observation(deployments=[deployment(due=DUE)], last_success={"etl/nightly": old}))

    assert finding.observed == "last success 2026-11-20 12:00 UTC"
    assert finding.since == NOW - timedelta(days=3)
    assert finding.flow_run_ids == ("old",)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (DUE[0], [("stale", "etl/nightly", "critical")]),
        (DUE[0] + SECOND, [("stale", "etl/nightly", "info")]),
        (None, [("stale", "etl/nightly", "info")]),
    ],
)
def test_a_success_that_retention_may_have_deleted_is_unknown(
    history: datetime | None, expected: list[tuple[str, str, str]]
) -> None:
    seen = observation(deployments=[deployment(due=DUE)], last_success={"etl/nightly": None}, oldest_success=history)

    assert names(found(seen)) == expected


def test_nothing_is_found_before_the_search() -> None:
    assert found(observation(deployments=[deployment(due=DUE)])) == ()


def check_after(*before: Observation) -> Ledger:
    ledger = Ledger()
    for seen in before:
        ledger = fold(ledger, seen)
    return ledger


OLD = {"etl/nightly": run("COMPLETED", "old", since=NOW - timedelta(days=3))}


@pytest.mark.parametrize(
    "before",
    [deployment(paused=True, scheduled=False), deployment(scheduled=False), deployment(schedule="weekly")],
    ids=["paused", "unscheduled", "another schedule"],
)
def test_scheduled_times_of_a_schedule_that_was_not_there_are_not_missed(before: Deployment) -> None:
    seen_before = observation(deployments=[before], last_success=OLD, at=NOW - hours(9))
    changed = observation(deployments=[deployment()], at=NOW - minutes(90))
    ledger = check_after(seen_before, changed)

    assert found(observation(deployments=[deployment(due=DUE)]), ledger) == ()
    assert len(found(observation(deployments=[deployment(due=(NOW - hours(1), NOW))]), ledger)) == 1


@pytest.mark.parametrize(
    ("runs", "success", "stale"),
    [
        # A schedule of an hour ago, and nothing that shows an older one.
        ([], {}, False),
        # It was deployed again: runs were due before, or a schedule made the last success.
        ([run("CANCELLED", since=NOW - hours(5))], {}, True),
        ([], {"auto_scheduled": True}, True),
    ],
)
def test_a_schedule_that_looks_young_may_have_been_deployed_again(
    runs: list[FlowRun], success: dict[str, bool], stale: bool
) -> None:
    young = deployment(due=DUE, scheduled_since=NOW - hours(1))
    last = {"etl/nightly": OLD["etl/nightly"].model_copy(update=success)}

    assert bool(found(observation(*runs, deployments=[young], last_success=last))) is stale


@pytest.mark.parametrize(
    ("why", "check"),
    [
        (run("FAILED", "why", since=NOW - minutes(5)), "failed"),
        (run("CRASHED", "why", since=NOW - minutes(5)), "crashed"),
        (run("SCHEDULED", "why", next_scheduled_start_time=NOW - minutes(70)), "late"),
        (run("PENDING", "why", since=NOW - minutes(70)), "stuck"),
    ],
)
def test_stale_is_a_symptom_of_what_explains_it(why: FlowRun, check: str) -> None:
    findings = found(observation(success(NOW - hours(9)), why, deployments=[deployment(due=DUE)]))
    by_check: dict[str, Finding] = {finding.check: finding for finding in findings}

    assert set(by_check) == {check, "stale"}
    assert by_check["stale"].symptom_of == by_check[check].fingerprint
    assert by_check[check].symptom_of is None


def test_a_cancelled_run_explains_nothing() -> None:
    findings = found(observation(success(NOW - hours(9)), run("CANCELLED"), deployments=[deployment(due=DUE)]))

    assert [(finding.check, finding.symptom_of) for finding in findings] == [("stale", None)]


@pytest.mark.parametrize(
    ("missed", "reported"),
    [
        (MissedRuns(first=DUE[0], count=1), "1 scheduled time missed since 2026-11-23 10:00 UTC"),
        (MissedRuns(first=DUE[0], count=999), "999 scheduled times missed since 2026-11-23 10:00 UTC"),
        (
            MissedRuns(first=DUE[0], count=1_000),
            "at least 1,000 scheduled times missed since 2026-11-23 10:00 UTC",
        ),
    ],
)
def test_it_shows_how_many_scheduled_times_were_missed_and_since_when(missed: MissedRuns, reported: str) -> None:
    seen = observation(success(NOW - hours(9)), deployments=[deployment(due=DUE)], missed={"etl/nightly": missed})
    (finding,) = found(seen)

    assert finding.observed == f"last success 2026-11-23 03:00 UTC; {reported}"
    assert "2 scheduled times, its usual run time and 30 min of grace passed" in finding.expected


@pytest.mark.parametrize(
    ("state", "expect", "stale"),
    [
        ("FAILED", "success", True),
        ("FAILED", "failure", False),
        ("COMPLETED", "failure", False),
        ("CRASHED", "failure", True),
        ("CANCELLED", "failure", True),
    ],
)
def test_a_failure_that_is_expected_is_fresh(state: StateType, expect: str, stale: bool) -> None:
    runs = [success(NOW - hours(9)), run(state, "newest", since=NOW - minutes(10))]
    findings = found(observation(*runs, deployments=[deployment(due=DUE)]), expect=expect)

    assert any(finding.check == "stale" for finding in findings) is stale


@pytest.mark.parametrize(("failed", "stale"), [(DUE[0] - SECOND, True), (DUE[0], False), (DUE[0] + SECOND, False)])
@pytest.mark.parametrize("later", [(), (minutes(20),), (minutes(20), minutes(10))])
def test_an_expected_failure_stays_fresh_when_a_later_run_crashes(
    failed: datetime, stale: bool, later: tuple[timedelta, ...]
) -> None:
    first = fold(Ledger(), observation(run("FAILED", "failed", since=failed), at=NOW - minutes(30)))
    crashes = [run("CRASHED", f"crash {n}", since=NOW - age) for n, age in enumerate(later)]
    searched: dict[str, Any] = {"last_success": {"etl/nightly": None}, "oldest_success": NOW - timedelta(days=30)}
    findings = found(observation(*crashes, deployments=[deployment(due=DUE)], **searched), first, expect="failure")

    finding = next((finding for finding in findings if finding.check == "stale"), None)
    assert (finding is not None) is stale
    if finding:
        assert finding.since == failed
        assert finding.flow_run_ids == ("failed",)


def test_an_expected_failure_that_comes_late_behind_a_crash_is_fresh() -> None:
    first = fold(Ledger(), observation(run("CRASHED", "new", since=NOW - minutes(6)), at=NOW - minutes(5)))
    searched: dict[str, Any] = {"last_success": {"etl/nightly": None}, "oldest_success": NOW - timedelta(days=30)}
    late = observation(run("FAILED", "old", since=NOW - minutes(8)), deployments=[deployment(due=DUE)], **searched)

    assert "stale" not in {finding.check for finding in found(late, first, expect="failure")}


def test_an_expected_failure_is_found_by_search_behind_a_crash() -> None:
    failed = run("FAILED", "failed", since=NOW - minutes(80))
    crashed = run("CRASHED", "crashed", since=NOW - minutes(10))
    seen = observation(crashed, deployments=[deployment(due=DUE)], last_success={"etl/nightly": failed})

    assert {finding.check for finding in found(seen, expect="failure")} == {"crashed"}


def test_an_old_expected_failure_is_stale_and_found_by_search() -> None:
    old = run("FAILED", "old", since=NOW - timedelta(days=3))
    seen = observation(deployments=[deployment(due=DUE)], last_success={"etl/nightly": old})
    (finding,) = (finding for finding in found(seen, expect="failure") if finding.check == "stale")

    assert finding.summary == "etl/nightly: no success or expected failure since 2026-11-20 12:00 UTC"
    assert finding.flow_run_ids == ("old",)


def test_it_says_why() -> None:
    running = run("RUNNING", "long", since=NOW - hours(5))
    seen = observation(success(NOW - hours(9)), running, deployments=[deployment(due=DUE)])
    (finding,) = (finding for finding in found(seen) if finding.check == "stale")

    assert finding.cause is not None
    assert (finding.cause.reason, finding.cause.flow_run_ids) == ("previous-run-running", ("long",))


DAY = timedelta(days=1)


def daily(last: datetime, *, runs: int = 10, **record: Any) -> Ledger:
    """A ledger in which a deployment succeeded daily, the last time then."""
    ends = tuple((int((last - n * DAY).timestamp()), 60.0) for n in range(runs))
    newest = EndedRun(id="newest", name="newest", state_type="COMPLETED", state_name="Completed", ended=last)
    known = Record.model_validate(
        {"last_success": newest, "last_ended": newest, "run_times": RunTimes(recent=ends), "schedule": "", **record}
    )
    return Ledger(records={"etl/nightly": known})


@pytest.mark.parametrize(
    ("silence", "reported"),
    [(3 * DAY - SECOND, False), (3 * DAY, False), (3 * DAY + SECOND, True), (9 * DAY, True), (9 * DAY + SECOND, False)],
)
def test_a_deployment_without_schedules_is_expected_to_keep_its_rhythm_as_long_as_it_had_it(
    silence: timedelta, reported: bool
) -> None:
    findings = found(observation(deployments=[deployment(scheduled=False)]), daily(NOW - silence))

    assert names(findings) == ([("stale", "etl/nightly", "info")] if reported else [])
    assert not any(finding.unknown for finding in findings)


def test_a_cadence_says_what_was_usual() -> None:
    (finding,) = found(observation(deployments=[deployment(scheduled=False)]), daily(NOW - 4 * DAY))

    assert finding.summary == "etl/nightly: no success for 4 d, usually one every 1 d"
    assert finding.observed == "last success 2026-11-19 12:00 UTC, 4 d ago"
    assert finding.expected == "one within 3 d, as for its last 10 runs; it has no active schedule"
    assert finding.since == NOW - 4 * DAY


@pytest.mark.parametrize(
    ("fields", "record", "settings"),
    [
        pytest.param({"scheduled": True}, {"schedule": "daily"}, {}, id="it has schedules"),
        pytest.param({"paused": True, "inactive_since": NOW}, {}, {}, id="it is paused"),
        pytest.param({"inactive_since": NOW - DAY}, {}, {}, id="its schedules are inactive"),
        pytest.param({}, {"scheduled_since": NOW - 4 * DAY}, {}, id="its schedules were taken away"),
        pytest.param({}, {}, {"rhythm": False}, id="turned off"),
        pytest.param({}, {}, {"within": "30d"}, id="a window is given"),
    ],
)
def test_no_cadence_is_expected_where_something_else_says_when_it_runs(
    fields: dict[str, Any], record: dict[str, Any], settings: dict[str, Any]
) -> None:
    seen = observation(deployments=[deployment(**{"scheduled": False, **fields})])

    assert found(seen, daily(NOW - 4 * DAY, **record), stale=settings) == ()


def test_few_runs_are_no_rhythm() -> None:
    assert found(observation(deployments=[deployment(scheduled=False)]), daily(NOW - 4 * DAY, runs=8)) == ()


def test_what_nothing_is_scheduled_for_is_stale_because_of_that() -> None:
    seen = observation(
        success(NOW - hours(9)), deployments=[deployment(due=DUE)], nothing_ahead={"etl/nightly": DUE[-1]}
    )
    by_check = {finding.check: finding for finding in found(seen)}

    assert set(by_check) == {"stale", "unscheduled"}
    assert by_check["stale"].symptom_of == by_check["unscheduled"].fingerprint


#: A run that is alive.
ALIVE = {"first": Heartbeats(last=NOW - minutes(1), first=NOW - hours(3), count=60)}


def regional(**eu: Any) -> Deployment:
    """A deployment whose schedules differ in their parameters, of which one has missed two times."""
    due = (NOW - hours(3), NOW - hours(2))
    own = [
        ScheduleParameters(key=name, name=f"region={name}", parameters=frozenset([name]), active=True, **fields)
        for name, fields in {"eu": {"due": due, **eu}, "us": {"due": ()}}.items()
    ]
    return deployment(schedule_parameters=tuple(own))


US = run("COMPLETED", "us", since=NOW - hours(1), parameters=("us",))


@pytest.mark.parametrize(
    ("since", "eu", "runs", "stale"),
    [
        pytest.param(hours(24), {}, (), True, id="none has come"),
        pytest.param(hours(2), {}, (), False, id="what it missed would not have been counted"),
        pytest.param(hours(24), {"changed": NOW - hours(2)}, (), False, id="its schedule is younger"),
        pytest.param(hours(24), {"due": (NOW - hours(2),)}, (), False, id="one time is not enough"),
        pytest.param(hours(24), {}, (run("COMPLETED", since=NOW - hours(3), parameters=("eu",)),), False, id="it came"),
        pytest.param(hours(24), {}, (run("FAILED", since=NOW - hours(2), parameters=("eu",)),), True, id="it failed"),
        pytest.param(hours(24), {}, (run("RUNNING", since=NOW - hours(3), parameters=("eu",)),), False, id="the first"),
    ],
)
def test_each_schedule_with_parameters_of_its_own_is_judged_by_its_own_runs(
    since: timedelta, eu: dict[str, Any], runs: tuple[FlowRun, ...], stale: bool
) -> None:
    seen = observation(US, *runs, deployments=[regional(**eu)], since=NOW - since)
    verdicts = [finding.summary for finding in found(seen, slow={"enabled": False}) if finding.check == "stale"]
    assert verdicts == (["etl/nightly: no success with region=eu since 2026-11-23 09:00 UTC"] if stale else [])


def test_the_runs_of_a_schedule_are_counted_from_check_to_check() -> None:
    ledger = fold(Ledger(), observation(deployments=[regional(due=())], at=NOW - hours(9), since=NOW - hours(10)))
    saved = Ledger.model_validate_json(ledger.model_dump_json())
    seen = observation(US, deployments=[regional()], since=NOW - minutes(15))
    assert names(found(seen, saved)) == [("stale", "etl/nightly", "critical")]


@pytest.mark.parametrize(("before", "severity"), [((), "info"), ((run("CRASHED", since=NOW - hours(5)),), "critical")])
def test_while_the_first_run_ever_is_running_freshness_is_unknown(before: tuple[FlowRun, ...], severity: str) -> None:
    first = run("RUNNING", "first", since=NOW - hours(3), start_time=NOW - hours(3))
    facts: dict[str, Any] = {
        "last_success": {"etl/nightly": None},
        "oldest_success": NOW - hours(50),
        "heartbeats": ALIVE,
    }
    seen = observation(first, *before, deployments=[deployment(due=DUE)], **facts)
    (stale,) = [finding for finding in found(seen) if finding.check == "stale"]
    assert (stale.severity, stale.unknown) == (severity, severity == "info")
