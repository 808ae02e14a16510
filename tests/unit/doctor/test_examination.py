"""The doctor's judgements of what was read of an installation, one at a time."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.config.settings import Config
from monitoring.doctor import examination as doctor
from monitoring.doctor.examination import Examined, clock, database, examine, version, worst
from monitoring.doctor.installation import AUTOMATIONS, LOCK, STATE, Automation, Installation, Kept, Lock, Server
from monitoring.model.coverage import Coverage, Query
from monitoring.model.observation import ServerState
from monitoring.model.outbox import Delivery, Outbox, Trouble
from monitoring.model.prefect import CHECK_FLOW, DIGEST_FLOW, TRIGGER_WINDOW, Deployment, FlowRun, WorkPool
from tests.support.builders import NOW, complete, deployment, hours, minutes, run

CHECK, DIGEST = f"{CHECK_FLOW}/check", f"{DIGEST_FLOW}/digest"
#: Three fires, as many as may pass.
DUE = tuple(NOW - minutes(ago) for ago in (13, 8, 3))
UP = Server(
    state=ServerState(api_url="http://api.example/api", version="3.8.8"),
    client="3.8.8",
    clock_offset=timedelta(0),
    database=True,
)
TRIGGER = Automation(id="a-1", name="failures", enabled=True, starts=(CHECK,))
WATCH = Automation(id="a-2", name="nothing completes", enabled=True, watches=True)
FRESH = Kept(coverage=complete(), cursor=NOW - minutes(3))


def ours(name: str, **fields: Any) -> Deployment:
    own = {"due": DUE, "next_due": NOW + minutes(2), "work_pool": "watchdog", "work_queue": "default"}
    return deployment(name, **{**own, **fields})


def pool(**fields: Any) -> WorkPool:
    queues = fields.pop("queues", ({"id": "q", "name": "default"}, {"id": "p", "name": "other", "paused": True}))
    own = {"id": "pool", "name": "watchdog", "type": "process", "live_workers": 1, "last_heartbeat": NOW}
    return WorkPool.model_validate({**own, "queues": queues, **fields})


def well(check: Deployment | None = None, *ended: FlowRun, **fields: Any) -> Installation:
    """A healthy installation, except for the given fields."""
    own = {
        "at": NOW,
        "server": UP,
        "coverage": complete("own-runs", "workers", AUTOMATIONS, LOCK, STATE),
        "deployments": (check or ours(CHECK), ours(DIGEST)),
        "pools": {"watchdog": pool()},
        "ended": ended or (completed(CHECK, minutes(3)), completed(DIGEST, minutes(3))),
        "automations": (TRIGGER, WATCH),
        "kept": FRESH,
    }
    return Installation.model_validate({**own, **fields})


def completed(of: str, ago: timedelta) -> FlowRun:
    return run("COMPLETED", f"{of} {ago}", of=of, since=NOW - ago)


def wrong(found: Installation, **settings: Any) -> dict[str, Examined]:
    """The examined parts that are not ok."""
    examined = list(examine(found, Config.model_validate(settings)))
    assert len({(part.name, part.detail) for part in examined}) == len(examined)
    return {part.name: part for part in examined if part.outcome != "ok" or part.fix}


def outcomes(examined: dict[str, Examined]) -> dict[str, str]:
    return {name: part.outcome for name, part in examined.items()}


def test_all_is_well() -> None:
    assert wrong(well()) == {}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(["ok", "unknown"], "ok", id="nothing"),
        pytest.param(["ok", "warning", "unknown"], "warning", id="warning"),
        pytest.param(["warning", "fault"], "fault", id="fault"),
        pytest.param([], "ok", id="none"),
    ],
)
def test_the_worst_counts_and_neither_recommendations_nor_what_was_not_examined(
    found: Iterable[Any], expected: str
) -> None:
    assert worst(Examined(name="a", outcome=outcome, detail="b", fix="c") for outcome in found) == expected


@pytest.mark.parametrize(("days", "warned"), [("UTC", False), ("Europe/Berlin", True)])
def test_a_digest_that_is_due_by_another_clock_than_that_of_its_days(days: str, warned: bool) -> None:
    found = well(time_zones={DIGEST: {"schedules": ("UTC",), "days": days}})
    assert wrong(found) == (
        {
            f"time zone of {DIGEST}": Examined(
                f"time zone of {DIGEST}",
                "warning",
                "it is due by the clock of UTC; its days begin and end in Europe/Berlin",
                "set time_zone in prefect.yaml to Europe/Berlin, or digest.time_zone to UTC; then prefect deploy --all",
            )
        }
        if warned
        else {}
    )


# --- the server -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours", "outcome"),
    [
        ("3.8.8", "3.8.8", "ok"),
        ("3.8.9", "3.8.8", "ok"),
        ("3.10.0", "3.8.8", "ok"),
        ("3.8.7", "3.8.8", "warning"),
        ("3.7.12", "3.8.8", "warning"),
        ("2.20.1", "3.8.8", "fault"),
        ("4.0.0", "3.8.8", "fault"),
        ("3.8.8.dev2+4.g00", "3.8.8", "ok"),
        (None, "3.8.8", "unknown"),
        ("a cloud", "3.8.8", "unknown"),
    ],
)
def test_a_server_of_the_same_major_version_that_is_no_older_will_do(
    theirs: str | None, ours: str, outcome: str
) -> None:
    assert version(theirs, ours).outcome == outcome


def test_an_untested_version_is_reported() -> None:
    assert version("3.10.0", "3.8.8").detail == "Prefect 3.10.0, 3.8.8 here; the watchdog is tested with 3.8"


@pytest.mark.parametrize(
    ("offset", "outcome", "detail"),
    [
        (None, "unknown", "does not report"),
        (timedelta(seconds=60), "ok", "within 1 min"),
        (timedelta(seconds=61), "warning", "1 min 1 s ahead of ours"),
        (timedelta(seconds=-61), "warning", "1 min 1 s behind ours"),
    ],
)
def test_clocks_that_are_apart(offset: timedelta | None, outcome: str, detail: str) -> None:
    examined = clock(offset, minutes(1))
    assert (examined.outcome, detail in examined.detail) == (outcome, True)


def test_a_server_that_does_not_say_whether_it_reaches_its_database() -> None:
    assert [database(reached).outcome for reached in (True, False, None)] == ["ok", "fault", "unknown"]


@pytest.mark.parametrize("rejected", [True, False])
def test_of_a_server_that_cannot_be_used_everything_else_is_not_examined(rejected: bool) -> None:
    state = ServerState(api_url="http://api.example/api", problem="the server rejects the key")
    examined = list(
        examine(Installation(at=NOW, server=Server(state=state, client="3.8.8", rejected=rejected)), Config())
    )
    [fault] = [part for part in examined if part.outcome == "fault"]
    assert (fault.name, fault.detail) == ("credentials" if rejected else "server", "the server rejects the key")
    others = [part for part in examined if part.outcome != "ok" and part != fault]
    assert {part.outcome for part in others} == {"unknown"}
    assert all(part.detail.startswith("not examined: ") for part in others)
    assert {"database", "lock", "state", "work pool", f"deployment {CHECK}", f"deployment {DIGEST}"} <= {
        part.name for part in others
    }


# --- what runs the checks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "inactive", "detail", "mend"),
    [
        ({"paused": True, "scheduled": False}, (), "paused", f"prefect api POST /deployments/{CHECK}/resume"),
        ({"scheduled": False}, ("s-1",), "none of its schedules is active", f"schedule resume {CHECK} s-1"),
        ({"scheduled": False}, (), "no schedule", "prefect deploy --all"),
        ({"next_due": None}, (), "its schedules have ended", "prefect deploy --all"),
    ],
)
def test_a_check_that_does_not_run_by_itself(
    fields: dict[str, Any], inactive: tuple[str, ...], detail: str, mend: str
) -> None:
    check = ours(CHECK, **fields)
    examined = wrong(well(check, inactive={CHECK: inactive}))
    part = examined.pop(f"deployment {CHECK}")
    assert (part.outcome, detail in part.detail, mend in part.fix) == ("fault", True, True), part
    assert set(outcomes(examined).values()) <= {"unknown"}


def test_what_is_not_deployed() -> None:
    examined = wrong(well(deployments=(ours(CHECK),)))
    assert outcomes(examined) == {f"deployment {DIGEST}": "fault"}
    assert examined[f"deployment {DIGEST}"].fix == "prefect deploy --all"


def test_deployments_of_other_names_are_known_by_their_flow() -> None:
    check = ours(f"{CHECK_FLOW}/every minute", id=CHECK)
    assert wrong(well(check)) == {}
    paused = wrong(well(check.model_copy(update={"schedule": ""}), inactive={CHECK: ("s",)}))
    mend = paused[f"deployment {CHECK_FLOW}/every minute"].fix
    assert shlex.split(mend)[-2:] == [f"{CHECK_FLOW}/every minute", "s"]


@pytest.mark.parametrize(
    ("place", "name", "mend"),
    [
        (pool(paused=True), "work pool watchdog", "prefect work-pool resume watchdog"),
        (
            pool(queues=({"id": "q", "name": "default", "paused": True},)),
            "work queue watchdog/default",
            "prefect work-queue resume default --pool watchdog",
        ),
        (pool(live_workers=0), "worker of watchdog", "prefect worker start --pool watchdog --limit 2"),
    ],
)
def test_a_place_where_nothing_starts_explains_why_no_run_completes(place: WorkPool, name: str, mend: str) -> None:
    long_ago = (completed(CHECK, hours(3)), completed(DIGEST, hours(3)))
    kept = Kept(coverage=complete(), cursor=NOW - hours(3))
    examined = wrong(well(None, *long_ago, pools={"watchdog": place}, kept=kept))
    assert outcomes(examined) == {
        name: "fault",
        f"last run of {CHECK}": "unknown",
        f"last run of {DIGEST}": "unknown",
        "ended runs": "unknown",
    }
    assert examined[name].fix == mend
    assert name in examined[f"last run of {CHECK}"].detail


@pytest.mark.parametrize(
    ("place", "outcome"),
    [
        (pool(type="ecs:push", live_workers=None, last_heartbeat=None), "ok"),
        (pool(type="prefect:managed", live_workers=None, last_heartbeat=None), "ok"),
        (pool(type="prefect-agent", live_workers=None, last_heartbeat=None), "unknown"),
        (pool(live_workers=0, last_heartbeat=None), "fault"),
    ],
)
def test_pools_with_and_without_workers_of_their_own(place: WorkPool, outcome: str) -> None:
    examined = wrong(well(pools={"watchdog": place}, coverage=complete("own-runs", AUTOMATIONS, LOCK, STATE)))
    assert outcomes(examined).get("worker of watchdog", "ok") == outcome


def test_workers_that_a_key_may_not_read_are_not_called_dead() -> None:
    refused = Query(name="workers", outcome="failed", detail="refuses our credentials (403)")
    coverage = Coverage(queries=(*complete("own-runs", AUTOMATIONS, LOCK, STATE).queries, refused))
    examined = wrong(well(pools={"watchdog": pool(live_workers=None)}, coverage=coverage))
    assert outcomes(examined) == {"worker of watchdog": "unknown"}
    assert "403" in examined["worker of watchdog"].detail


def test_a_pool_by_a_name_that_a_shell_would_read_is_quoted() -> None:
    name = "pool; rm -rf $HOME"
    check = ours(CHECK, work_pool=name)
    examined = wrong(well(check, pools={"watchdog": pool(), name: pool(name=name, paused=True)}))
    assert shlex.split(examined[f"work pool {name}"].fix) == ["prefect", "work-pool", "resume", name]


def test_a_pool_that_was_deleted() -> None:
    lost = [ours(name, work_pool=None, work_queue=None) for name in (CHECK, DIGEST)]
    examined = wrong(well(deployments=lost, pools={}, for_pools={CHECK, DIGEST}))
    faults = [name for name, part in examined.items() if part.outcome == "fault"]
    assert faults == [f"work pool of {CHECK}", f"work pool of {DIGEST}"]
    assert examined[faults[0]].fix.startswith("prefect work-pool create watchdog --type process && prefect deploy")
    assert "runner" not in examined


@pytest.mark.parametrize(
    ("pools", "fix"),
    [
        ({"watchdog": pool()}, "prefect deploy --all"),
        ({}, "prefect work-pool create watchdog --type process && prefect deploy --all"),
    ],
)
def test_before_the_first_deployment_the_work_pool_comes_first(pools: dict[str, WorkPool], fix: str) -> None:
    examined = wrong(well(deployments=(), ended=(), pools=pools))
    assert {examined[f"deployment {name}"].fix for name in (CHECK, DIGEST)} == {fix}


def test_only_completed_runs_show_that_a_process_serves_them() -> None:
    served = [ours(name, work_pool=None, work_queue=None) for name in (CHECK, DIGEST)]
    assert wrong(well(deployments=served, pools={})) == {}
    old = (completed(CHECK, hours(3)), completed(DIGEST, hours(3)))
    examined = wrong(well(None, *old, deployments=served, pools={}))
    assert examined["runner"].outcome == "unknown"
    assert examined["runner"].fix == examined[f"last run of {CHECK}"].fix == "python flows/serve.py"
    # The last runs completed just now, and then the process ended.
    unserved = wrong(well(deployments=served, pools={}, unpolled={CHECK, DIGEST}))
    assert {name for name, part in unserved.items() if part.outcome != "unknown"} == {"runner"}
    assert unserved["runner"][1:] == ("fault", f"no process serves {CHECK}, {DIGEST}", "python flows/serve.py")
    untriggered = wrong(well(deployments=served, pools={}, automations=(WATCH,)))
    assert untriggered["trigger of the check"].fix == "python flows/serve.py"


@pytest.mark.parametrize(
    ("automations", "expected"),
    [
        (
            (),
            {
                "trigger of the check": "prefect deploy --all",
                "watch over the watchdog": doctor.WATCH,
            },
        ),
        ((WATCH, TRIGGER.model_copy(update={"starts": ("other",)})), {"trigger of the check": "prefect deploy --all"}),
        ((WATCH, TRIGGER.model_copy(update={"within": minutes(1)})), {"trigger of the check": "prefect deploy --all"}),
        ((WATCH, TRIGGER.model_copy(update={"within": TRIGGER_WINDOW})), {}),
        (
            (WATCH, TRIGGER.model_copy(update={"enabled": False})),
            {"trigger of the check": "prefect automation resume --id a-1"},
        ),
        (
            (TRIGGER, WATCH.model_copy(update={"enabled": False})),
            {"watch over the watchdog": "prefect automation resume --id a-2"},
        ),
    ],
)
def test_automations_that_are_missing_or_not_enabled(
    automations: tuple[Automation, ...], expected: dict[str, str]
) -> None:
    examined = wrong(well(automations=automations))
    assert {name: part.fix for name, part in examined.items()} == expected
    recommended = examined.get("watch over the watchdog")
    assert recommended is None or recommended.recommended


# --- how the checks go ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "outcome", "detail"),
    [
        ([completed(CHECK, minutes(13))], "ok", "completed at 2026-11-23 11:47 UTC"),
        ([completed(CHECK, minutes(14))], "fault", "3 runs were due since 2026-11-23 11:47 UTC"),
        ([run("FAILED", of=CHECK, since=NOW - minutes(1), message="no key")], "warning", "Failed: no key"),
        (
            [run(state, state, of=CHECK, since=NOW - minutes(2)) for state in ("CRASHED", "FAILED")],
            "fault",
            "the last 2 runs failed or crashed",
        ),
        (
            [run("FAILED", of=CHECK, since=NOW - minutes(2)), completed(CHECK, minutes(1))],
            "ok",
            "completed at 2026-11-23 11:59 UTC",
        ),
        (
            [completed(CHECK, minutes(2)), run("CANCELLED", of=CHECK, since=NOW - minutes(1))],
            "ok",
            "completed at 2026-11-23 11:58 UTC",
        ),
    ],
)
def test_the_last_runs_of_the_check(runs: list[FlowRun], outcome: str, detail: str) -> None:
    every = {part.name: part for part in examine(well(None, *runs, completed(DIGEST, minutes(1))), Config())}
    part = every[f"last run of {CHECK}"]
    assert (part.outcome, detail in part.detail) == (outcome, True), part


def test_a_check_that_was_deployed_a_moment_ago_has_time_to_complete() -> None:
    fresh = ours(CHECK, changed=NOW - minutes(12))
    every = {part.name: part for part in examine(well(fresh, completed(DIGEST, minutes(1))), Config())}
    part = every[f"last run of {CHECK}"]
    assert (part.outcome, part.detail) == ("ok", "no run has completed yet")


def test_a_check_whose_runs_are_deleted_before_the_next_is_not_called_late() -> None:
    rare = ours(CHECK, due=tuple(NOW - timedelta(days=days) for days in (90, 60, 30)))
    examined = wrong(well(rare, completed(DIGEST, minutes(1))))
    assert outcomes(examined) == {f"last run of {CHECK}": "unknown"}


@pytest.mark.parametrize(("ago", "outcome"), [(30, None), (31, "warning")])
def test_ended_runs_that_have_not_been_read_whole_for_long(ago: float, outcome: str | None) -> None:
    examined = wrong(well(kept=Kept(coverage=complete(), cursor=NOW - minutes(ago))))
    assert outcomes(examined).get("ended runs") == outcome


# --- what is kept ---------------------------------------------------------------------------------------


def broken(document: str) -> Coverage:
    return Coverage(queries=(Query(name=f"state-{document}", outcome="partial", detail=f"{document} is rubbish"),))


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (Kept(coverage=broken("ledger")), {"state": "warning", "ended runs": "unknown"}),
        (FRESH.model_copy(update={"coverage": broken("outbox")}), {"state": "warning", "outbox": "unknown"}),
        (FRESH.model_copy(update={"aside": ("watchdog-document/ledger-broken-1",)}), {"state": "warning"}),
        (Kept(problem="upgrade"), {"state": "fault", "outbox": "unknown", "ended runs": "unknown"}),
    ],
)
def test_documents_that_cannot_be_read(kept: Kept, expected: dict[str, str]) -> None:
    assert outcomes(wrong(well(kept=kept))) == expected


def waiting(ago: timedelta) -> Kept:
    delivery = Delivery(id="1", kind="event", queued_at=NOW - ago)
    return FRESH.model_copy(update={"outbox": Outbox(queue=(delivery,))})


@pytest.mark.parametrize(("ago", "outcome"), [(minutes(29), None), (minutes(30), "warning")])
def test_what_has_waited_to_be_said_for_long(ago: timedelta, outcome: str | None) -> None:
    assert outcomes(wrong(well(kept=waiting(ago)))).get("outbox") == outcome


@pytest.mark.parametrize(
    ("since", "permanent", "outcome"),
    [
        (NOW - minutes(29), False, None),
        (NOW - minutes(30), False, "warning"),
        (NOW, True, "fault"),
    ],
)
def test_routes_in_trouble(since: datetime, permanent: bool, outcome: str | None) -> None:
    trouble = Trouble(since=since, problem="busy", permanent=permanent)
    kept = FRESH.model_copy(update={"outbox": Outbox(troubles={"default": trouble, "gone": trouble})})
    examined = wrong(well(kept=kept), slack={"channel": "ops"})
    assert outcomes(examined) == ({"deliveries by default": outcome} if outcome else {})


@pytest.mark.parametrize(
    ("lock", "outcome", "detail"),
    [
        (None, "ok", "free"),
        (Lock(holder="run-1", since=NOW, renewed=NOW, expired=False), "ok", "held by flow run run-1"),
        (Lock(holder="run-1", since=NOW, renewed=NOW, expired=True), "warning", "left behind by flow run run-1, last"),
        (
            Lock(holder="run-1", since=NOW, renewed=NOW, expired=False, ended=True),
            "warning",
            "left behind by flow run run-1, which has ended, last renewed at",
        ),
        (
            Lock(holder=None, since=NOW, renewed=NOW, expired=True),
            "warning",
            "an unknown holder (the variable was edited)",
        ),
    ],
)
def test_the_lock(lock: Lock | None, outcome: str, detail: str) -> None:
    every = {part.name: part for part in examine(well(lock=lock), Config())}
    assert (every["lock"].outcome, detail in every["lock"].detail) == (outcome, True)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (LOCK, {"lock"}),
        (STATE, {"state", "outbox", "ended runs"}),
        (AUTOMATIONS, {"trigger of the check", "watch over the watchdog"}),
        ("own-runs", {f"last run of {CHECK}", f"last run of {DIGEST}", "ended runs"}),
        ("work-pools", {"work pool watchdog"}),
    ],
)
def test_what_could_not_be_read_is_not_examined_and_no_fault(query: str, names: set[str]) -> None:
    whole = complete("own-runs", "workers", AUTOMATIONS, LOCK, STATE).queries
    failed = [known if known.name != query else Query(name=query, outcome="failed", detail="403") for known in whole]
    old = FRESH.model_copy(update={"cursor": NOW - hours(1)}) if query == "own-runs" else FRESH
    examined = wrong(well(coverage=Coverage(queries=tuple(failed)), kept=old))
    assert outcomes(examined) == dict.fromkeys(names, "unknown")
