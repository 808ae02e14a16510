"""late and stuck: runs that wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.checks.facts.causes import Causes
from monitoring.model.finding import Cause, Finding
from monitoring.model.observation import Observation
from monitoring.model.prefect import FlowRun, WorkPool, WorkQueue
from tests.support.builders import NOW, deployment, found, hours, minutes, names, observation, run

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("state_name", ["Scheduled", "Late", "AwaitingRetry", "Resuming"])
@pytest.mark.parametrize(
    ("lateness", "severity"),
    [
        (minutes(15), None),
        (minutes(15) + SECOND, "warning"),
        (hours(2), "warning"),
        (hours(2) + SECOND, "critical"),
    ],
)
def test_lateness_counts_from_the_due_time(state_name: str, lateness: timedelta, severity: str | None) -> None:
    # The state's own time is that of the marking, and says nothing about lateness.
    waiting = run("SCHEDULED", state_name=state_name, next_scheduled_start_time=NOW - lateness, since=NOW)

    assert names(found(observation(waiting))) == ([("late", "etl/nightly", severity)] if severity else [])


@pytest.mark.parametrize(
    ("fields", "waits", "late"),
    [
        ({"expected_start_time": NOW - minutes(16)}, {}, True),
        ({"expected_start_time": NOW - minutes(14)}, {}, False),
        ({"expected_start_time": NOW - hours(9), "start_time": NOW - hours(8)}, {"run": NOW - minutes(14)}, False),
        ({"expected_start_time": NOW - hours(9), "start_time": NOW - hours(8)}, {"run": NOW - minutes(16)}, True),
        ({"expected_start_time": NOW - hours(9), "start_time": NOW - hours(8)}, {}, False),
    ],
)
def test_a_rejected_slot_moves_the_next_start_and_not_the_lateness(
    fields: dict[str, Any], waits: dict[str, Any], late: bool
) -> None:
    waiting = run("SCHEDULED", state_name="AwaitingConcurrencySlot", next_scheduled_start_time=NOW, **fields)

    assert bool(found(observation(waiting, slot_wait_since=waits))) is late


def test_three_hundred_late_runs_are_one_finding() -> None:
    late = [run("SCHEDULED", f"run-{n}", next_scheduled_start_time=NOW - minutes(20 + n)) for n in range(300)]
    (finding,) = found(observation(*late))

    assert finding.flow_run_count == 300
    assert finding.since == NOW - minutes(319)
    assert finding.severity == "critical"
    assert finding.summary == "etl/nightly: 300 runs are late, the first was due at 2026-11-23 06:41 UTC"


def test_a_finding_carries_at_most_a_thousand_ids() -> None:
    late = [run("SCHEDULED", f"run-{n}", next_scheduled_start_time=NOW - hours(1)) for n in range(1001)]
    (finding,) = found(observation(*late))

    assert (len(finding.flow_run_ids), finding.flow_run_count) == (1000, 1001)


def the_late(seen: Observation) -> Finding:
    """The one finding about what is late; what holds it up has its own."""
    (finding,) = [finding for finding in found(seen) if finding.check == "late"]
    return finding


def pool(**fields: Any) -> WorkPool:
    values = {"id": "pool-id", "name": "etl-pool", "type": "process", "live_workers": 1}
    return WorkPool.model_validate({**values, **fields})


QUEUE = WorkQueue(id="q", name="default")


@pytest.mark.parametrize(
    ("place", "limit", "others", "cause"),
    [
        (pool(), None, 0, None),
        (pool(live_workers=None), None, 0, None),
        (pool(live_workers=0), None, 0, ("work-pool", "etl-pool", "no-live-worker")),
        (pool(paused=True, live_workers=0), None, 0, ("work-pool", "etl-pool", "paused")),
        (
            pool(queues=(QUEUE.model_copy(update={"paused": True}),)),
            None,
            0,
            ("work-queue", "etl-pool/default", "paused"),
        ),
        (pool(), 2, 1, None),
        (pool(), 2, 2, ("deployment", "etl/nightly", "limit-reached")),
        (pool(), 0, 0, ("deployment", "etl/nightly", "limit-reached")),
        (pool(concurrency_limit=3), None, 2, None),
        (pool(concurrency_limit=3), None, 3, ("work-pool", "etl-pool", "limit-reached")),
        (
            pool(queues=(QUEUE.model_copy(update={"concurrency_limit": 1}),)),
            None,
            1,
            ("work-queue", "etl-pool/default", "limit-reached"),
        ),
    ],
)
def test_lateness_has_its_cause_from_what_was_seen(
    place: WorkPool, limit: int | None, others: int, cause: tuple[str, str, str] | None
) -> None:
    in_pool = {"work_pool": "etl-pool", "work_queue": "default"}
    late = run("SCHEDULED", next_scheduled_start_time=NOW - minutes(20), **in_pool)
    running = [run("RUNNING", f"other-{n}", since=NOW - minutes(1), **in_pool) for n in range(others)]
    here = deployment(work_pool="etl-pool", work_queue="default", concurrency_limit=limit)
    finding = the_late(observation(late, *running, deployments=[here], work_pools={"etl-pool": place}))

    assert (finding.cause and finding.cause.what) == cause
    assert bool(finding.symptom_of) is bool(cause)


def test_no_limit_is_blamed_when_the_running_runs_are_unknown() -> None:
    late = run("SCHEDULED", next_scheduled_start_time=NOW - minutes(20))
    seen = observation(late, deployments=[deployment(concurrency_limit=0)])
    blind = seen.model_copy(update={"coverage": seen.coverage.model_copy(update={"queries": ()})})

    assert the_late(blind).cause is None
    assert the_late(seen).cause == Cause(kind="deployment", name="etl/nightly", reason="limit-reached")


def test_the_server_counts_slots_that_no_run_holds() -> None:
    late = run("SCHEDULED", next_scheduled_start_time=NOW - minutes(20), work_pool="etl-pool", work_queue="default")

    def cause(slots_taken: int, **limit: Any) -> tuple[str, str, str] | None:
        queue = QUEUE.model_copy(update={"concurrency_limit": limit.get("queue"), "slots_taken": slots_taken})
        place = pool(concurrency_limit=limit.get("pool"), slots_taken=slots_taken, queues=(queue,))
        here = deployment(concurrency_limit=limit.get("deployment"), slots_taken=slots_taken)
        why = the_late(observation(late, deployments=[here], work_pools={"etl-pool": place})).cause
        return why.what if why else None

    assert cause(2, deployment=3) is cause(2, pool=3) is cause(2, queue=3) is None
    assert cause(3, deployment=3) == ("deployment", "etl/nightly", "limit-reached")
    assert cause(3, pool=3) == ("work-pool", "etl-pool", "limit-reached")
    assert cause(3, queue=3) == ("work-queue", "etl-pool/default", "limit-reached")


def test_the_server_does_not_count_runs_that_were_running_when_the_limit_was_set() -> None:
    in_pool = {"work_pool": "etl-pool", "work_queue": "default"}
    late = run("SCHEDULED", next_scheduled_start_time=NOW - minutes(20), **in_pool)
    older = [run("RUNNING", f"older-{n}", **in_pool) for n in range(2)]
    leased = run("RUNNING", "leased", since=NOW - minutes(1), slot_leased=True, **in_pool)

    def cause(*runs: FlowRun, slots_taken: int) -> Cause | None:
        here = deployment(concurrency_limit=1, slots_taken=slots_taken)
        return the_late(observation(late, *runs, deployments=[here], work_pools={"etl-pool": pool()})).cause

    assert cause(*older, slots_taken=0) is None
    for runs, holders in (((*older, leased), ("leased",)), (tuple(older), ("older-0", "older-1"))):
        why = cause(*runs, slots_taken=1)
        assert why
        assert why.flow_run_ids == holders


@pytest.mark.parametrize(
    ("state", "limit_of", "counts"),
    [
        ("PENDING", "pool", True),
        ("RUNNING", "pool", True),
        ("CANCELLING", "pool", False),
        ("PAUSED", "pool", False),
        ("PENDING", "deployment", True),
        ("RUNNING", "deployment", True),
        ("CANCELLING", "deployment", True),
        ("PAUSED", "deployment", False),
    ],
)
def test_a_slot_is_held_in_the_states_in_which_the_server_counts_it(state: Any, limit_of: str, counts: bool) -> None:
    in_pool = {"work_pool": "etl-pool", "work_queue": "default"}
    late = run("SCHEDULED", next_scheduled_start_time=NOW - minutes(20), **in_pool)
    other = run(state, "other", since=NOW - minutes(1), **in_pool)
    here = deployment(concurrency_limit=1 if limit_of == "deployment" else None)
    place = pool(concurrency_limit=1 if limit_of == "pool" else None)

    cause = the_late(observation(late, other, deployments=[here], work_pools={"etl-pool": place})).cause
    assert bool(cause) is counts
    assert cause is None or cause.flow_run_ids == ("other",)


def test_a_full_limit_names_ten_of_its_holders_those_that_have_held_on_longest() -> None:
    late = run("SCHEDULED", next_scheduled_start_time=NOW - minutes(20))
    running = [run("RUNNING", f"holder-{n}", since=NOW - minutes(20 - n)) for n in range(12)]
    cause = the_late(observation(late, *running, deployments=[deployment(concurrency_limit=12)])).cause

    assert cause
    assert cause.flow_run_ids == tuple(f"holder-{n}" for n in range(10))


@pytest.mark.parametrize(
    ("state_name", "kind"),
    [("Scheduled", "work-pool"), ("Late", "work-pool"), ("AwaitingConcurrencySlot", "deployment")],
)
def test_of_two_full_limits_the_one_is_named_that_the_run_has_met(state_name: str, kind: str) -> None:
    fields: dict[str, Any] = {"work_pool": "etl-pool", "expected_start_time": NOW - minutes(20)}
    late = run("SCHEDULED", state_name=state_name, next_scheduled_start_time=NOW - minutes(20), **fields)
    running = run("RUNNING", "running", since=NOW - minutes(1), work_pool="etl-pool")
    here, place = deployment(concurrency_limit=1), pool(concurrency_limit=1)

    cause = the_late(observation(late, running, deployments=[here], work_pools={"etl-pool": place})).cause
    assert cause
    assert cause.kind == kind


def test_a_run_waits_in_its_own_pool_and_not_in_its_deployments() -> None:
    due: dict[str, Any] = {"next_scheduled_start_time": NOW - minutes(20)}
    here = deployment(work_pool="alive", work_queue="default")
    pools = {name: pool(id=name, name=name, live_workers=name == "alive") for name in ("alive", "dead")}
    moved = run("SCHEDULED", "moved", work_pool="dead", **due)
    plain = run("SCHEDULED", "plain", **due)

    assert the_late(observation(plain, deployments=[here], work_pools=pools)).cause is None
    cause = the_late(observation(moved, deployments=[here], work_pools=pools)).cause
    assert cause == Cause(kind="work-pool", name="dead", reason="no-live-worker")
    # Told is what most of the runs wait for.
    more = [run("SCHEDULED", f"plain-{n}", **due) for n in range(2)]
    assert the_late(observation(moved, *more, deployments=[here], work_pools=pools)).cause is None


def test_no_worker_is_missed_by_a_run_that_retries_in_its_own_process() -> None:
    fields: dict[str, Any] = {
        "state_name": "AwaitingRetry",
        "next_scheduled_start_time": NOW - minutes(20),
        "work_pool": "etl-pool",
    }
    places = {"etl-pool": pool(live_workers=0)}

    assert the_late(observation(run("SCHEDULED", **fields), work_pools=places)).cause
    in_process = run("SCHEDULED", retries_in_process=True, **fields)
    (finding,) = found(observation(in_process, work_pools=places))
    assert (finding.check, finding.cause) == ("late", None)


@pytest.mark.parametrize(
    ("state", "place", "blamed"),
    [
        ("PENDING", pool(live_workers=0), True),
        ("PENDING", pool(live_workers=1), False),
        ("PENDING", pool(live_workers=None), False),
        # It was taken before the pause, and it holds a slot itself.
        ("PENDING", pool(paused=True), False),
        ("PENDING", pool(concurrency_limit=1), False),
        ("CANCELLING", pool(live_workers=0), False),
        ("PAUSED", pool(live_workers=0), False),
    ],
)
def test_a_run_is_stuck_in_pending_where_its_worker_is_gone(state: Any, place: WorkPool, blamed: bool) -> None:
    stuck = run(state, since=NOW - hours(25), work_pool="etl-pool")
    (finding,) = found(observation(stuck, work_pools={"etl-pool": place}))

    cause = Cause(kind="work-pool", name="etl-pool", reason="no-live-worker")
    assert (finding.check, finding.cause) == ("stuck", cause if blamed else None)


RUNNING_ON = Cause(kind="flow-run", name="name of long", reason="previous-run-running", flow_run_ids=("long",))
NOT_SCHEDULING = Cause(kind="scheduler", name="prod", reason="not-scheduling")


@pytest.mark.parametrize(
    ("fields", "runs", "nothing_ahead", "cause"),
    [
        ({}, [], False, None),
        ({}, [run("RUNNING", "long", since=NOW - hours(9))], False, RUNNING_ON),
        ({"due": (NOW - hours(9), NOW - hours(3))}, [run("RUNNING", "long", since=NOW - hours(4))], False, RUNNING_ON),
        # It began after the last fire that counts: it makes up for what was missed.
        ({"due": (NOW - hours(9), NOW - hours(3))}, [run("RUNNING", "long", since=NOW - hours(2))], False, None),
        ({}, [run("PAUSED", "long", since=NOW - hours(9))], False, None),
        ({"paused": True}, [], False, Cause(kind="deployment", name="etl/nightly", reason="paused")),
        (
            {"scheduled": False, "inactive_since": NOW - hours(9)},
            [],
            False,
            Cause(kind="schedule", name="etl/nightly", reason="paused"),
        ),
        ({"scheduled": False}, [], False, None),
        ({}, [], True, NOT_SCHEDULING),
        ({}, [run("RUNNING", "long", since=NOW - hours(9))], True, RUNNING_ON),
        (
            {"work_pool": "etl-pool"},
            [run("SCHEDULED", since=NOW - minutes(2))],
            False,
            Cause(kind="work-pool", name="etl-pool", reason="no-live-worker"),
        ),
    ],
)
def test_what_keeps_a_deployment_from_succeeding(
    fields: dict[str, Any], runs: list[FlowRun], nothing_ahead: bool, cause: Cause | None
) -> None:
    here = deployment(**fields)
    ahead = {here.id: NOW - hours(1)} if nothing_ahead else {}
    places = {"etl-pool": pool(live_workers=0)}
    seen = observation(*runs, deployments=[here], nothing_ahead=ahead, work_pools=places)

    assert Causes(seen).stale(here) == cause


@pytest.mark.parametrize(
    ("state", "limit"),
    [("PENDING", minutes(30)), ("CANCELLING", minutes(15)), ("PAUSED", hours(24))],
)
def test_stuck_counts_from_the_state(state: Any, limit: timedelta) -> None:
    assert found(observation(run(state, since=NOW - limit))) == ()
    (finding,) = found(observation(run(state, since=NOW - limit - SECOND)))

    assert (finding.check, finding.severity, finding.since) == ("stuck", "warning", NOW - limit - SECOND)


def test_submitting_does_not_make_a_pending_run_young() -> None:
    young = run("PENDING", since=NOW - minutes(1), state_name="Submitting")
    seen = observation(young, pending_since={"run": NOW - minutes(31)})

    assert names(found(seen)) == [("stuck", "etl/nightly", "warning")]
    assert found(observation(young)) == ()
