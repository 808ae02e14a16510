"""late and stuck: runs that wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.model import Cause, WorkPool, WorkQueue
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
def test_a_refused_slot_moves_the_next_start_and_not_the_lateness(
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
    assert finding.summary == "etl/nightly: 300 runs late, the oldest by 5 h 19 min"


def test_a_finding_carries_at_most_a_thousand_ids() -> None:
    late = [run("SCHEDULED", f"run-{n}", next_scheduled_start_time=NOW - hours(1)) for n in range(1001)]
    (finding,) = found(observation(*late))

    assert (len(finding.flow_run_ids), finding.flow_run_count) == (1000, 1001)


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
    (finding,) = found(observation(late, *running, deployments=[here], work_pools={"etl-pool": place}))

    why = finding.cause
    assert (why and (why.kind, why.name, why.reason)) == cause


def test_no_limit_is_blamed_when_the_running_runs_are_unknown() -> None:
    late = run("SCHEDULED", next_scheduled_start_time=NOW - minutes(20))
    seen = observation(late, deployments=[deployment(concurrency_limit=0)])
    blind = seen.model_copy(update={"coverage": seen.coverage.model_copy(update={"queries": ()})})

    assert [finding.cause for finding in found(blind)] == [None]
    assert [finding.cause for finding in found(seen)] == [
        Cause(kind="deployment", name="etl/nightly", reason="limit-reached")
    ]


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
