"""Full limits on a real server: who holds their slots, who waits, and what nobody will give back."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Pending, Running
from werkzeug import Response

from demo.stack import Server
from monitoring.model.finding import Finding
from tests.support.assessment import Assessed, assess_server
from tests.support.relay import ApiRequest, relayed
from tests.support.seed_values import HOUR, MINUTE, SECOND, Deployment, Run
from tests.support.seeding import Seed

LONG, LONGER = 15 * MINUTE, 15 * MINUTE + SECOND
REFUSED = "Deployment concurrency limit reached."


def of_limits(looked: Assessed) -> dict[str, Finding]:
    return {name: finding for (check, name), finding in looked.found.items() if check == "concurrency"}


def running(world: Seed, name: str, **fields: Any) -> Run:
    """A run of a deployment of its own, called like it."""
    deployment = world.deployment(f"runs/{name}")
    run = world.run(deployment, "RUNNING", name=name, started=world.now - 3 * HOUR, **fields)
    world.heartbeats(run, [world.now - SECOND])
    return run


def names(finding: Finding, *runs: Run) -> bool:
    """Whether a finding names these runs and no others."""
    return set(finding.flow_run_ids) == {str(run.id) for run in runs}


# --- deployments, queues, pools --------------------------------------------------------------------


def test_a_full_deployment_queue_and_pool_hold_runs_up(prefect_server: Server, world: Seed) -> None:
    now = world.now
    alive = world.pool("alive")
    world.worker(alive)
    full_pool = world.pool("full-pool", concurrency_limit=1)
    world.worker(full_pool)
    lane = world.queue(alive, "lane", concurrency_limit=1)

    def plant(name: str, waits: timedelta, **fields: Any) -> Run:
        deployment = world.deployment(f"full/{name}", **fields)
        holder = world.run(deployment, "RUNNING", name=f"holds-{name}", started=now - 3 * HOUR)
        world.heartbeats(holder, [now - SECOND])
        fields = {"due": now - waits, "since": now - 5 * SECOND, "next_due": now + SECOND}
        return world.run(deployment, "AwaitingConcurrencySlot", **fields)

    waiting = plant("deployment", LONGER, pool=alive, concurrency_limit=1, slots_taken=1)
    plant("deployment-not-yet", LONG, pool=alive, concurrency_limit=1, slots_taken=1)
    in_lane = plant("queue", LONGER, pool=lane)
    in_pool = plant("pool", LONGER, pool=full_pool)
    world.run(world.deployment("full/nothing", pool=alive, concurrency_limit=0), "Late", due=now - LONGER)

    looked = assess_server(now)
    found = of_limits(looked)

    assert set(found) == {"full/deployment", "alive/lane", "full-pool", "full/nothing"}
    assert names(found["full/deployment"], waiting)
    assert names(found["alive/lane"], in_lane)
    assert names(found["full-pool"], in_pool)
    for name, holder in (("full/deployment", "deployment"), ("alive/lane", "queue"), ("full-pool", "pool")):
        assert found[name].evidence == (f"holds-{holder}: Running for 3 h",)
        assert found[name].severity == "warning"
    late = {name: finding for (check, name), finding in looked.found.items() if check == "late"}
    assert {name: finding.symptom_of for name, finding in late.items()} == {
        "full/deployment": found["full/deployment"].fingerprint,
        "full/queue": found["alive/lane"].fingerprint,
        "full/pool": found["full-pool"].fingerprint,
        "full/nothing": found["full/nothing"].fingerprint,
    }


def test_a_limit_that_was_set_while_runs_were_running_counts_what_starts_later(
    prefect_server: Server, world: Seed
) -> None:
    """The server's own orchestration: it counts no slot for runs from before, and knows who holds the others."""
    later = world.now + HOUR
    pool = world.pool("alive")
    world.worker(pool, last_heartbeat=later)
    deployment = world.deployment("limit/later", pool=pool)

    def found() -> dict[tuple[str, str], Finding]:
        config: dict[str, Any] = {"stuck": {"pending_after": "1d"}, "zombie": {"enabled": False}}
        seen = assess_server(later, **config).found
        return {key: finding for key, finding in seen.items() if key[1] == "limit/later"}

    with get_client(sync_client=True) as client:

        def propose(run: FlowRun, *states: State[Any]) -> str | None:
            answers = [client.set_flow_run_state(run.id, state) for state in states]
            return answers[-1].state.name if answers[-1].state else None

        def starts() -> FlowRun:
            run = client.create_flow_run_from_deployment(deployment.id)
            assert propose(run, Pending(), Running()) == "Running"
            return run

        starts(), starts()
        path = {"id": deployment.id}
        client.request("PATCH", "/deployments/{id}", path_params=path, json={"concurrency_limit": 1})
        waiting = client.create_flow_run_from_deployment(deployment.id)

        free = found()
        assert set(free) == {("late", "limit/later")}
        assert free["late", "limit/later"].cause is None

        third = starts()
        assert propose(waiting, Pending()) == "AwaitingConcurrencySlot"

    full = found()
    limit = full["concurrency", "limit/later"]
    assert set(full) == {("late", "limit/later"), ("concurrency", "limit/later")}
    assert limit.cause
    assert limit.cause.flow_run_ids == (str(third.id),)
    assert limit.observed.startswith("1 of 1 slot taken; 1 run waits")
    assert full["late", "limit/later"].symptom_of == limit.fingerprint


def test_slots_that_no_live_run_holds(prefect_server: Server, world: Seed) -> None:
    now = world.now
    alive = world.pool("alive")
    world.worker(alive)

    def plant(name: str, ended: timedelta, **fields: Any) -> Deployment:
        limited: dict[str, Any] = {"concurrency_limit": 1, "slots_taken": 1, "collision": "CANCEL_NEW", **fields}
        deployment = world.deployment(f"lost/{name}", pool=alive, **limited)
        world.run(deployment, "COMPLETED", ended=now - ended)
        return deployment

    world.run(plant("refusing", 2 * HOUR), "CANCELLED", ended=now - MINUTE, message=REFUSED)
    plant("quiet", LONGER)
    plant("not-yet", LONG)
    plant("free", 2 * HOUR, slots_taken=0)
    held = plant("held", 2 * HOUR)
    world.heartbeats(world.run(held, "RUNNING", started=now - HOUR), [now - SECOND])
    retrying = plant("retrying", 2 * HOUR)
    world.run(
        retrying,
        "AwaitingRetry",
        due=now - HOUR,
        started=now - HOUR,
        since=now - 30 * MINUTE,
        next_due=now + HOUR,
        columns={"empirical_policy": {"retries": 1, "retry_delay": 5400, "retry_type": "in_process"}},
    )

    found = of_limits(assess_server(now))

    assert set(found) == {"lost/refusing", "lost/quiet"}
    refusing = found["lost/refusing"]
    assert refusing.summary == "lost/refusing: 1 of 1 slot held by no live run, and 1 run cancelled for lack of a slot"
    assert refusing.since == now - 2 * HOUR
    assert any(REFUSED in line for line in refusing.evidence)
    assert refusing.evidence[-1].endswith(f"update deployment:{refusing.subject.id} --active-slots 0")


def test_runs_that_are_cancelled_behind_one_that_never_ends_are_counted_over_checks(
    prefect_server: Server, world: Seed
) -> None:
    now, began = world.now, world.now - 6 * HOUR
    pool = world.pool("alive")
    world.worker(pool, last_heartbeat=now)
    deployment = world.deployment("skip/hangs", pool=pool, concurrency_limit=1, slots_taken=1, collision="CANCEL_NEW")
    for number in range(12):
        world.run(deployment, started=began - (number + 1) * HOUR, ended=began - (number + 1) * HOUR + 5 * MINUTE)
    hangs = world.run(deployment, "RUNNING", name="hangs", started=began)
    world.heartbeats(hangs, [began + number * 3 * MINUTE for number in range(121)])

    severities, ledger = [], None
    for hour in range(1, 7):
        at = began + hour * HOUR
        rejected = at - 30 * MINUTE
        world.run(deployment, "CANCELLED", due=rejected, started=rejected, ended=rejected, message=REFUSED)
        looked = assess_server(at, ledger=ledger, work_pool={"enabled": False})
        ledger, found = looked.assessment.ledger, of_limits(looked)
        severities.append(found["skip/hangs"].severity if found else None)

    assert severities == ["warning", "warning", "critical", "critical", "critical", "critical"]
    finding = found["skip/hangs"]
    assert finding.summary == (
        "skip/hangs: 6 runs cancelled in a row for lack of a slot, which hangs has held for 6 h, usually 5 min"
    )
    assert finding.cause
    assert finding.cause.flow_run_ids == (str(hangs.id),)
    assert finding.evidence[0] == "hangs: Running for 6 h"


def test_a_run_that_gets_its_slot_while_we_look_holds_it(prefect_server: Server, world: Seed) -> None:
    now = world.now
    deployment = world.deployment("quick/taken", concurrency_limit=1, slots_taken=1)
    world.run(deployment, "COMPLETED", ended=now - 2 * HOUR)

    with relayed(prefect_server.ui_url) as relay:

        def begin(request: ApiRequest, _: object) -> None:
            if request.path == "/deployments/filter":
                relay.after = lambda request, answer: None
                world.run(deployment, "RUNNING", started=now)

        relay.after = begin
        looked = assess_server(now, at=relay.url)

    assert of_limits(looked) == {}
    assert looked.missing == {}


@pytest.mark.parametrize(("message", "is_one"), [("", False), (REFUSED, True)])
def test_a_run_that_begins_and_ends_while_we_look_has_lost_no_slot(
    prefect_server: Server, world: Seed, message: str, is_one: bool
) -> None:
    now = world.now
    deployment = world.deployment("quick/over", concurrency_limit=1, slots_taken=1)
    world.run(deployment, "COMPLETED", ended=now - 2 * HOUR)

    with relayed(prefect_server.ui_url) as relay:

        def end(request: ApiRequest, _: object) -> None:
            if request.path == "/deployments/filter":
                relay.after = lambda request, answer: None
                state = "CANCELLED" if message else "COMPLETED"
                world.run(deployment, state, started=now + SECOND, ended=now + 2 * SECOND, message=message)

        relay.after = end
        looked = assess_server(now, at=relay.url)

    # What was refused a slot had none.
    assert bool(of_limits(looked)) is is_one
    assert looked.missing == {}


# --- tags ------------------------------------------------------------------------------------------


def test_tasks_of_running_flows_wait_for_a_tags_slot(prefect_server: Server, world: Seed) -> None:
    now = world.now
    holder = running(world, "holds")
    task = world.task_run(holder, "query", state="RUNNING", at=now - 2 * HOUR, tags=["database"])
    # Its own tasks queue one behind the other, as it was meant.
    world.task_run(holder, "query", state="PENDING", at=now - HOUR, tags=["database"])
    world.tag_limit("database", 1, [task])

    def waits(name: str, since: timedelta, state: str = "PENDING", of: str = "RUNNING", **fields: Any) -> Run:
        deployment = world.deployment(f"runs/{name}")
        run = world.run(deployment, of, name=name, **({"started": now - 3 * HOUR} if of == "RUNNING" else {}))
        if of == "RUNNING":
            world.heartbeats(run, [now - SECOND])
        world.task_run(run, "query", state=state, at=now - since, tags=["database", "etl"], **fields)
        return run

    def input_of(ended: timedelta | None) -> UUID:
        state, at = ("COMPLETED", now - ended) if ended else ("RUNNING", now - HOUR)
        return world.task_run(holder, "extract", state=state, at=at)

    first = waits("first", 2 * HOUR)
    by_its_old_name = waits("old-name", HOUR, state="AwaitingConcurrencySlot")
    since_its_input = waits("since-its-input", 3 * HOUR, after=[input_of(LONG), input_of(2 * HOUR)])
    waits("its-input-runs", 3 * HOUR, after=[input_of(LONG), input_of(None)])
    waits("not-ready", 3 * HOUR, state="NotReady")
    waits("over", 3 * HOUR, of="CRASHED")
    parent = running(world, "parent")
    inner = world.run(None, "RUNNING", flow="inner", parent=parent, started=now - HOUR)
    innermost = world.run(None, "RUNNING", flow="innermost", parent=inner, started=now - HOUR)
    world.task_run(innermost, "query", state="PENDING", at=now - HOUR, tags=["database"])
    # Others have slots left, or nobody waits.
    world.tag_limit("etl", 2, [task])
    world.tag_limit("idle", 1, [task])

    looked = assess_server(now)
    found = of_limits(looked)

    assert set(found) == {"database"}
    assert looked.missing == {}
    limit = found["database"]
    assert limit.subject.kind == "tag"
    assert limit.observed == "1 of 1 slot taken; 4 running runs wait, the longest for 2 h"
    assert limit.evidence == ("holds: Running for 3 h",)
    assert limit.flow_run_ids[0] == str(first.id)
    assert names(limit, first, by_its_old_name, since_its_input, parent)
    assert limit.cause
    assert limit.cause.flow_run_ids == (str(holder.id),)


@pytest.mark.parametrize(("waits", "is_one"), [(LONG, False), (LONGER, True)])
def test_a_tag_whose_holders_the_server_has_forgotten(
    prefect_server: Server, world: Seed, waits: timedelta, is_one: bool
) -> None:
    # A restart forgets who holds slots, and neither how many are taken nor which tasks run.
    tag = "it's / a tag"
    world.global_limit(f"tag:{tag}", 2, taken=2)
    world.task_run(running(world, "holds"), "query", state="RUNNING", at=world.now - 2 * HOUR, tags=[tag])
    world.task_run(running(world, "waits"), "query", state="PENDING", at=world.now - waits, tags=[tag])

    found = of_limits(assess_server(world.now))

    assert set(found) == ({tag} if is_one else set())
    for finding in found.values():
        assert finding.evidence == (
            "holds: Running for 3 h",
            "slots whose holders the server does not know: 1",
            "to free all its slots: prefect concurrency-limit reset 'it'\"'\"'s / a tag'",
        )


def test_a_run_that_has_ended_may_still_hold_a_tags_slot(prefect_server: Server, world: Seed) -> None:
    now = world.now
    ended = world.run(world.deployment("runs/over"), "CRASHED", name="over", ended=now - 5 * HOUR)
    task = world.task_run(ended, "query", state="RUNNING", at=now - 6 * HOUR, tags=["database"])
    world.tag_limit("database", 1, [task])
    world.task_run(running(world, "waits"), "query", state="PENDING", at=now - HOUR, tags=["database"])

    assert of_limits(assess_server(now))["database"].evidence == (
        "over: Crashed 5 h ago",
        "to free all its slots: prefect concurrency-limit reset database",
    )


def test_slow_because_of_a_tag(prefect_server: Server, world: Seed) -> None:
    now = world.now
    holder, waits = running(world, "holds"), running(world, "waits")
    task = world.task_run(holder, "query", state="RUNNING", at=now - 2 * HOUR, tags=["database"])
    world.tag_limit("database", 1, [task])
    world.task_run(waits, "query", state="PENDING", at=now - 2 * HOUR, tags=["database"])

    found = assess_server(now, rules=[{"match": {"deployment": "runs/waits"}, "slow": {"limit": "2h"}}]).found

    assert set(found) == {("concurrency", "database"), ("slow", "runs/waits")}
    assert found["slow", "runs/waits"].symptom_of == found["concurrency", "database"].fingerprint


def test_a_tag_is_found_behind_the_limits_of_many_deployments(prefect_server: Server, world: Seed) -> None:
    with world.together():
        for n in range(200):
            world.global_limit(f"deployment:{n:03}", 1)
    world.global_limit("tag:a/b", 1, taken=1)
    world.task_run(running(world, "holds"), "query", state="RUNNING", at=world.now - 2 * HOUR, tags=["a/b"])
    world.task_run(running(world, "waits"), "query", state="PENDING", at=world.now - HOUR, tags=["a/b"])

    looked = assess_server(world.now)

    assert of_limits(looked)["a/b"].evidence == ("holds: Running for 3 h",)
    assert looked.missing == {}


# --- global limits ---------------------------------------------------------------------------------


def code(world: Seed, limit: UUID, event: str, run: Run | None, at: datetime, slots: int = 1) -> None:
    """What a run says of itself when it gets slots, or gives them back."""
    resource = {"prefect.resource.id": f"prefect.concurrency-limit.{limit}", "prefect.resource.name": "api"}
    flow_run = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.role": "flow-run"} if run else {}
    world.events(
        f"prefect.concurrency-limit.{event}",
        {**resource, "slots-acquired": str(slots), "limit": "1"},
        [at],
        related=[flow_run] if run else [],
    )


def test_a_global_limit_held_by_runs_that_are_over(prefect_server: Server, world: Seed) -> None:
    now = world.now

    def over(name: str, ago: timedelta = 2 * HOUR) -> Run:
        return world.run(world.deployment(f"runs/{name}"), "CRASHED", name=name, ended=now - ago)

    def plant(name: str, **fields: Any) -> UUID:
        return world.global_limit(name, 1, taken=1, **fields)

    lost = plant("lost")
    for run in (over("gave-back"), over("gave-back-too")):
        code(world, lost, "acquired", run, now - 4 * HOUR)
        code(world, lost, "released", run, now - 3 * HOUR)
    gone = over("gone")
    code(world, lost, "acquired", gone, now - 3 * HOUR)
    code(world, plant("alive"), "acquired", running(world, "alive"), now - 3 * HOUR)
    code(world, plant("just-now"), "acquired", over("just-now", LONG), now - 3 * HOUR)
    freed = plant("freed")
    code(world, freed, "acquired", over("freed"), now - 3 * HOUR)
    code(world, freed, "acquired", running(world, "next"), now - HOUR)
    outside = plant("outside")
    code(world, outside, "acquired", over("outside"), now - 3 * HOUR)
    code(world, outside, "acquired", None, now - HOUR)
    code(world, plant("off", active=False), "acquired", over("off"), now - 3 * HOUR)
    code(world, world.global_limit("not-full", 2, taken=1), "acquired", over("not-full"), now - 3 * HOUR)
    plant("unknown")

    looked = assess_server(now)
    found = of_limits(looked)

    assert set(found) == {"lost"}
    assert looked.missing == {}
    assert found["lost"].summary == "lost: full, and slots are held by runs that have ended: 1 of 1"
    assert found["lost"].subject.kind == "global-concurrency-limit"
    assert found["lost"].since == now - 2 * HOUR
    assert names(found["lost"], gone)
    assert "gone: Crashed 2 h ago" in found["lost"].evidence


def test_what_was_held_before_the_newest_events_is_not_known(prefect_server: Server, world: Seed) -> None:
    now = world.now
    gone = world.run(world.deployment("runs/gone"), "CRASHED", name="gone", ended=now - 2 * HOUR)
    quick = running(world, "quick")

    def plant(name: str, others: int) -> None:
        limit = world.global_limit(name, 2, taken=2)
        code(world, limit, "acquired", gone, now - 3 * HOUR, slots=2)
        for n in range(others):
            code(world, limit, "acquired" if n % 2 else "released", quick, now - HOUR + n * SECOND)

    plant("whole", 100)
    plant("cut", 220)

    assert set(of_limits(assess_server(now))) == {"whole"}


# --- what it costs, and where there is nothing to ask ----------------------------------------------


def test_limits_that_are_not_full_cost_two_requests(prefect_server: Server, world: Seed) -> None:
    for n in range(20):
        world.tag_limit(f"tag-{n}", 1)
        world.global_limit(f"limit-{n}", 1)
    with relayed(prefect_server.ui_url) as relay:
        assess_server(world.now, at=relay.url)
        paths = [path for path in relay.paths() if "limit" in path or "task_runs" in path]

    assert sorted(paths) == ["/concurrency_limits/filter", "/v2/concurrency_limits/filter"]


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_without_limits_is_not_broken(prefect_server: Server, world: Seed, status: int) -> None:
    with relayed(prefect_server.ui_url) as relay:
        relay.answer = lambda request: Response("{}", status) if "concurrency_limits" in request.path else None
        looked = assess_server(world.now, at=relay.url)

    assert looked.status == "ok"
    assert looked.missing == {}


def test_limits_that_cannot_be_read_are_unknown(prefect_server: Server, world: Seed) -> None:
    with relayed(prefect_server.ui_url) as relay:
        relay.answer = lambda request: Response("{}", 500) if "concurrency_limits" in request.path else None
        looked = assess_server(world.now, at=relay.url)

    assert looked.missing == {"limits": "failed"}


def test_of_too_many_full_limits_some_are_looked_into(prefect_server: Server, world: Seed) -> None:
    for n in range(51):
        world.global_limit(f"limit-{n:02}", 1, taken=1)
    with relayed(prefect_server.ui_url) as relay:
        looked = assess_server(world.now, at=relay.url)
        events = [request for request in relay.requests if "concurrency-limit" in json.dumps(request.body)]

    assert len(events) == 50
    assert looked.missing == {"limits": "partial"}
