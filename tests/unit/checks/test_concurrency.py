"""Full limits: when they hold runs up for too long, and when nobody will give their slots back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.model.finding import Finding
from monitoring.model.ledger import EndedRun, Ledger, Record
from monitoring.model.observation import ConcurrencyLimit, Heartbeats, Holder, Observation
from monitoring.model.prefect import FlowRun, WorkPool, WorkQueue
from tests.support.builders import NOW, complete, deployment, found, hours, minutes, observation, run

SECOND = timedelta(seconds=1)
LONG, LONGER = minutes(15), minutes(15) + SECOND
REFUSED = "Deployment concurrency limit reached."
IN_POOL = {"work_pool": "etl-pool", "work_queue": "default"}


def waiting(waits: timedelta, run_id: str = "waiting", **fields: Any) -> FlowRun:
    values = {"expected_start_time": NOW - waits, "state_name": "AwaitingConcurrencySlot", **IN_POOL, **fields}
    return run("SCHEDULED", run_id, next_scheduled_start_time=NOW + SECOND, **values)


def holding(run_id: str = "holder", **fields: Any) -> FlowRun:
    return run("RUNNING", run_id, **{"since": NOW - hours(3) - minutes(5), **IN_POOL, **fields})


def seen(*runs: FlowRun, limit: int = 1, taken: int | None = None, **fields: Any) -> Observation:
    """A deployment with a limit, and all that could be read of who holds its slots."""
    here = deployment(concurrency_limit=limit, slots_taken=taken, work_pool="etl-pool", work_queue="default")
    values = {"coverage": complete("limit-holders"), "deployments": [here], **fields}
    return observation(*runs, **values)


def of_limits(findings: tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in findings if finding.check == "concurrency"]


@pytest.mark.parametrize(("waits", "is_one"), [(LONG, False), (LONGER, True)])
@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "CANCELLING"])
def test_a_deployments_full_limit_is_one_when_runs_wait_too_long(state: Any, waits: timedelta, is_one: bool) -> None:
    findings = found(seen(waiting(waits), run(state, "holder", since=NOW - minutes(5), **IN_POOL)))

    assert [finding.subject.name for finding in of_limits(findings)] == (["etl/nightly"] if is_one else [])


def test_it_names_holders_and_is_found_once() -> None:
    findings = found(seen(waiting(minutes(40), "second"), waiting(minutes(50), "first"), holding()))
    (head,) = of_limits(findings)
    (late,) = [finding for finding in findings if finding.check == "late"]

    assert late.symptom_of == head.fingerprint
    assert head.severity == "warning"
    assert head.summary == "etl/nightly: limit of 1 reached, and 2 runs wait"
    assert head.observed == "1 of 1 slot taken; 2 runs wait, the longest for 50 min"
    assert head.expected == "a slot within 15 min"
    assert head.evidence == ("name of holder: Running for 3 h 5 min",)
    assert head.since == NOW - minutes(50)
    assert head.flow_run_ids == ("first", "second")
    assert head.cause
    assert head.cause.what == ("deployment", "etl/nightly", "limit-reached")
    assert head.cause.flow_run_ids == ("holder",)
    assert head.url == "http://ui.example/deployments/deployment/etl%2Fnightly"


@pytest.mark.parametrize(
    ("runs", "limit"),
    [
        ((waiting(hours(1)), holding()), 2),
        ((holding("one"), holding("two")), 1),
        ((waiting(hours(1)), holding(of="etl/other")), 1),
    ],
    ids=["a slot is free", "nobody waits", "held elsewhere"],
)
def test_a_limit_that_holds_nobody_up_is_as_it_should_be(runs: tuple[FlowRun, ...], limit: int) -> None:
    assert of_limits(found(seen(*runs, limit=limit))) == []


def test_a_limit_of_nothing_lets_nothing_start() -> None:
    (finding,) = of_limits(found(seen(run("SCHEDULED", state_name="Late", since=NOW - LONGER), limit=0)))

    assert finding.summary == "etl/nightly: its limit is 0, so nothing can start, and 1 run waits"
    assert finding.expected == "a limit of at least 1"


@pytest.mark.parametrize("on", [{"enabled": False}, {"after": "2h"}])
def test_the_owner_says_whether_and_when(on: dict[str, Any]) -> None:
    busy = seen(waiting(hours(1)), holding())

    assert of_limits(found(busy, rules=[{"match": {"deployment": "etl/*"}, "concurrency": on}])) == []


def test_who_holds_a_slot_may_be_dead_or_stuck() -> None:
    holders = (
        holding("dead", since=NOW - hours(5)),
        run("PENDING", "pending", since=NOW - minutes(31)),
        run("CANCELLING", "cancelling", since=NOW - minutes(16)),
        run("PENDING", "new", since=NOW - minutes(1)),
    )
    beats = {"dead": Heartbeats(count=2, first=NOW - hours(4) - minutes(3), last=NOW - hours(4))}
    (finding,) = of_limits(found(seen(waiting(hours(1)), *holders, limit=4, heartbeats=beats)))

    assert finding.evidence == (
        "name of dead: Running, but without a heartbeat for 4 h",
        "name of pending: stuck in Pending for 31 min",
        "name of cancelling: stuck in Cancelling for 16 min",
        "name of new: Pending for 1 min",
    )


def test_of_many_holders_some_are_named_and_no_name_is_endless() -> None:
    many = [holding(f"holder-{n}", name="x" * 500, since=NOW - hours(9)) for n in range(12)]
    (finding,) = of_limits(found(seen(waiting(hours(1)), *many, limit=12)))

    assert len(finding.evidence) == 6
    assert finding.evidence[-1] == "and 7 more"
    assert max(map(len, finding.evidence)) < 120


# --- slots that no live run holds ------------------------------------------------------------------


def ended_before(ago: timedelta) -> Ledger:
    last = EndedRun(id="old", name="old", state_type="CRASHED", state_name="Crashed", ended=NOW - ago)
    return Ledger(cursor=NOW - minutes(5), records={"etl/nightly": Record(last_ended=last)})


@pytest.mark.parametrize(("ago", "is_one"), [(LONG, False), (LONGER, True)])
def test_a_slot_that_no_live_run_holds_is_one_by_itself(ago: timedelta, is_one: bool) -> None:
    findings = of_limits(found(seen(taken=1), ended_before(ago)))

    assert len(findings) == is_one
    for finding in findings:
        assert finding.summary == "etl/nightly: 1 of 1 slot held by no live run"
        assert finding.since == NOW - ago
        assert finding.evidence == (
            "1 slot is held by no live run since 2026-11-23 11:44 UTC: has the server restarted since?",
            "to free the lost slots: prefect global-concurrency-limit update deployment:etl/nightly --active-slots 0",
        )


def test_runs_that_wait_for_a_lost_slot_are_late_because_of_it() -> None:
    findings = found(seen(waiting(minutes(20)), holding(), limit=2, taken=2), ended_before(hours(1)))
    (head,) = of_limits(findings)
    (late,) = [finding for finding in findings if finding.check == "late"]

    assert head.summary == "etl/nightly: 1 of 2 slots held by no live run, and 1 run waits"
    assert head.evidence[0] == "name of holder: Running for 3 h 5 min"
    assert head.evidence[-1].endswith("--active-slots 1")
    assert late.symptom_of == head.fingerprint


def test_runs_that_are_cancelled_for_a_lost_slot_are_found() -> None:
    refused = run("CANCELLED", "refused", since=NOW - minutes(4), message=REFUSED)
    (finding,) = of_limits(found(seen(refused, taken=1), ended_before(hours(2))))

    assert finding.summary == "etl/nightly: 1 of 1 slot held by no live run, and 1 run cancelled for lack of a slot"
    assert "1 run cancelled since 2026-11-23 11:56 UTC: Deployment concurrency limit reached." in finding.evidence


@pytest.mark.parametrize(
    "runs",
    [
        (run("CANCELLED", "stopped", since=NOW - minutes(2), message="stop it"),),
        (run("COMPLETED", "short", since=NOW - minutes(2)),),
        (holding(),),
        (run("SCHEDULED", "again", state_name="AwaitingRetry", retries_in_process=True, start_time=NOW - hours(1)),),
    ],
    ids=["it was cancelled just now", "it ended just now", "it is held", "it is kept for a retry"],
)
def test_a_slot_that_somebody_may_hold_is_not_lost(runs: tuple[FlowRun, ...]) -> None:
    assert of_limits(found(seen(*runs, taken=1), ended_before(hours(2)))) == []


def test_nothing_is_lost_where_a_run_began_and_ended_while_we_looked() -> None:
    moving = seen(taken=1, moving=frozenset({"etl/nightly"}))

    assert of_limits(found(moving, ended_before(hours(2)))) == []
    assert len(of_limits(found(seen(taken=1, moving=frozenset({"other"})), ended_before(hours(2))))) == 1


@pytest.mark.parametrize("missing", ["active-runs", "due-runs", "limit-holders"])
def test_nothing_is_lost_where_holders_may_not_have_been_seen(missing: str) -> None:
    whole = seen(taken=1)
    queries = tuple(query for query in whole.coverage.queries if query.name != missing)
    part = whole.model_copy(update={"coverage": whole.coverage.model_copy(update={"queries": queries})})

    assert of_limits(found(part, ended_before(hours(2)))) == []


# --- work pools and queues -------------------------------------------------------------------------


def pools(*, pool_limit: int | None = None, queue_limit: int | None = None, live: int = 1) -> dict[str, WorkPool]:
    queue = WorkQueue(id="queue-id", name="default", concurrency_limit=queue_limit)
    pool = WorkPool(
        id="pool-id", name="etl-pool", type="process", live_workers=live, concurrency_limit=pool_limit, queues=(queue,)
    )
    return {"etl-pool": pool}


@pytest.mark.parametrize(("waits", "is_one"), [(LONG, False), (LONGER, True)])
@pytest.mark.parametrize(
    ("places", "subject", "page"),
    [
        (pools(pool_limit=1), ("work-pool", "pool-id", "etl-pool"), "work-pools/work-pool/etl-pool"),
        (
            pools(queue_limit=1),
            ("work-queue", "queue-id", "etl-pool/default"),
            "work-pools/work-pool/etl-pool/queue/default",
        ),
    ],
    ids=["pool", "queue"],
)
def test_a_place_that_is_full_holds_the_runs_of_all_its_deployments_up(
    places: dict[str, WorkPool], subject: tuple[str, str, str], page: str, waits: timedelta, is_one: bool
) -> None:
    both = [deployment(name, work_pool="etl-pool", work_queue="default") for name in ("etl/a", "etl/b")]
    runs = (waiting(waits, "one", of="etl/a"), waiting(waits, "two", of="etl/b"), holding(of="etl/b"))
    findings = found(observation(*runs, deployments=both, work_pools=places))

    assert len(of_limits(findings)) == is_one
    for head in of_limits(findings):
        assert (head.subject.kind, head.subject.id, head.subject.name) == subject
        assert head.summary == f"{subject[2]}: limit of 1 reached, and 2 runs wait"
        assert head.evidence == ("name of holder: Running for 3 h 5 min",)
        assert head.url == f"http://ui.example/{page}"
        assert {late.symptom_of for late in findings if late.check == "late"} == {head.fingerprint}


def test_a_place_without_a_worker_is_no_matter_of_its_limit() -> None:
    places = pools(pool_limit=1, live=0)

    assert of_limits(found(seen(waiting(hours(1)), holding(), limit=9, work_pools=places))) == []


def test_the_pools_own_policy_holds() -> None:
    busy = seen(waiting(hours(1)), holding(), limit=9, work_pools=pools(pool_limit=1))
    off = [{"match": {"pool": "etl-pool"}, "concurrency": {"enabled": False}}]

    assert len(of_limits(found(busy))) == 1
    assert of_limits(found(busy, rules=off)) == []


# --- limits of tags --------------------------------------------------------------------------------


def holder(run_id: str = "holder", **fields: Any) -> Holder:
    values = {"name": f"name of {run_id}", "state_name": "Running", "since": NOW - hours(3), "flow_run_id": run_id}
    return Holder.model_validate({**values, **fields})


def tag(waits: dict[str, datetime], *holders: Holder, **fields: Any) -> ConcurrencyLimit:
    values = {"kind": "tag", "id": "limit-id", "name": "database", "limit": 1, "taken": 1}
    return ConcurrencyLimit.model_validate({**values, "waiting": waits, "holders": holders, **fields})


@pytest.mark.parametrize(("waits", "is_one"), [(LONG, False), (LONGER, True)])
def test_a_tags_full_limit_is_one_when_running_runs_wait_too_long(waits: timedelta, is_one: bool) -> None:
    limit = tag({"slow": NOW - waits, "new": NOW - minutes(1)}, holder())
    findings = of_limits(found(seen(holding("slow"), holding("new"), limit=9, full=(limit,))))

    assert len(findings) == is_one
    for finding in findings:
        assert (finding.subject.kind, finding.subject.id, finding.subject.name) == ("tag", "database", "database")
        assert finding.summary == "database: limit of 1 reached for task runs, and 2 running runs wait"
        assert finding.observed == "1 of 1 slot taken; 2 running runs wait, the longest for 15 min 1 s"
        assert finding.flow_run_ids == ("slow", "new")
        assert finding.evidence == ("name of holder: Running for 3 h",)
        assert finding.cause
        assert finding.cause.what == ("tag", "database", "limit-reached")
        assert finding.cause.flow_run_ids == ("holder",)
        assert finding.url == "http://ui.example/concurrency-limits"


def test_a_run_whose_own_tasks_hold_the_slots_is_throttled_as_was_meant() -> None:
    assert of_limits(found(seen(holding(), limit=9, full=(tag({"holder": NOW - hours(1)}, holder()),)))) == []


def test_what_a_tags_slots_are_lost_to_is_shown_with_what_to_do() -> None:
    ended = holder("over", state_name="Crashed", since=NOW - hours(2), ended=True)
    limit = tag({"slow": NOW - hours(1)}, ended, limit=2, taken=2, more_holders=True)
    (finding,) = of_limits(found(seen(holding("slow"), limit=9, full=(limit,))))

    assert finding.evidence == (
        "name of over: Crashed 2 h ago",
        "slots whose holders the server does not know: 1",
        "to free all its slots: prefect concurrency-limit reset database",
    )


def test_the_setting_for_everything_holds_for_tags() -> None:
    waits = seen(holding("slow"), limit=9, full=(tag({"slow": NOW - hours(1)}, holder()),))

    assert of_limits(found(waits, concurrency={"after": "2h"})) == []
    assert of_limits(found(waits, concurrency={"enabled": False})) == []


# --- global limits ---------------------------------------------------------------------------------


def of_code(*holders: Holder, **fields: Any) -> ConcurrencyLimit:
    values = {"kind": "global-concurrency-limit", "id": "limit-id", "name": "the api", "limit": 1, "taken": 1}
    return ConcurrencyLimit.model_validate({**values, "holders": holders, **fields})


def over(ago: timedelta, run_id: str = "over", **fields: Any) -> Holder:
    return holder(run_id, state_name="Crashed", since=NOW - ago, ended=True, **fields)


@pytest.mark.parametrize(
    "limit",
    [
        of_code(),
        of_code(holder()),
        of_code(over(LONG)),
        of_code(over(hours(2)), holder()),
        of_code(over(hours(2)), more_holders=True),
    ],
    ids=["held by nobody known", "held by a live run", "it ended just now", "a live run has the slot", "others may"],
)
def test_a_full_global_limit_is_as_it_should_be(limit: ConcurrencyLimit) -> None:
    assert of_limits(found(seen(full=(limit,)))) == []


def test_a_global_limit_whose_slots_are_held_by_runs_that_are_over_is_one() -> None:
    limit = of_code(over(LONGER, slots=2), holder(), limit=3, taken=3)
    (finding,) = of_limits(found(seen(full=(limit,))))

    assert finding.severity == "warning"
    assert finding.subject.kind == "global-concurrency-limit"
    assert finding.summary == "the api: full, and slots are held by runs that have ended: 2 of 3"
    assert finding.since == NOW - LONGER
    assert finding.flow_run_ids == ("over",)
    assert finding.evidence == (
        "name of over: Crashed 15 min 1 s ago, with 2 slots",
        "Prefect does not show which runs wait for it",
        "to free the lost slots: prefect global-concurrency-limit update 'the api' --active-slots 1",
    )


@pytest.mark.parametrize(("silent", "is_one"), [(LONG, False), (LONGER, True)])
def test_a_run_without_a_sign_of_life_counts_as_over(silent: timedelta, is_one: bool) -> None:
    beats = {"dead": Heartbeats(count=2, first=NOW - silent - minutes(3), last=NOW - silent)}
    dead = holding("dead")
    findings = found(seen(dead, limit=9, heartbeats=beats, full=(of_code(holder("dead")),)))

    assert len(of_limits(findings)) == is_one


@pytest.mark.parametrize(
    ("state", "since", "skips", "is_one"),
    [
        ("PENDING", hours(1), True, True),
        ("PENDING", minutes(44), True, False),
        ("CANCELLING", hours(1), True, True),
        ("PENDING", hours(1), False, False),
        # Nothing is known of how long its runs take.
        ("RUNNING", hours(9), True, False),
    ],
)
def test_runs_are_cancelled_behind_one_that_is_stuck(state: Any, since: timedelta, skips: bool, is_one: bool) -> None:
    rejected = run("CANCELLED", "rejected", since=NOW - minutes(1), message=REFUSED)
    holder = run(state, "holder", since=NOW - since, **IN_POOL)
    here = deployment(concurrency_limit=1, slots_taken=1, skips_overlaps=skips, scheduled=False)

    findings = of_limits(found(seen(rejected, holder, deployments=[here])))

    assert [finding.severity for finding in findings] == (["warning"] if is_one else [])
    for finding in findings:
        assert finding.cause
        assert finding.cause.what == ("flow-run", "name of holder", "previous-run-running")
        assert finding.flow_run_ids == ("rejected",)
