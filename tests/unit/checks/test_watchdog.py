"""watchdog: its own checks late, failing, paused or incomplete; and policy in tags that it cannot read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.checks import watchdog
from monitoring.checks.registry import run_checks
from monitoring.incidents.lifecycle import advance, still_known
from monitoring.model.finding import Cause, Finding
from monitoring.model.incident import Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation, OwnRuns
from monitoring.model.prefect import (
    CHECK_FLOW,
    DIGEST_FLOW,
    SKIPPED,
    SUPERSEDED,
    Deployment,
    FlowRun,
    StateType,
    WorkPool,
)
from tests.support.builders import NOW, complete, deployment, found, hours, minutes, names, observation, policies, run

SECOND = timedelta(seconds=1)
CHECK = f"{CHECK_FLOW}/check"
DIGEST = f"{DIGEST_FLOW}/digest"
#: Three fires, as many as may pass.
DUE = tuple(NOW - minutes(ago) for ago in (13, 8, 3))


def ours(name: str = CHECK, **fields: Any) -> Deployment:
    return deployment(name, **{"due": DUE, **fields})


def own_run(state: StateType, ago: timedelta, of: str = CHECK, **fields: Any) -> FlowRun:
    return run(state, f"{of} {ago}", of=of, since=NOW - ago, **fields)


def seen(*runs: FlowRun, of: Deployment | None = None, deployments: Any = (), **fields: Any) -> Observation:
    """An observation of a server with the watchdog on it."""
    ended = [run for run in runs if run.end_time]
    own = OwnRuns(
        deployments=(of or ours(),),
        ended=tuple(sorted(ended, key=lambda run: run.end_time or NOW)),
        active=tuple(run for run in runs if not run.end_time),
    )
    return observation(deployments=deployments, own=own, **{"coverage": complete("own-runs"), **fields})


def checked(observed: Observation, ledger: Ledger | None = None, **settings: Any) -> list[Finding]:
    return list(run_checks(observed, ledger or Ledger(), policies(**settings), [watchdog.CHECK]))


def only(observed: Observation, ledger: Ledger | None = None, **settings: Any) -> Finding:
    (finding,) = checked(observed, ledger, **settings)
    return finding


def test_where_the_watchdog_is_not_deployed_nothing_is_wrong_with_it() -> None:
    assert found(observation()) == ()


@pytest.mark.parametrize(
    ("completed", "late"), [(minutes(13), False), (minutes(13) + SECOND, True), (hours(3), True), (minutes(1), False)]
)
def test_a_check_is_late_when_no_run_has_completed_since_its_third_last_fire(completed: timedelta, late: bool) -> None:
    observed = seen(own_run("COMPLETED", completed))

    assert bool(checked(observed)) is late
    if late:
        finding = only(observed)
        assert (finding.severity, finding.since) == ("warning", NOW - completed)
        assert finding.fingerprint == f"prod/watchdog/deployment/{CHECK}"
        assert finding.summary.startswith(f"{CHECK}: no run of the watchdog itself has completed for ")


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "RUNNING", "PENDING"])
def test_only_a_completed_run_is_proof(state: Any) -> None:
    # The check that looks is running, and might never end.
    observed = seen(own_run("COMPLETED", hours(1)), own_run(state, minutes(1)))

    assert only(observed).since == NOW - hours(1)


@pytest.mark.parametrize(
    ("fields", "late"),
    [
        ({}, True),
        ({"due": DUE[1:]}, False),
        ({"due": ()}, False),
        ({"scheduled": False}, False),
        # It was deployed, or its schedule changed, after the first of those fires.
        ({"created": NOW - minutes(13) + SECOND}, False),
        ({"scheduled_since": NOW - minutes(13) + SECOND}, False),
        ({"scheduled_since": NOW - minutes(13)}, True),
        # Resumed after the first of them: while it was paused, nothing was to come.
        ({"changed": NOW - minutes(13) + SECOND}, False),
        ({"changed": NOW - minutes(13)}, True),
    ],
)
def test_fires_count_that_were_its_own(fields: dict[str, Any], late: bool) -> None:
    assert bool(checked(seen(of=ours(**fields)))) is late


def test_unknown_runs_are_no_late_ones() -> None:
    assert checked(seen(coverage=complete())) == []


@pytest.mark.parametrize(
    ("name", "first", "late"),
    [
        (CHECK, hours(24), True),
        # The check deletes its own runs after a day, and no others.
        (CHECK, hours(24) + SECOND, False),
        (DIGEST, hours(72), True),
    ],
)
def test_runs_that_were_tidied_away_prove_nothing(name: str, first: timedelta, late: bool) -> None:
    due = (NOW - first, NOW - hours(3), NOW - hours(1))

    assert bool(checked(seen(of=ours(name, due=due)))) is late
    assert checked(seen(own_run("COMPLETED", hours(80), name), of=ours(name, due=due)))


def test_late_runs_of_its_own_are_named_with_their_cause() -> None:
    pool = WorkPool(id="p", name="ops", type="process", live_workers=0)
    waiting = own_run("SCHEDULED", minutes(8), state_name="Late", work_pool="ops")
    observed = seen(waiting, of=ours(work_pool="ops"), work_pools={"ops": pool})
    finding = only(observed)

    assert finding.cause == Cause(kind="work-pool", name="ops", reason="no-live-worker")
    assert finding.evidence == (f"name of {waiting.id}: Late, due 2026-11-23 11:52 UTC",)


@pytest.mark.parametrize(
    ("states", "bad"),
    [
        (["COMPLETED", "FAILED"], False),
        (["COMPLETED", "FAILED", "CRASHED"], True),
        (["FAILED", "FAILED", "COMPLETED"], False),
        # Somebody wanted it gone.
        (["COMPLETED", "FAILED", "CANCELLED", "FAILED", "CANCELLED"], True),
        (["FAILED", "CANCELLED"], False),
    ],
)
def test_its_own_runs_fail_in_a_row(states: list[StateType], bad: bool) -> None:
    runs = [own_run(state, minutes(12 - n), message="boom") for n, state in enumerate(states)]
    observed = seen(*runs, of=ours(due=()))

    assert bool(checked(observed)) is bad
    assert checked(observed, watchdog={"failures": 9}) == []
    if bad:
        finding = only(observed)
        assert (finding.severity, finding.flow_run_count) == ("warning", 2)
        assert finding.since == NOW - minutes(11)
        assert "boom" in finding.observed


def test_a_check_that_fails_and_so_is_late_is_one_problem() -> None:
    runs = [own_run("COMPLETED", hours(2)), *(own_run("FAILED", minutes(n)) for n in range(1, 40))]

    assert "39 runs of the watchdog itself failed or crashed" in only(seen(*runs)).summary


def test_a_message_of_megabytes_is_cut() -> None:
    runs = [own_run("FAILED", minutes(n), message="x" * 50_000) for n in (1, 2)]

    assert len(only(seen(*runs)).observed) < 400


def test_paused_it_is_worth_knowing() -> None:
    paused = ours(scheduled=False, paused=True, inactive_since=NOW - hours(5))
    finding = only(seen(of=paused))

    assert (finding.severity, finding.since, finding.unknown) == ("info", NOW - hours(5), False)


def unread() -> Any:
    whole = complete("own-runs")
    return whole.model_copy(update={"queries": tuple(q for q in whole.queries if q.name != "ended-runs")})


@pytest.mark.parametrize(("age", "old"), [(minutes(30), False), (minutes(30) + SECOND, True)])
def test_ended_runs_have_not_been_read_whole_for_long(age: timedelta, old: bool) -> None:
    ledger = Ledger(cursor=NOW - age)
    observed = seen(of=ours(due=()), coverage=unread())

    assert bool(checked(observed, ledger)) is old
    assert checked(seen(of=ours(due=())), ledger) == []
    assert checked(observed, Ledger()) == []
    assert checked(observed, ledger, watchdog={"incomplete_for": "2h"}) == []
    if old:
        finding = only(observed, ledger)
        assert (finding.fingerprint, finding.since) == ("prod/watchdog/server/prod", NOW - age)


def test_it_can_be_turned_off() -> None:
    observed = seen(deployments=[deployment(tags=("watchdog:oops",))])

    assert len(checked(observed)) == 2
    assert checked(observed, watchdog={"enabled": False}) == []


# --- tags --------------------------------------------------------------------------------------------


def with_tags(*tags: str) -> Observation:
    return observation(deployments=[deployment(tags=tags)])


def test_a_tag_that_cannot_be_read_is_named() -> None:
    finding = only(with_tags("gold", "watchdog:max-run-time=2 hours", "watchdog:owner=data"))

    assert (finding.severity, finding.subject.name) == ("warning", "etl/nightly")
    assert finding.summary == "etl/nightly: tag 'watchdog:max-run-time=2 hours' cannot be read and has no effect"
    assert "expected a duration" in finding.observed


def test_several_are_one_finding() -> None:
    finding = only(with_tags("watchdog:oof", "watchdog:severity=huge", *(f"watchdog:{n}" for n in range(50))))

    assert "'watchdog:oof' and 51 more cannot be read" in finding.summary
    assert finding.evidence[0] == "'watchdog:oof': did you mean watchdog:off?"
    assert len(finding.evidence) == 10


@pytest.mark.parametrize(
    "tag",
    [
        "watchdog:owner=xoxb-123456789-secretsecret",
        "watchdog:https://me:secretsecret@host",
        "watchdog:token=secretsecret",
        "watchdog:own er=ghp_secretsecretsecretsecretsecret",
        "watchdog:mine-secretsecret",
    ],
)
def test_a_secret_in_a_tag_is_not_shown(tag: str) -> None:
    finding = only(with_tags(tag), redact={"patterns": ["mine-[a-z]+"]})

    assert "secretsecret" not in finding.model_dump_json()
    assert "watchdog" in finding.summary


def test_hostile_tags_are_short_lines() -> None:
    finding = only(with_tags("watchdog:\n\x1b[2J" + "x" * 100_000))

    assert len(finding.model_dump_json()) < 2_000
    assert "\n" not in finding.summary


def test_the_owner_of_the_deployment_is_named_and_its_severity_holds() -> None:
    (finding,) = found(with_tags("watchdog:owner=data", "watchdog:severity=critical", "watchdog:oof"))

    assert (finding.owner, finding.severity) == ("data", "critical")


def test_other_tags_of_an_unwatched_deployment_are_not_reported() -> None:
    assert found(with_tags("watchdog:off", "watchdog:oof")) == ()


# --- over time ---------------------------------------------------------------------------------------


def resolved(before: Observation, after: Observation, **settings: Any) -> list[str]:
    def judged(observed: Observation, **changed: Any) -> Any:
        return run_checks(observed, Ledger(), policies(**changed))

    opened = advance(Incidents(), (), judged(before), before, Ledger(), policies(), complete=True).incidents
    moved = advance(opened, (), judged(after, **settings), after, Ledger(), policies(**settings), complete=True)
    return [move.step.reason for move in moved.transitions if move.step.to == "resolved"]


@pytest.mark.parametrize(
    ("outcomes", "text"),
    [
        (["ran", "skipped"], None),
        (
            ["ran", "skipped", "skipped"],
            "the last 2 runs of the watchdog itself were skipped: another check was running",
        ),
        (["skipped", "skipped", "ran"], None),
        (["ran", "failed", "skipped"], None),
        (["ran", "covered", "covered", "covered"], None),
        (["failed", "covered", "failed"], "the last 2 runs of the watchdog itself failed or crashed"),
        (["ran", "failed", "skipped", "failed"], "the last 2 runs of the watchdog itself failed or crashed"),
    ],
)
def test_checks_that_are_skipped_in_a_row_are_a_problem(outcomes: list[str], text: str | None) -> None:
    states: dict[str, tuple[StateType, str]] = {
        "ran": ("COMPLETED", "ok"),
        "skipped": ("COMPLETED", SKIPPED),
        "covered": ("COMPLETED", SUPERSEDED),
        "failed": ("FAILED", "no answer"),
    }
    runs = [
        own_run(states[outcome][0], minutes(5 * (len(outcomes) - n)), message=states[outcome][1])
        for n, outcome in enumerate(outcomes)
    ]
    # None of its scheduled times has passed, so that it is not late as well.
    findings = checked(seen(*runs, of=ours(due=())))
    assert [finding.summary for finding in findings] == ([] if text is None else [f"{CHECK}: {text}"])


def test_a_check_that_took_long_ended_after_those_that_were_skipped_meanwhile() -> None:
    long = own_run("COMPLETED", minutes(1), message="ok").model_copy(update={"expected_start_time": NOW - minutes(16)})
    skipped = [own_run("COMPLETED", minutes(ago), message=SKIPPED) for ago in (10, 5)]
    assert "2 runs of the watchdog itself were skipped" in only(seen(long, *skipped)).summary


@pytest.mark.parametrize("message", [SKIPPED, SUPERSEDED])
def test_a_run_that_has_not_checked_proves_nothing(message: str) -> None:
    observed = seen(own_run("COMPLETED", hours(1)), own_run("COMPLETED", minutes(1), message=message))
    assert only(observed).since == NOW - hours(1)


def test_what_is_over_has_its_reason() -> None:
    failing = seen(own_run("FAILED", minutes(1)), own_run("FAILED", minutes(2)))
    well = seen(own_run("COMPLETED", SECOND))

    assert resolved(failing, well) == ["cleared"]
    assert resolved(with_tags("watchdog:oof"), with_tags()) == ["cleared"]
    assert resolved(with_tags("watchdog:oof"), with_tags("watchdog:oof", "watchdog:off")) == ["disabled"]
    assert resolved(with_tags("watchdog:oof"), with_tags("watchdog:oof"), watchdog={"enabled": False}) == ["disabled"]
    assert resolved(with_tags("watchdog:oof"), observation(deployments=[])) == ["deleted"]


def test_what_only_shows_now_began_when_it_was_first_seen() -> None:
    first = with_tags("watchdog:oof")
    opened = advance(Incidents(), (), checked(first), first, Ledger(), policies(), complete=True).incidents
    later = first.model_copy(update={"at": NOW + hours(1)})
    (finding,) = still_known(checked(later), opened, later, policies())

    assert finding.since == NOW


def test_own_runs_appear_nowhere_else() -> None:
    late = own_run("SCHEDULED", hours(9), state_name="Late")
    observed = seen(late, own_run("RUNNING", hours(90)), own_run("FAILED", minutes(1)), own_run("FAILED", minutes(2)))

    assert names(found(observed)) == [("watchdog", CHECK, "warning")]
