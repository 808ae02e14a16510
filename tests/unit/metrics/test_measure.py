"""What is measured: what was seen, as numbers; what was not seen, not at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.history.ledger import fold
from monitoring.metrics import catalog
from monitoring.metrics.measure import Effort, Measurable, capped, measure
from monitoring.metrics.snapshot import Metric, Sample, Snapshot
from monitoring.model.coverage import Coverage, Query
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.observation import ConcurrencyLimit, LimitSlots, Observation, OwnRuns, ServerState, Vitals
from monitoring.model.outbox import Outbox, Tally
from monitoring.model.prefect import WorkPool, WorkQueue
from tests.support.builders import (
    NOW,
    complete,
    deployment,
    hours,
    minutes,
    observation,
    policies,
    run,
    without,
)
from tests.support.simulation import problem

EFFORT = Effort(requests=19, took=timedelta(seconds=2.5))


def measured(seen: Observation, *incidents: Incident, outbox: Outbox | None = None, **settings: Any) -> Snapshot:
    known = Measurable(
        observation=seen,
        ledger=fold(Ledger(cursor=seen.at - hours(24)), seen).model_copy(update={"complete_at": seen.at}),
        incidents=Incidents(open={incident.finding.fingerprint: incident for incident in incidents}),
        outbox=outbox or Outbox(),
        coverage=seen.coverage,
    )
    return measure(known, EFFORT, policies(**settings))


def values(snapshot: Snapshot, metric: Metric) -> dict[tuple[str, ...], Any]:
    return {sample.labels: sample.value for sample in snapshot.samples.get(metric.name, ())}


def firing(name: str, number: int, **fields: Any) -> Incident:
    return Incident(finding=problem(name, **fields), number=number, opened_at=NOW, fired_at=NOW)


def test_every_sample_has_the_labels_of_its_metric_and_no_series_is_there_twice() -> None:
    pool = WorkPool(id="p", name="k8s", type="process", live_workers=1, concurrency_limit=3, slots_taken=1)
    seen = observation(
        run("COMPLETED", "a", start_time=NOW - hours(2), total_run_time=minutes(2)),
        run("FAILED", "b", of="etl/other"),
        run("SCHEDULED", "c", work_pool="k8s", auto_scheduled=True),
        deployments=[deployment(), deployment("etl/other", concurrency_limit=2, slots_taken=0)],
        work_pools={"k8s": pool},
        slots=(LimitSlots(kind="tag", name="db", limit=5, taken=2),),
        vitals=Vitals(answer_time=timedelta(seconds=0.3), answers=9),
        own=OwnRuns(planned_at=NOW),
    )
    outbox = Outbox(tallies={"default": Tally(sent=3, failed=1)})
    snapshot = measured(seen, firing("etl/other", 1), outbox=outbox, slow={"limit": "1h"})
    for name, samples in snapshot.samples.items():
        assert {len(sample.labels) for sample in samples} == {len(catalog.BY_NAME[name].labels)}
        assert len({sample.labels for sample in samples}) == len(samples)
    missing = {metric.name for metric in catalog.METRICS} - snapshot.samples.keys()
    assert missing == {catalog.SERIES_DROPPED.name}


def test_incidents_count_when_they_fire() -> None:
    pending = Incident(finding=problem("etl/c"), opened_at=NOW)
    pool = firing("k8s", 3, kind="work-pool", severity="critical")
    flow = firing("laptop", 4, kind="flow", severity="critical")
    snapshot = measured(observation(), firing("etl/a", 1), firing("etl/b", 2), pool, flow, pending)
    assert values(snapshot, catalog.INCIDENTS) == {
        ("late", "warning", "etl/a"): 1,
        ("late", "warning", "etl/b"): 1,
        ("late", "critical", ""): 1,
        ("late", "critical", "laptop"): 1,
    }


def test_what_a_deployment_did() -> None:
    runs = [run("COMPLETED", f"{n}", end_time=NOW - minutes(n), total_run_time=minutes(3)) for n in range(1, 11)]
    snapshot = measured(observation(*runs, run("CRASHED", "x"), run("CANCELLED", "y")), slow={"limit": "1h"})
    labels = ("etl/nightly",)
    assert values(snapshot, catalog.LAST_SUCCESS) == {labels: (NOW - minutes(1)).timestamp()}
    assert values(snapshot, catalog.RUNS) == {
        ("etl/nightly", "completed"): 10,
        ("etl/nightly", "failed"): 0,
        ("etl/nightly", "crashed"): 1,
        ("etl/nightly", "cancelled"): 1,
    }
    assert values(snapshot, catalog.USUAL_RUN_TIME) == {labels: 180}
    assert values(snapshot, catalog.RUN_TIME_LIMIT) == {labels: 3_600}
    assert values(snapshot, catalog.RUN_TIME)[labels].cumulative[-1] == 10
    assert values(snapshot, catalog.LATENESS) == {labels: 0}


def test_lateness_and_backlog_are_those_of_the_oldest_run_that_is_due() -> None:
    runs = [
        run("SCHEDULED", "old", since=NOW - minutes(30), work_pool="k8s"),
        run("SCHEDULED", "new", since=NOW - minutes(1), work_pool="k8s"),
        run("SCHEDULED", "ahead", since=NOW + minutes(1), work_pool="k8s"),
        run("RUNNING", "busy", work_pool="k8s"),
        # No worker takes this one: its own process goes on with it.
        run("SCHEDULED", "again", since=NOW - hours(1), work_pool="idle", retries_in_process=True, of="etl/other"),
    ]
    pools = {name: WorkPool(id=name, name=name, type="process", paused=name == "idle") for name in ("k8s", "idle")}
    snapshot = measured(observation(*runs, work_pools=pools))
    assert values(snapshot, catalog.LATENESS) == {("etl/nightly",): 1_800}
    assert values(snapshot, catalog.BACKLOG) == {("k8s",): 2, ("idle",): 0}
    assert values(snapshot, catalog.OLDEST_DUE) == {("k8s",): (NOW - minutes(30)).timestamp()}
    assert values(snapshot, catalog.LIVE_WORKERS) == {}
    assert values(snapshot, catalog.POOL_PAUSED) == {("k8s",): 0, ("idle",): 1}


def test_limits_of_every_kind_with_who_waits() -> None:
    waiting = run("SCHEDULED", "waits", state_name="AwaitingConcurrencySlot", expected_start_time=NOW - hours(1))
    full = ConcurrencyLimit(
        kind="tag", id="t", name="db", limit=1, taken=1, waiting={"w": NOW - minutes(1), "v": NOW - minutes(2)}
    )
    queue = WorkQueue(id="q", name="slow", concurrency_limit=4, slots_taken=None)
    seen = observation(
        waiting.model_copy(update={"start_time": None}),
        run("RUNNING", "holds"),
        deployments=[deployment(concurrency_limit=1, slots_taken=1), deployment("etl/free")],
        work_pools={"k8s": WorkPool(id="p", name="k8s", type="process", queues=(queue,))},
        full=(full,),
        slots=(
            LimitSlots(kind="tag", name="db", limit=1, taken=1),
            LimitSlots(kind="global-concurrency-limit", name="api", limit=9, taken=3),
        ),
        coverage=complete("limits", "limit-waiters"),
    )
    snapshot = measured(seen)
    nightly, db, api = ("deployment", "etl/nightly"), ("tag", "db"), ("global-concurrency-limit", "api")
    slow = ("work-queue", "k8s/slow")
    assert values(snapshot, catalog.LIMIT_SLOTS) == {nightly: 1, db: 1, api: 9, slow: 4}
    assert values(snapshot, catalog.LIMIT_SLOTS_USED) == {nightly: 1, db: 1, api: 3}
    assert values(snapshot, catalog.LIMIT_WAITING) == {nightly: 1, db: 2, slow: 0}


def test_who_waits_for_a_full_tag_limit_is_unknown_unless_it_was_read() -> None:
    slots = (
        LimitSlots(kind="tag", name="full", limit=1, taken=1),
        LimitSlots(kind="tag", name="free", limit=2, taken=1),
    )
    looked_into = ConcurrencyLimit(kind="tag", id="t", name="full", limit=1, taken=1)
    full, free = ("tag", "full"), ("tag", "free")
    answered = complete("limits", "limit-waiters")
    failed = Coverage(queries=(*complete("limits").queries, Query(name="limit-waiters", outcome="failed")))
    for limits, coverage, known in [
        ((looked_into,), answered, {full: 0, free: 0}),
        ((looked_into,), failed, {free: 0}),
        ((), answered, {free: 0}),
    ]:
        snapshot = measured(observation(full=limits, slots=slots, coverage=coverage))
        assert values(snapshot, catalog.LIMIT_WAITING) == known


def test_the_schedulers_age_is_that_of_the_newest_run_of_ours_that_it_has_planned() -> None:
    planned = OwnRuns(planned_at=NOW - minutes(4))
    assert values(measured(observation(own=planned)), catalog.SCHEDULER_AGE) == {(): 240}
    assert values(measured(observation()), catalog.SCHEDULER_AGE) == {}


def test_a_deployment_that_is_not_watched_is_not_measured() -> None:
    seen = observation(deployments=[deployment(), deployment("etl/off", tags=("watchdog:off",))])
    for metric in (catalog.RUNS, catalog.RUN_TIME, catalog.LATENESS):
        assert {labels[0] for labels in values(measured(seen), metric)} == {"etl/nightly"}


def test_the_fallback_is_counted_from_the_beginning_where_there_is_one() -> None:
    without_one, with_one = measured(observation()), measured(observation(), alerts={"fallback": {"channel": "ops"}})
    assert values(without_one, catalog.ALERTS_SENT) == {("default",): 0}
    assert values(with_one, catalog.ALERT_FAILURES) == {("default",): 0, ("fallback",): 0}


def test_what_was_not_queried_or_not_answered_is_absent() -> None:
    pools = {"k8s": WorkPool(id="p", name="k8s", type="process")}
    overdue = run("SCHEDULED", "old", since=NOW - minutes(30), work_pool="k8s")
    snapshot = measured(observation(overdue, coverage=without("due-runs"), work_pools=pools))
    assert catalog.LATENESS.name not in snapshot.samples
    assert catalog.BACKLOG.name not in snapshot.samples
    assert catalog.OLDEST_DUE.name not in snapshot.samples
    assert values(snapshot, catalog.CHECK_QUERIES)[("partial",)] == 1


def test_of_a_server_that_is_down_nothing_is_measured_but_that() -> None:
    down = ServerState(api_url="http://api.example/api", problem="no answer")
    failed = Coverage(queries=(Query(name="server", outcome="failed"),))
    snapshot = measured(observation(state=down, coverage=failed, deployments=[]))
    assert values(snapshot, catalog.SERVER_UP) == {(): 0}
    assert snapshot.samples.keys() == {
        metric.name
        for metric in (
            catalog.SERVER_UP,
            catalog.LAST_CHECK,
            catalog.LAST_COMPLETE_CHECK,
            catalog.CHECK_DURATION,
            catalog.CHECK_REQUESTS,
            catalog.CHECK_QUERIES,
            catalog.ALERTS_SENT,
            catalog.ALERT_FAILURES,
        )
    }


@pytest.mark.parametrize(("there", "kept", "dropped"), [(9, 9, 0), (10, 10, 0), (11, 10, 1)])
def test_what_is_too_much_is_left_out_and_counted(there: int, kept: int, dropped: int) -> None:
    many = [deployment(f"etl/{number:02}") for number in reversed(range(there))]
    snapshot = measured(observation(deployments=many), metrics={"most_series": 10})
    assert list(values(snapshot, catalog.LATENESS)) == [(f"etl/{number:02}",) for number in range(kept)]
    assert values(snapshot, catalog.SERIES_DROPPED).get((catalog.LATENESS.name,), 0) == dropped


def test_the_cap_leaves_out_whole_deployments() -> None:
    seen = observation(deployments=[deployment(f"etl/{number}") for number in range(3)])
    snapshot = measured(seen, metrics={"most_series": 10})
    assert [labels[0] for labels in values(snapshot, catalog.RUNS)] == ["etl/0"] * 4 + ["etl/1"] * 4
    assert values(snapshot, catalog.SERIES_DROPPED) == {(catalog.RUNS.name,): 4}


def test_the_cap_leaves_out_the_same_series_whatever_their_order() -> None:
    samples = [Sample(labels=(name,), value=1.0) for name in "cab"]
    for rows in (samples, samples[::-1]):
        assert [sample.labels for sample in capped({"x": rows}, 2, catalog.SERIES_DROPPED)["x"]] == [("a",), ("b",)]
