"""failed and crashed, and which of parent and child is to blame."""

from __future__ import annotations

from typing import Any

from prefect.server.schemas.schedules import IntervalSchedule

from demo.stack import Server
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.incidents.lifecycle import advance
from monitoring.messages.headline import grouped
from monitoring.model.finding import Finding
from monitoring.model.incident import Incidents
from monitoring.usecases.assess import Assessment
from tests.support.assessment import assess_server, by_name
from tests.support.seed_values import DAY, HOUR, MINUTE, SECOND, Run
from tests.support.seeding import Seed


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
    found = assess_server(world.now).found
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
    assert "the last run timed out" in found["failed", "etl/timed-out"].summary
    assert "2 failed, 1 crashed" in found["crashed", "etl/mixed"].summary


def test_the_newest_run_of_a_streak_comes_first_and_is_linked(prefect_server: Server, world: Seed) -> None:
    deployment = world.deployment("etl/nightly", schedule="0 0 1 1 *")
    older = world.run(deployment, "FAILED", ended=world.now - 2 * HOUR)
    newer = world.run(deployment, "FAILED", ended=world.now - HOUR, message="ValueError: newer")
    single = world.run(world.deployment("etl/single"), "FAILED", ended=world.now - HOUR)
    found = assess_server(world.now).found
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
    assert assess_server(now).found == {}


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
    found = assess_server(now, target={"window": "48h"}).found
    assert by_name(found, "failed") == {"by-hand": "warning", "scheduled": "warning"}
    assert by_name(found, "crashed") == {}


def only_failed(assessment: Assessment) -> list[Finding]:
    return [finding for finding in assessment.findings if finding.check == "failed"]


def test_an_incident_ends_with_the_reason(prefect_server: Server, world: Seed) -> None:
    now = world.now
    names = ["succeeded", "deleted", "paused", "expired"]
    deployments = {name: world.deployment(f"etl/{name}") for name in names}
    for deployment in deployments.values():
        world.run(deployment, "FAILED", ended=now - 23 * HOUR - 59 * MINUTE)
    first = assess_server(now).assessment
    policies = Policies(Config())
    # Nobody keeps the noise's worker alive while minutes pass.
    opened = advance(Incidents(), (), only_failed(first), first.observation, first.ledger, policies, True)
    assert len(opened.open) == 4

    world.run(deployments["succeeded"], ended=now + MINUTE)
    prefect_server.request("DELETE", f"/deployments/{deployments['deleted'].id}")
    prefect_server.request("PATCH", f"/deployments/{deployments['paused'].id}", {"paused": True})
    second = assess_server(now + 2 * MINUTE, ledger=first.ledger).assessment
    moved = advance(opened.incidents, (), only_failed(second), second.observation, second.ledger, policies, True)
    assert moved.open == {}
    reasons = {move.incident.finding.subject.name.partition("/")[2]: move.step.reason for move in moved.transitions}
    assert reasons == {name: name for name in names} | {"paused": "paused-while-failing"}


def test_runs_without_a_deployment_are_watched_only_when_configured(prefect_server: Server, world: Seed) -> None:
    world.run(flow="laptop", state="FAILED", ended=world.now - HOUR)
    world.run(flow="laptop-late", state="SCHEDULED", due=world.now - HOUR)
    assert assess_server(world.now).found == {}
    found = assess_server(world.now, target={"runs_without_deployment": True}).found
    assert set(found) == {("failed", "laptop"), ("late", "laptop-late")}
    laptop = found["failed", "laptop"]
    assert (laptop.subject.kind, laptop.flow, laptop.deployment) == ("flow", "laptop", None)


def test_the_watchdogs_own_runs_are_kept_out(prefect_server: Server, world: Seed) -> None:
    for flow in ("watchdog-check", "watchdog-digest"):
        long_ago = world.now - 90 * DAY
        own = world.deployment(f"{flow}/default", schedule="*/5 * * * *", created=long_ago, updated=long_ago)
        world.run(own, "FAILED", ended=world.now - HOUR)
        world.run(own, "RUNNING", started=world.now - 5 * HOUR)
        world.run(flow=flow, state="CRASHED", ended=world.now - HOUR)
    seen = assess_server(world.now, target={"runs_without_deployment": True}, slow={"limit": "1h"})
    # They are watched as what they are, and as nothing else.
    assert {check for check, _ in seen.found} == {"watchdog"}


def test_a_subflow_that_failed_its_parent_is_named_as_its_cause(prefect_server: Server, world: Seed) -> None:
    end = world.now - HOUR
    message = "Flow run encountered an exception: ValueError: no rows"

    parent = world.run(world.deployment("parent/broken-by-child"), "FAILED", ended=end, message=message)
    child: dict[str, Any] = {"flow": "child", "state": "FAILED", "ended": end - SECOND, "message": message}
    world.run(parent=parent, name="dusty-dodo", **child)

    several = world.run(world.deployment("parent/by-states"), "FAILED", ended=end, message="1/2 states failed.")
    world.run(parent=several, name="returned", **child)

    caught = world.run(world.deployment("parent/went-on"), "COMPLETED", ended=end)
    world.run(parent=caught, **child)

    other = world.run(world.deployment("parent/other-fault"), "FAILED", ended=end, message="KeyError: 'own'")
    world.run(parent=other, **child)

    found = assess_server(world.now).found
    assert set(found) == {("failed", f"parent/{name}") for name in ("broken-by-child", "by-states", "other-fault")}
    broken = found["failed", "parent/broken-by-child"]
    assert broken.cause is not None
    assert broken.cause.what == ("flow-run", "dusty-dodo", "failed")
    assert broken.cause.path == ("parent", "child")
    assert "child (dusty-dodo)" in broken.summary
    by_states = found["failed", "parent/by-states"].cause
    assert by_states is not None
    assert by_states.what == ("flow-run", "returned", "failed")
    assert found["failed", "parent/other-fault"].cause is None
    assert all(finding.symptom_of is None for finding in found.values())


def test_a_parent_is_a_symptom_of_its_child_where_the_child_has_a_deployment(
    prefect_server: Server, world: Seed
) -> None:
    end = world.now - HOUR
    message = "Flow run encountered an exception: ValueError: no rows"
    parent = world.run(world.deployment("parent/weekly"), "FAILED", ended=end, message=message)
    child = world.deployment("child/load")
    world.run(child, "FAILED", ended=end - SECOND, message=message, parent=parent)
    seen = assess_server(world.now)
    assert seen.found["failed", "parent/weekly"].symptom_of == seen.found["failed", "child/load"].fingerprint
    assert seen.found["failed", "child/load"].symptom_of is None
    assert len(grouped(seen.assessment.report.findings).problems) == 1


SAID = "Flow run encountered an exception: ValueError: no rows in part {part}, password=hunter2"
FAILED_TASK = "Task run failed with exception: ValueError('no rows in part {part}, password=hunter2')\n"
TRACEBACK = """Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/prefect/task_engine.py", line 1027, in run_context
    yield self
  File "/app/etl.py", line 9, in load_orders
    raise ValueError(f"no rows in part {{part}}, password={{password}}")
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
ValueError: no rows in part {part}, password=hunter2"""


def fail(seed: Seed, run: Run, part: int = 3) -> None:
    """Write what Prefect leaves of a task that failed its run: the task run, and the log."""
    end = run.ended or seed.now
    message = SAID.format(part=part).replace("Flow run encountered an exception:", "Task run encountered an exception")
    seed.task_run(run, "extract", at=end - 3 * SECOND)
    seed.task_run(run, "load-orders", state="FAILED", at=end - 2 * SECOND, message=message)
    logged = (FAILED_TASK + TRACEBACK).format(part=part)
    seed.logs(run, [(end - 9 * SECOND, 20, "Beginning flow run"), (end - 2 * SECOND, 40, logged)])


def test_the_reason_is_read_from_the_logs_and_its_secrets_are_taken_out(prefect_server: Server, world: Seed) -> None:
    end = world.now - HOUR
    run = world.run(world.deployment("etl/nightly"), "FAILED", ended=end, message=SAID.format(part=3))
    fail(world, run)
    # What it logged before is not why it failed.
    other = "Encountered exception: KeyError: 'x'\n" + TRACEBACK.format(part=1).replace("ValueError:", "KeyError:")
    world.logs(run, [(end - 9 * SECOND, 40, other), (end, 40, other), (end, 40, "cleaning up went wrong too")])
    seen = assess_server(world.now)
    nightly = seen.found["failed", "etl/nightly"]
    assert nightly.summary == (
        "etl/nightly: the last run failed in task load-orders: ValueError: no rows in part 3, password=REDACTED"
    )
    assert nightly.evidence == (
        '  File "/app/etl.py", line 9, in load_orders',
        '    raise ValueError(f"no rows in part {part}, password={REDACTED}")',
        "ValueError: no rows in part 3, password=REDACTED",
    )
    assert "hunter2" not in seen.assessment.model_dump_json()
    assert seen.missing == {}


def test_what_was_read_is_not_read_again_and_logs_that_come_late_are_read(prefect_server: Server, world: Seed) -> None:
    now = world.now
    run = world.run(world.deployment("etl/nightly"), "FAILED", ended=now - MINUTE, message=SAID.format(part=3))
    first = assess_server(now)
    assert first.found["failed", "etl/nightly"].evidence == ()

    fail(world, run)
    second = assess_server(now + MINUTE, ledger=first.assessment.ledger)
    assert second.found["failed", "etl/nightly"].evidence[-1].startswith("ValueError: no rows")

    third = assess_server(now + 2 * MINUTE, ledger=second.assessment.ledger)
    assert third.found["failed", "etl/nightly"] == second.found["failed", "etl/nightly"]
    assert third.traffic.requests < second.traffic.requests


def test_a_run_without_a_traceback_shows_the_end_of_its_error_log(prefect_server: Server, world: Seed) -> None:
    end = world.now - HOUR
    message = "Process exited with status code: -9."
    run = world.run(world.deployment("etl/killed"), "CRASHED", ended=end, message=message)
    lines = [f"out of memory: {number} token=abc123secret" for number in range(20)]
    world.logs(run, [(end - (20 - n) * SECOND, 40, line) for n, line in enumerate(lines)])
    world.logs(run, [(end, 40, message), (end, 30, "only a warning")])
    killed = assess_server(world.now).found["crashed", "etl/killed"]
    assert killed.summary == f"etl/killed: the last run crashed: {message}"
    assert killed.evidence == tuple(f"out of memory: {number} token=REDACTED" for number in (17, 18, 19))


def test_a_chain_of_runs_points_at_the_deepest_with_the_path_to_it(prefect_server: Server, world: Seed) -> None:
    end = world.now - HOUR
    message = SAID.format(part=3)
    wrapped = f"Flow run encountered an exception: FailedRun: {message}"
    top = world.run(world.deployment("top/daily"), "FAILED", ended=end, message=wrapped)
    # It was started by run_deployment, waited for its subflow, and that for another.
    middle = world.run(world.deployment("middle/load"), "FAILED", ended=end - SECOND, message=message, parent=top)
    below = world.run(flow="below", state="FAILED", ended=end - 2 * SECOND, message=message, parent=middle)
    deepest = world.run(
        flow="deep", state="FAILED", ended=end - 3 * SECOND, message=message, parent=below, name="deep-dodo"
    )
    fail(world, deepest)
    found = assess_server(world.now).found
    assert set(found) == {("failed", "top/daily"), ("failed", "middle/load")}
    parent, child = found["failed", "top/daily"], found["failed", "middle/load"]
    assert parent.symptom_of == child.fingerprint
    assert child.symptom_of is None
    for finding, way in ((parent, ("top", "middle")), (child, ("middle",))):
        assert finding.cause is not None
        assert finding.cause.what == ("flow-run", "deep-dodo", "failed")
        assert finding.cause.path == (*way, "below", "deep", "load-orders")
        assert finding.cause.flow_run_ids == (str(deepest.id),)
        assert finding.evidence[-1] == "ValueError: no rows in part 3, password=REDACTED"


def test_one_new_error_in_three_deployments_is_one_problem(prefect_server: Server, world: Seed) -> None:
    ages = {"a": 10 * MINUTE, "b": 40 * MINUTE, "c": 70 * MINUTE, "d": 71 * MINUTE, "old": 20 * HOUR, "other": MINUTE}
    for part, (name, age) in enumerate(ages.items()):
        message = SAID.format(part=part) if name != "other" else "Flow run encountered an exception: KeyError: 'x'"
        world.run(world.deployment(f"etl/{name}"), "FAILED", ended=world.now - age, message=message)
    seen = assess_server(world.now)
    report = seen.assessment.report
    [head] = [finding for finding in report.findings if finding.subject.kind == "error"]
    assert head.subject.name == "ValueError: no rows in part …, password=REDACTED"
    assert {f.subject.name for f in report.findings if f.symptom_of == head.fingerprint} == {f"etl/{n}" for n in "abcd"}
    assert {f.subject.name for f in grouped(report.findings).problems} == {head.subject.name, "etl/old", "etl/other"}


def test_hundreds_of_failures_cost_a_bounded_number_of_requests(prefect_server: Server, world: Seed) -> None:
    with world.together():
        for number in range(150):
            deployment = world.deployment(f"etl/{number:03}")
            world.run(deployment, "FAILED", ended=world.now - number * SECOND, message=SAID.format(part=number))
    seen = assess_server(world.now)
    assert len([name for name in seen.found if name[0] == "failed"]) == 151
    assert seen.missing == {}
    assert seen.traffic.requests < 250
    # Also those whose logs were not read have the error in common.
    assert len(grouped(seen.assessment.report.findings).problems) == 1


def test_an_expected_failure_is_none_and_a_crash_still_is(prefect_server: Server, world: Seed) -> None:
    for name, state in (("canary", "FAILED"), ("dead-canary", "CRASHED")):
        world.run(world.deployment(f"etl/{name}"), state, ended=world.now - HOUR)
    rule = {"match": {"deployment": "etl/*"}, "expect": "failure"}
    assert set(assess_server(world.now, rules=[rule]).found) == {("crashed", "etl/dead-canary")}
