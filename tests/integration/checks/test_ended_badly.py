"""failed and crashed, and which of parent and child is to blame."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.server.schemas.schedules import IntervalSchedule

from demo.stack import Server
from monitoring.config import Config
from monitoring.incidents import advance
from monitoring.model import Cause
from monitoring.policy import Policies
from monitoring.render import words
from tests.support.looking import by_name, look
from tests.support.seeding import DAY, HOUR, MINUTE, SECOND, Run, Seed

pytestmark = pytest.mark.integration


def test_the_latest_ended_run_decides_and_three_in_a_row_are_critical(prefect_server: Server, world: Seed) -> None:
    """Per deployment: how its runs ended, oldest first."""
    histories = {
        "once": ["FAILED"],
        "twice": ["COMPLETED", "FAILED", "FAILED"],
        "thrice": ["COMPLETED", "FAILED", "FAILED", "FAILED"],
        "timed-out": ["TimedOut"],
        "crashed": ["CRASHED"],
        "mixed": ["FAILED", "FAILED", "CRASHED"],
        "cancelled-between": ["FAILED", "CANCELLED", "FAILED", "FAILED", "CANCELLED"],
        "over": ["FAILED", "FAILED", "FAILED", "COMPLETED"],
        "over-by-cache": ["FAILED", "Cached"],
        "over-by-rollback": ["CRASHED", "RolledBack"],
        "only-cancelled": ["CANCELLED", "CANCELLED"],
    }
    plan = IntervalSchedule(interval=30 * DAY, anchor_date=world.now + 20 * DAY)
    for name, states in histories.items():
        deployment = world.deployment(f"etl/{name}", schedule=plan)
        start = world.now - 5 * HOUR
        world.many(Run(deployment=deployment, state=s, ended=start + n * HOUR / 2) for n, s in enumerate(states))
    found = look(world.now).found
    assert by_name(found, "failed") == {
        "once": "warning",
        "twice": "warning",
        "thrice": "critical",
        "timed-out": "warning",
        "cancelled-between": "critical",
    }
    assert by_name(found, "crashed") == {"crashed": "warning", "mixed": "critical"}
    assert len(found) == 7

    thrice = found["failed", "etl/thrice"]
    assert (thrice.flow_run_count, thrice.since) == (3, world.now - 4.5 * HOUR)
    assert "TimedOut" in found["failed", "etl/timed-out"].observed
    assert "2 failed, 1 crashed" in found["crashed", "etl/mixed"].summary


def test_the_newest_run_of_a_streak_comes_first_and_is_linked(prefect_server: Server, world: Seed) -> None:
    deployment = world.deployment("etl/nightly", schedule="0 0 1 1 *")
    older = world.run(deployment, "FAILED", ended=world.now - 2 * HOUR)
    newer = world.run(deployment, "FAILED", ended=world.now - HOUR, message="ValueError: newer")
    single = world.run(world.deployment("etl/single"), "FAILED", ended=world.now - HOUR)
    found = look(world.now).found
    streak = found["failed", "etl/nightly"]
    assert streak.flow_run_ids == (str(newer.id), str(older.id))
    assert "ValueError: newer" in streak.observed
    assert streak.url == f"{prefect_server.ui_url}/deployments/deployment/{deployment.id}"
    assert found["failed", "etl/single"].url == f"{prefect_server.ui_url}/runs/flow-run/{single.id}"


def test_a_run_that_awaits_a_retry_has_not_failed(prefect_server: Server, world: Seed) -> None:
    now = world.now
    deployment = world.deployment("etl/retrying")
    world.run(
        deployment,
        "AwaitingRetry",
        due=now - 10 * MINUTE,
        next_due=now + 5 * MINUTE,
        started=now - 3 * MINUTE,
        since=now - 2 * MINUTE,
        message="ValueError",
    )
    assert look(now).found == {}


def test_a_failure_is_forgiven_where_nothing_will_run_by_itself(prefect_server: Server, world: Seed) -> None:
    now = world.now
    yearly = "0 0 1 1 *"
    by_hand = {"by-hand": 24 * HOUR - SECOND, "by-hand-forgiven": 24 * HOUR}
    for name, ago in by_hand.items():
        world.run(world.deployment(f"etl/{name}"), "FAILED", ended=now - ago)
    off = world.deployment("etl/schedule-off", schedule=yearly, schedule_active=False)
    world.run(off, "CRASHED", ended=now - 25 * HOUR)
    world.run(world.deployment("etl/scheduled", schedule=yearly), "FAILED", ended=now - 47 * HOUR)
    world.run(world.deployment("etl/paused", schedule=yearly, paused=True), "FAILED", ended=now - HOUR)
    found = look(now, target={"window": "48h"}).found
    assert by_name(found, "failed") == {"by-hand": "warning", "scheduled": "warning"}
    assert by_name(found, "crashed") == {}


def test_an_incident_ends_with_the_reason(prefect_server: Server, world: Seed) -> None:
    now = world.now
    names = ["succeeded", "deleted", "paused", "expired"]
    deployments = {name: world.deployment(f"etl/{name}") for name in names}
    for deployment in deployments.values():
        world.run(deployment, "FAILED", ended=now - 23 * HOUR - 59 * MINUTE)
    first = look(now).assessment
    policies = Policies(Config())
    opened = advance({}, first.findings, first.observation, first.ledger, policies, True)
    assert len(opened.open) == 4

    world.run(deployments["succeeded"], ended=now + MINUTE)
    prefect_server.request("DELETE", f"/deployments/{deployments['deleted'].id}")
    prefect_server.request("PATCH", f"/deployments/{deployments['paused'].id}", {"paused": True})
    second = look(now + 2 * MINUTE, ledger=first.ledger).assessment
    moved = advance(opened.open, second.findings, second.observation, second.ledger, policies, True)
    assert moved.open == {}
    reasons = {move.incident.finding.subject.name.partition("/")[2]: move.reason for move in moved.transitions}
    assert reasons == {name: name for name in names}


def test_runs_without_a_deployment_are_watched_only_when_asked_for(prefect_server: Server, world: Seed) -> None:
    world.run(flow="laptop", state="FAILED", ended=world.now - HOUR)
    world.run(flow="laptop-late", state="SCHEDULED", due=world.now - HOUR)
    assert look(world.now).found == {}
    found = look(world.now, target={"runs_without_deployment": True}).found
    assert set(found) == {("failed", "laptop"), ("late", "laptop-late")}
    laptop = found["failed", "laptop"]
    assert (laptop.subject.kind, laptop.flow, laptop.deployment) == ("flow", "laptop", None)


def test_the_watchdogs_own_runs_are_kept_out(prefect_server: Server, world: Seed) -> None:
    for flow in ("watchdog-check", "watchdog-digest"):
        own = world.deployment(f"{flow}/default", schedule="*/5 * * * *", created=world.now - 90 * DAY)
        world.run(own, "FAILED", ended=world.now - HOUR)
        world.run(own, "RUNNING", started=world.now - 5 * HOUR)
        world.run(flow=flow, state="CRASHED", ended=world.now - HOUR)
    seen = look(world.now, target={"runs_without_deployment": True}, slow={"limit": "1h"})
    assert seen.found == {}


def test_a_subflow_that_failed_its_parent_is_named_as_its_cause(prefect_server: Server, world: Seed) -> None:
    end = world.now - HOUR
    said = "Flow run encountered an exception: ValueError: no rows"

    parent = world.run(world.deployment("parent/broken-by-child"), "FAILED", ended=end, message=said)
    child: dict[str, Any] = {"flow": "child", "state": "FAILED", "ended": end - SECOND, "message": said}
    world.run(parent=parent, name="dusty-dodo", **child)

    several = world.run(world.deployment("parent/by-states"), "FAILED", ended=end, message="1/2 states failed.")
    world.run(parent=several, name="returned", **child)

    caught = world.run(world.deployment("parent/went-on"), "COMPLETED", ended=end)
    world.run(parent=caught, **child)

    other = world.run(world.deployment("parent/other-fault"), "FAILED", ended=end, message="KeyError: 'own'")
    world.run(parent=other, **child)

    found = look(world.now).found
    assert set(found) == {("failed", f"parent/{name}") for name in ("broken-by-child", "by-states", "other-fault")}
    broken = found["failed", "parent/broken-by-child"]
    assert broken.cause == Cause(kind="flow-run", name="dusty-dodo", reason="failed")
    assert "child (dusty-dodo)" in broken.summary
    assert found["failed", "parent/by-states"].cause == Cause(kind="flow-run", name="returned", reason="failed")
    assert found["failed", "parent/other-fault"].cause is None
    assert all(finding.symptom_of is None for finding in found.values())


def test_a_parent_is_a_symptom_of_its_child_where_the_child_has_a_deployment(
    prefect_server: Server, world: Seed
) -> None:
    end = world.now - HOUR
    said = "Flow run encountered an exception: ValueError: no rows"
    parent = world.run(world.deployment("parent/weekly"), "FAILED", ended=end, message=said)
    child = world.deployment("child/load")
    world.run(child, "FAILED", ended=end - SECOND, message=said, parent=parent)
    seen = look(world.now)
    assert seen.found["failed", "parent/weekly"].symptom_of == seen.found["failed", "child/load"].fingerprint
    assert seen.found["failed", "child/load"].symptom_of is None
    assert len(words.heads(seen.assessment.report)) == 1
