"""work-pool and work-queue: due work where nothing starts it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.model.finding import Cause, Finding
from monitoring.model.observation import Backlog, Observation
from monitoring.model.prefect import FlowRun, WorkPool, WorkQueue
from tests.support.builders import NOW, UI, deployment, found, hours, minutes, names, observation, run

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
PLACE = {"work_pool": "etl", "work_queue": "default"}


def pool(**fields: Any) -> WorkPool:
    queue = WorkQueue(id="queue-id", name="default", paused=fields.pop("queue_paused", False))
    values = {"id": "pool-id", "name": "etl", "type": "process", "live_workers": 1, "queues": (queue,)}
    return WorkPool.model_validate({**values, **fields})


def due(count: int = 1, ago: timedelta = 10 * MINUTE, **fields: Any) -> list[FlowRun]:
    """Runs that are due and wait; somebody asked for them, so that nobody knew of them ahead."""
    times = {"expected_start_time": NOW - ago, "next_scheduled_start_time": NOW - ago, "created": NOW - ago}
    return [run("SCHEDULED", f"run-{n}", **{**PLACE, **times, **fields}) for n in range(count)]


def seen(place: WorkPool, *runs: FlowRun, **fields: Any) -> Observation:
    return observation(*runs, work_pools={place.name: place}, **fields)


def only(findings: tuple[Finding, ...], check: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.check == check]
    return finding


@pytest.mark.parametrize(
    ("place", "check", "subject", "severity"),
    [
        (pool(live_workers=0), "work-pool", "etl", "critical"),
        (pool(paused=True), "work-pool", "etl", "warning"),
        # Who pauses a pool need not keep a worker in it.
        (pool(paused=True, live_workers=0), "work-pool", "etl", "warning"),
        (pool(queue_paused=True), "work-queue", "etl/default", "warning"),
        (pool(queue_paused=True, live_workers=0), "work-queue", "etl/default", "warning"),
    ],
)
@pytest.mark.parametrize(
    ("ago", "fires"), [(minutes(5) - SECOND, False), (minutes(5), False), (minutes(5) + SECOND, True)]
)
def test_work_that_is_due_waits_in_vain(
    place: WorkPool, check: str, subject: str, severity: str, ago: timedelta, fires: bool
) -> None:
    assert names(found(seen(place, *due(ago=ago)))) == ([(check, subject, severity)] if fires else [])


@pytest.mark.parametrize(
    "place",
    [
        pool(),
        # Pools whose types have no workers, and those of which nobody knows.
        pool(live_workers=None),
        pool(type="ecs:push", live_workers=None),
    ],
)
def test_a_place_that_works_is_no_finding(place: WorkPool) -> None:
    assert found(seen(place, *due())) == ()


def test_a_place_without_work_is_no_finding() -> None:
    for place in (pool(live_workers=0), pool(paused=True), pool(queue_paused=True)):
        runs = (run("RUNNING", since=NOW - MINUTE, **PLACE), *due(ago=-MINUTE))
        assert found(seen(place, *runs), ahead={"enabled": False}) == ()


def test_a_run_of_a_pool_that_is_gone_is_no_pools_trouble() -> None:
    assert found(seen(pool(live_workers=0), *due(work_pool="gone"))) == ()


def test_three_hundred_runs_on_a_dead_pool_are_one_problem() -> None:
    deployments = [deployment(f"etl/{n}", **PLACE) for n in range(3)]
    late = [
        run("SCHEDULED", f"run-{n}", of=f"etl/{n % 3}", next_scheduled_start_time=NOW - hours(1), **PLACE)
        for n in range(300)
    ]
    last = NOW - minutes(42)
    findings = found(seen(pool(live_workers=0, last_heartbeat=last), *late, deployments=deployments))
    head = only(findings, "work-pool")

    assert (head.flow_run_count, len(set(head.flow_run_ids))) == (300, 300)
    assert head.cause == Cause(kind="work-pool", name="etl", reason="no-live-worker")
    assert head.summary == "etl: no live worker, and 300 runs wait"
    assert head.observed == (
        "last heartbeat of a worker 2026-11-23 11:18 UTC, 42 min ago; 300 runs wait, the oldest for 1 h"
    )
    assert head.evidence == ("etl/0: 100 runs", "etl/1: 100 runs", "etl/2: 100 runs")
    assert head.url == f"{UI}/work-pools/work-pool/etl"
    assert head.symptom_of is None
    symptoms = [finding for finding in findings if finding is not head]
    assert [finding.check for finding in symptoms] == ["late"] * 3
    assert {finding.symptom_of for finding in symptoms} == {head.fingerprint}


@pytest.mark.parametrize(
    ("last", "since"),
    [
        (None, NOW - minutes(10)),
        # The worker was there still, and had not come to it.
        (NOW - minutes(6), NOW - minutes(6)),
        (NOW - minutes(30), NOW - minutes(10)),
    ],
)
def test_it_began_when_work_was_due_and_no_worker_lived(last: Any, since: Any) -> None:
    (finding,) = found(seen(pool(live_workers=0, last_heartbeat=last), *due()))

    assert finding.since == since
    assert ("no worker has ever sent a heartbeat" in finding.observed) is (last is None)


@pytest.mark.parametrize(
    ("heard", "fires"),
    [
        # A worker that is restarted, and had not come to what waits.
        (SECOND * 95, False),
        (minutes(5), False),
        (minutes(5) + SECOND, True),
    ],
)
def test_what_waited_while_a_worker_lived_did_not_wait_for_one(heard: timedelta, fires: bool) -> None:
    place = pool(live_workers=0, last_heartbeat=NOW - heard)

    assert bool(found(seen(place, *due()))) is fires
    # A pause has nothing to do with workers.
    assert found(seen(place.model_copy(update={"paused": True}), *due()))


def test_a_queues_page_is_below_its_pools() -> None:
    (finding,) = found(seen(pool(queue_paused=True), *due(2)))

    assert finding.subject.id == "queue-id"
    assert finding.url == f"{UI}/work-pools/work-pool/etl/queue/default"
    assert finding.summary == "etl/default: paused, and 2 runs wait"
    assert finding.cause == Cause(kind="work-queue", name="etl/default", reason="paused")


def test_runs_in_a_paused_queue_do_not_wait_for_a_worker() -> None:
    fast = WorkQueue(id="fast-id", name="fast")
    place = pool(live_workers=0, queue_paused=True)
    place = place.model_copy(update={"queues": (*place.queues, fast)})
    runs = [
        *due(2),
        run("SCHEDULED", "fast", next_scheduled_start_time=NOW - minutes(10), work_pool="etl", work_queue="fast"),
    ]
    findings = found(seen(place, *runs))

    assert only(findings, "work-queue").flow_run_count == 2
    assert only(findings, "work-pool").flow_run_ids == ("fast",)


def test_runs_of_deployments_that_nobody_watches_do_not_count() -> None:
    rules = [{"match": {"deployment": "etl/*"}, "watch": False}]

    assert found(seen(pool(live_workers=0), *due()), rules=rules) == ()


@pytest.mark.parametrize(
    ("section", "place"), [("work_pool", pool(live_workers=0)), ("work_queue", pool(queue_paused=True))]
)
def test_a_pools_own_settings_hold_for_it(section: str, place: WorkPool) -> None:
    def finds(**settings: Any) -> bool:
        return bool(found(seen(place, *due()), **settings))

    assert not finds(**{section: {"enabled": False}})
    assert not finds(**{section: {"after": "10m"}})
    assert finds(**{section: {"after": "9m"}})
    assert not finds(rules=[{"match": {"pool": "etl"}, section: {"after": "10m"}}])
    # A rule for some of the deployments in a pool is none for the pool.
    assert finds(rules=[{"match": {"pool": "etl", "deployment": "etl/*"}, section: {"after": "10m"}}])


def grown(*counts: int, over: timedelta = 30 * MINUTE) -> dict[str, Backlog]:
    steps = len(counts) - 1
    return {"etl": Backlog(samples=tuple((NOW - over * (steps - n) / steps, count) for n, count in enumerate(counts)))}


@pytest.mark.parametrize(
    ("waiting", "backlog", "fires"),
    [
        (10, grown(2, 5, 7, 10), True),
        (10, grown(0, 1, 2, 10), True),
        (9, grown(2, 5, 7, 9), False),
        (10, grown(2, 5, 5, 10), False),
        (10, grown(6, 5, 7, 10), False),
        (10, grown(2, 5, 10, 10), False),
        (10, grown(2, 5, 7, 10, over=minutes(30) - SECOND), False),
        (10, {}, False),
    ],
)
def test_a_backlog_that_grows_is_a_finding(waiting: int, backlog: dict[str, Backlog], fires: bool) -> None:
    findings = found(seen(pool(), *due(waiting), backlogs=backlog))

    assert names(findings) == ([("work-pool", "etl", "warning")] if fires else [])
    assert all(finding.cause is None for finding in findings)


def test_a_growing_backlog_says_how() -> None:
    (finding,) = found(seen(pool(live_workers=2), *due(40), backlogs=grown(3, 12, 25, 40)))

    assert finding.summary == "etl: the backlog has grown for 30 min, from 3 to 40 runs"
    assert finding.observed == "runs waiting, over 30 min: 3, 12, 25, 40; live workers: 2"
    assert finding.flow_run_count == 40


@pytest.mark.parametrize(
    ("place", "limit", "held_up"),
    [
        (pool(paused=True), None, True),
        (pool(live_workers=0), None, True),
        (pool(queue_paused=True), None, False),
        (pool(concurrency_limit=1), None, False),
        (pool(), 1, False),
    ],
)
def test_a_backlog_that_something_explains_is_no_finding_of_its_own(
    place: WorkPool, limit: int | None, held_up: bool
) -> None:
    running = run("RUNNING", "running", since=NOW - minutes(1), **PLACE)
    here = [deployment(concurrency_limit=limit)]
    findings = found(seen(place, *due(10), running, deployments=here, backlogs=grown(2, 5, 7, 10)))

    assert "backlog" not in " ".join(finding.summary for finding in findings)
    assert any(finding.check == "work-pool" for finding in findings) is held_up
