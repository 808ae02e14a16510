"""ahead: work that is due soon and will not be able to start."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.model.finding import Cause, Finding
from monitoring.model.ledger import Ledger, Record, RunTimes
from monitoring.model.prefect import Deployment, FlowRun, WorkPool, WorkQueue
from tests.support.builders import NOW, UI, complete, deployment, found, hours, minutes, names, observation, run

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
PLACE: dict[str, Any] = {"work_pool": "etl", "work_queue": "default"}


def pool(**fields: Any) -> WorkPool:
    queue = WorkQueue(id="queue-id", name="default", **fields.pop("queue", {}))
    values = {"id": "pool-id", "name": "etl", "type": "process", "live_workers": 1, "queues": (queue,)}
    return WorkPool.model_validate({**values, **fields})


def due(*ahead: timedelta, of: str = "etl/nightly", **fields: Any) -> list[FlowRun]:
    """Runs that are due so far ahead."""
    return [
        run(
            "SCHEDULED",
            f"{of} {n}",
            of=of,
            expected_start_time=NOW + span,
            created=NOW - hours(5),
            **{**PLACE, **fields},
        )
        for n, span in enumerate(ahead)
    ]


def look(
    place: WorkPool, upcoming: list[FlowRun], *active: FlowRun, ledger: Ledger | None = None, **fields: Any
) -> tuple[Finding, ...]:
    settings = fields.pop("settings", {})
    here = observation(*active, work_pools={"etl": place}, upcoming=tuple(upcoming), **fields)
    return found(here, ledger, **settings)


@pytest.mark.parametrize(
    ("place", "subject", "what"),
    [
        (pool(live_workers=0), "etl", "it has no live worker"),
        (pool(paused=True), "etl", "it is paused"),
        (pool(queue={"paused": True}), "etl/default", "it is paused"),
        (pool(), None, ""),
        (pool(live_workers=None), None, ""),
        # Full now, and nobody knows for how long.
        (pool(concurrency_limit=1, slots_taken=1), None, ""),
    ],
)
def test_work_that_is_due_where_nothing_will_start_it(place: WorkPool, subject: str | None, what: str) -> None:
    findings = look(place, due(hours(2), hours(2)))

    assert names(findings) == ([("ahead", subject, "warning")] if subject else [])
    for finding in findings:
        assert finding.summary == f"{subject}: 2 runs are due at 2026-11-23 14:00 UTC, and {what}"
        assert finding.flow_run_count == 2
        assert finding.evidence == ("etl/nightly: 2 runs",)


@pytest.mark.parametrize(("ahead", "fires"), [(hours(12), True), (hours(12) + SECOND, False), (SECOND, True)])
def test_it_looks_so_far_ahead(ahead: timedelta, fires: bool) -> None:
    assert bool(look(pool(live_workers=0), due(ahead))) is fires


def test_it_says_when_the_first_is_due() -> None:
    (finding,) = look(pool(live_workers=0), due(hours(9), hours(3), hours(5)))

    assert finding.summary == "etl: 3 runs are due from 2026-11-23 15:00 UTC on, and it has no live worker"
    assert finding.observed == "no worker has ever sent a heartbeat; 3 runs are due, the first at 2026-11-23 15:00 UTC"
    assert finding.expected == "able to start at 2026-11-23 15:00 UTC"
    assert finding.url == f"{UI}/work-pools/work-pool/etl"


def test_of_more_than_was_read_it_says_at_least() -> None:
    for cut in ({"etl"}, {"etl/default"}):
        (finding,) = look(pool(queue={"paused": True}), due(hours(1), hours(1)), upcoming_cut=cut)
        assert finding.summary == "etl/default: at least 2 runs are due at 2026-11-23 13:00 UTC, and it is paused"


def test_runs_that_the_server_has_not_made_yet_count_at_a_closed_place() -> None:
    upcoming, more = [*due(hours(1), hours(2), of="etl/a"), *due(hours(3), of="etl/b")], {"etl/a": 9, "etl/other": 5}
    here = [deployment("etl/a", work_pool="etl"), deployment("etl/b", work_pool="etl")]
    (finding,) = look(pool(live_workers=0), upcoming, deployments=here, upcoming_later=more)

    assert finding.summary == "etl: 12 runs are due from 2026-11-23 13:00 UTC on, and it has no live worker"
    assert (finding.flow_run_count, len(finding.flow_run_ids)) == (12, 3)
    assert finding.evidence == ("etl/a: 11 runs", "etl/b: 1 run")


def test_one_place_is_one_finding_whosever_runs_it_holds_up() -> None:
    upcoming = [*due(hours(1), hours(2), of="etl/a"), *due(hours(3), of="etl/b")]
    findings = look(pool(live_workers=0), upcoming, deployments=[deployment("etl/a"), deployment("etl/b")])

    assert [finding.flow_run_count for finding in findings] == [3]
    assert findings[0].evidence == ("etl/a: 2 runs", "etl/b: 1 run")


def test_what_is_late_there_already_says_it_with_it() -> None:
    late = run("SCHEDULED", "late", next_scheduled_start_time=NOW - hours(1), **PLACE)
    findings = {finding.check: finding for finding in look(pool(live_workers=0), due(hours(1)), late)}

    assert set(findings) == {"work-pool", "late", "ahead"}
    assert findings["ahead"].symptom_of == findings["work-pool"].fingerprint


@pytest.mark.parametrize(
    ("last_heartbeat", "since"),
    [(None, NOW - hours(5)), (NOW - hours(6), NOW - hours(5)), (NOW - hours(4), NOW - hours(4))],
)
def test_it_holds_since_the_work_is_planned_and_the_worker_gone(last_heartbeat: Any, since: datetime) -> None:
    (finding,) = look(pool(live_workers=0, last_heartbeat=last_heartbeat), due(hours(1)))

    assert finding.since == since


@pytest.mark.parametrize(
    "settings",
    [
        {"ahead": {"enabled": False}},
        {"ahead": {"within": "1h59m"}},
        {"rules": [{"match": {"deployment": "etl/*"}, "watch": False}]},
        {"rules": [{"match": {"deployment": "etl/*"}, "ahead": {"enabled": False}}]},
    ],
)
def test_work_whose_owners_turned_the_check_off_does_not_count(settings: dict[str, Any]) -> None:
    assert look(pool(live_workers=0), due(hours(2)), settings=settings) == ()


def usually(*lengths: timedelta, of: str = "etl/nightly") -> Ledger:
    """What is remembered of a deployment whose runs took so long."""
    times = tuple((n, length.total_seconds()) for n, length in enumerate(lengths))
    return Ledger(records={of: Record(run_times=RunTimes(recent=times), schedule="daily")})


def holder(run_id: str = "holder", *, began: timedelta = HOUR, **fields: Any) -> FlowRun:
    return run("RUNNING", run_id, since=NOW - began, **{**PLACE, **fields})


def limited(limit: int, of: str) -> dict[str, Any]:
    """A limit of the pool, the queue or the deployment."""
    where: dict[str, Any] = {"place": pool(), "deployments": [deployment()]}
    if of == "pool":
        where["place"] = pool(concurrency_limit=limit)
    elif of == "queue":
        where["place"] = pool(queue={"concurrency_limit": limit})
    else:
        where["deployments"] = [deployment(concurrency_limit=limit)]
    return where


def held(limit: dict[str, Any], upcoming: list[FlowRun], holders: list[FlowRun], ledger: Ledger) -> tuple[Finding, ...]:
    """The findings ahead; that runs without heartbeats cannot be judged is not tested here."""
    findings = look(
        limit["place"], upcoming, *holders, ledger=ledger, deployments=limit["deployments"], coverage=complete()
    )
    return tuple(finding for finding in findings if finding.check == "ahead")


@pytest.mark.parametrize(
    ("of", "cause"),
    [
        ("pool", ("work-pool", "etl", "limit-reached")),
        ("queue", ("work-queue", "etl/default", "limit-reached")),
        ("deployment", ("deployment", "etl/nightly", "limit-reached")),
    ],
)
@pytest.mark.parametrize(
    # It began an hour ago and takes three: what comes due in 1 h 45 min can start a quarter of an hour later.
    ("ahead", "fires"),
    [(hours(1), True), (minutes(105) - SECOND, True), (minutes(105), False), (hours(2), False)],
)
def test_a_limit_that_what_runs_will_still_fill(
    of: str, cause: tuple[str, str, str], ahead: timedelta, fires: bool
) -> None:
    findings = held(limited(1, of), due(ahead), [holder()], usually(hours(3)))

    assert bool(findings) is fires
    for finding in findings:
        assert finding.cause
        assert finding.cause.what == cause
        assert finding.cause.flow_run_ids == ("holder",)
        assert finding.since == NOW - hours(1)
        assert "its limit of 1 will still be full" in finding.summary
        assert "expected to run until 2026-11-23 14:00 UTC" in finding.observed


@pytest.mark.parametrize(
    ("limit", "holders", "ledger", "fires"),
    [
        (2, [holder("a"), holder("b")], usually(hours(3)), True),
        (2, [holder("a"), holder("b"), holder("c")], usually(hours(3)), True),
        # A slot becomes free before, or is.
        (2, [holder("a"), holder("b", began=hours(2))], usually(hours(3)), False),
        (3, [holder("a"), holder("b")], usually(hours(3)), False),
        # It should have ended by now: nobody knows when it will.
        (1, [holder(began=hours(4))], usually(hours(3)), False),
        (1, [holder()], usually(), False),
        (1, [holder(state_type="CANCELLING")], usually(hours(3)), False),
        # It had run for 2 h 30 min before it paused, and needs half an hour more.
        (1, [holder(began=minutes(5), total_run_time=minutes(150))], usually(hours(3)), False),
        (1, [holder(began=minutes(5), total_run_time=minutes(60))], usually(hours(3)), True),
        (0, [], usually(hours(3)), True),
    ],
)
def test_a_limit_is_full_while_as_many_runs_go_on_as_it_allows(
    limit: int, holders: list[FlowRun], ledger: Ledger, fires: bool
) -> None:
    assert bool(held(limited(limit, "deployment"), due(hours(1)), holders, ledger)) is fires


def test_of_two_full_limits_the_one_is_named_that_stays_full() -> None:
    here: list[Deployment] = [deployment(concurrency_limit=1), deployment("etl/other")]
    short = holder("short", of="etl/other")
    findings = look(
        pool(concurrency_limit=2),
        due(hours(1)),
        holder(),
        short,
        ledger=usually(hours(3)),
        deployments=here,
        coverage=complete(),
    )

    (finding,) = [finding for finding in findings if finding.check == "ahead"]
    assert finding.cause == Cause(
        kind="deployment", name="etl/nightly", reason="limit-reached", flow_run_ids=("holder",)
    )
    assert (finding.flow, finding.deployment) == ("etl", "etl/nightly")
    assert finding.url == f"{UI}/deployments/deployment/etl%2Fnightly"


@pytest.mark.parametrize(
    ("heard", "says"),
    [(minutes(5) - SECOND, False), (minutes(5), True), (minutes(6), True), (None, True)],
)
def test_a_worker_that_is_restarted_is_soon_back(heard: timedelta | None, says: bool) -> None:
    place = pool(live_workers=0, last_heartbeat=NOW - heard if heard else None)

    assert [finding.check for finding in look(place, due(hours(2)))] == (["ahead"] if says else [])


@pytest.mark.parametrize(
    ("ago", "planned", "checks"),
    [
        # What was humanized of ahead is humanized of until the pool itself is.
        (minutes(0), hours(1), ["ahead"]),
        (minutes(5), hours(1), ["ahead"]),
        (minutes(5) + SECOND, hours(1), ["work-pool"]),
        # A run that somebody has just asked for is new.
        (minutes(5), minutes(5), ["ahead"]),
        (minutes(5), minutes(5) - SECOND, []),
    ],
)
def test_there_is_no_gap_between_ahead_and_due(ago: timedelta, planned: timedelta, checks: list[str]) -> None:
    waiting = run("SCHEDULED", since=NOW - ago, created=NOW - ago - planned, **PLACE)

    assert [finding.check for finding in look(pool(live_workers=0), [], waiting)] == checks


@pytest.mark.parametrize(
    ("place", "oldest", "checks"),
    [
        (pool(paused=True), minutes(5), ["ahead"]),
        (pool(paused=True), minutes(5) + SECOND, ["work-pool"]),
        (pool(live_workers=0), minutes(5) + SECOND, ["work-pool"]),
        (pool(queue={"paused": True}), minutes(5) + SECOND, ["work-queue"]),
        # The pool's own check says nothing of it yet, nor does anybody need to.
        (pool(live_workers=0, last_heartbeat=NOW - minutes(2)), minutes(6), []),
    ],
)
def test_what_has_just_come_due_changes_nothing_for_a_pool_that_is_reported(
    place: WorkPool, oldest: timedelta, checks: list[str]
) -> None:
    waiting = [
        run("SCHEDULED", f"run-{n}", since=NOW - ago, created=NOW - hours(5), **PLACE)
        for n, ago in enumerate((oldest, minutes(3), minutes(1)))
    ]

    assert [finding.check for finding in look(place, [], *waiting)] == checks
    # What is still to come is news, shown with the rest.
    assert [finding.check for finding in look(place, due(hours(1)), *waiting)] == sorted(
        {*checks, *(["ahead"] if checks else [])}, reverse=True
    )


@pytest.mark.parametrize(("oldest", "checks"), [(minutes(15), ["ahead"]), (minutes(15) + SECOND, ["concurrency"])])
def test_nor_of_a_limit(oldest: timedelta, checks: list[str]) -> None:
    waiting = [
        run("SCHEDULED", f"run-{n}", since=NOW - ago, created=NOW - hours(5), **PLACE)
        for n, ago in enumerate((oldest, minutes(3)))
    ]
    where = {"deployments": [deployment(concurrency_limit=1)], "settings": {"late": {"after": "20m"}}}
    findings = look(pool(), [], holder(), *waiting, ledger=usually(hours(3)), coverage=complete(), **where)

    assert [finding.check for finding in findings] == checks


def test_a_queues_own_limit_holds_for_it() -> None:
    waiting = run("SCHEDULED", since=NOW - minutes(8), created=NOW - hours(5), **PLACE)
    place = pool(queue={"paused": True})

    assert names(look(place, [], waiting, settings={"work_queue": {"after": "8m"}})) == [
        ("ahead", "etl/default", "warning")
    ]


@pytest.mark.parametrize(
    ("limit", "skips", "fires"),
    [(1, False, True), (1, True, False), (0, True, True), (0, False, True)],
)
def test_a_deployment_that_skips_overlaps_is_meant_to(limit: int, skips: bool, fires: bool) -> None:
    here = [deployment(concurrency_limit=limit, skips_overlaps=skips)]
    holders = [holder()] if limit else []
    findings = look(pool(), due(hours(1)), *holders, ledger=usually(hours(3)), deployments=here, coverage=complete())

    assert names(findings) == ([("ahead", "etl/nightly", "warning")] if fires else [])


def test_what_skips_overlaps_waits_for_other_limits_all_the_same() -> None:
    here = [deployment(concurrency_limit=1, skips_overlaps=True)]
    findings = look(
        pool(concurrency_limit=1),
        due(hours(1)),
        holder(),
        ledger=usually(hours(3)),
        deployments=here,
        coverage=complete(),
    )

    assert names(findings) == [("ahead", "etl", "warning")]
