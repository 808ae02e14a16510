"""Reads flows, deployments, and work pools with their queues and workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.backlog import work_ahead
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.compatible import deployed_flows
from monitoring.adapters.prefect.read.rows import Row
from monitoring.adapters.prefect.read.schedules import due_between, newest_due
from monitoring.checks.ahead import CHECK as AHEAD
from monitoring.checks.facts.serving import stopped
from monitoring.checks.stale import CHECK as STALE
from monitoring.history.baselines import granted
from monitoring.model.exporter_facts import DeployedFlow
from monitoring.model.ledger import Ledger, RunTimes
from monitoring.model.prefect import OWN_FLOWS, Deployment, FlowRun, WorkPool, WorkQueue, flow_key

#: Pools of these types have no workers to count; the older agents send no heartbeats.
_WITHOUT_WORKERS = ("prefect-agent",)
_WITHOUT_WORKERS_SUFFIXES = (":push", ":managed")
#: Besides pools with waiting runs, the workers of this many pools are counted, with a request each.
_MAX_POOLS_AHEAD = 200
#: The server reports that a pool has a worker, or that it is paused, which is known without counting workers.
_SETTLED = ("READY", "PAUSED")


def own_flows(collection: Collection) -> frozenset[str]:
    """The ids of the watchdog's own flows."""
    found = collection.rows("flows", "/flows/filter", {"flows": {"name": {"any_": list(OWN_FLOWS)}}})
    return frozenset(row["id"] for row in found)


def flow_names(collection: Collection, flow_ids: Iterable[str]) -> dict[str, str]:
    """The names of flows, by id."""
    return dict(collection.by_id("flows", "flows", flow_ids, lambda row: (row["id"], collection.name(row["name"]))))


class Deployed(NamedTuple):
    """Deployments by id, names of flows by id, and active schedules by deployment id."""

    deployments: dict[str, Deployment]
    names: dict[str, str]
    schedules: dict[str, list[Row]]
    #: Paused deployments whose ``serve()`` process has ended, by id: the first time after that at which they were due.
    unserved: dict[str, datetime]
    #: All deployments, for the metrics of Prefect's own exporter: see ``deployed_flows``.
    flows: tuple[DeployedFlow, ...] | None


def deployments(collection: Collection, ledger: Ledger) -> Deployed:
    """Read all deployments, the watchdog's own too, with the names of their flows and their active schedules."""
    # Not by name, which several share: in an order with ties, pages miss rows.
    found = collection.rows("deployments", "/deployments/filter", {"sort": "CREATED_DESC"})
    flows = deployed_flows(collection, found)
    names = flow_names(collection, {row["flow_id"] for row in found if "flow_id" in row})
    # Without the flow's name a deployment cannot be named; the coverage shows that names are missing.
    named = [row for row in found if "flow_id" not in row or row["flow_id"] in names]
    made = collection.values("deployments", named, lambda row: _deployment(collection, row, names, ledger))
    by_id = {deployment.id: deployment for deployment in made}
    known = [row for row in named if row.get("id") in by_id]
    schedules = {row["id"]: rows.active_schedules(row) for row in known}
    unserved = {}
    for row in known:
        if due := _due_unserved(collection, row, by_id[row["id"]], ledger):
            unserved[row["id"]] = due
    return Deployed(by_id, names, schedules, unserved, flows)


def _due_unserved(collection: Collection, row: Row, deployment: Deployment, ledger: Ledger) -> datetime | None:
    end = stopped(deployment, ledger.record(deployment.id), collection.now)
    if end is None:
        return None
    due = collection.expand(
        deployment, (), due_between, rows.paused_schedules(row), after=end.at, until=collection.now, limit=1
    )
    return next(iter(due), None)


def _deployment(collection: Collection, row: Row, names: Mapping[str, str], ledger: Ledger) -> Deployment:
    bare = rows.deployment(row, names[row["flow_id"]], collection.name)
    stale = STALE.settings(collection.policy(bare))
    if not bare.scheduled or not stale.enabled or stale.within:
        return bare
    record = ledger.record(bare.id)

    def due(schedules: list[Row], run_times: RunTimes) -> tuple[datetime, ...]:
        # A run may take its usual time, and the grace on top, to succeed.
        until = collection.now - granted(run_times) - stale.grace
        return collection.expand(bare, (), newest_due, schedules, until=until, count=stale.missed_fires)

    own = []
    for found in bare.schedule_parameters:
        known = record.by_parameters.get(found.key)
        times = due(rows.schedules_with(row, found), known.run_times if known else record.run_times)
        own.append(found.model_copy(update={"due": times}))
    changes = {"due": due(rows.active_schedules(row), record.run_times), "schedule_parameters": tuple(own)}
    return bare.model_copy(update=changes)


def flows_without_deployment(
    collection: Collection, runs: Iterable[FlowRun], ledger: Ledger, names: dict[str, str]
) -> dict[str, Deployment]:
    """The flows of runs without a deployment, and those of the ledger; new names are added to ``names``."""
    prefix = flow_key("")
    recorded = {key.removeprefix(prefix) for key in ledger.records if key.startswith(prefix)}
    flow_ids = recorded | {run.flow_id for run in runs if run.deployment_id is None}
    names |= flow_names(collection, flow_ids - names.keys())
    flows = (
        Deployment(id=flow, kind="flow", name=names[flow], flow_id=flow, flow_name=names[flow], created=collection.now)
        for flow in flow_ids
        if flow in names
    )
    return {flow.key: flow for flow in flows}


def work_pools(
    collection: Collection,
    runs: Iterable[FlowRun],
    deployments: Mapping[str, Deployment],
    missed: Iterable[Deployment] = (),
) -> dict[str, WorkPool]:
    """All work pools by name. Workers are counted if runs wait, and if deployments may have runs ahead.

    They are counted, too, if runs waited until they were cancelled, as those of the deployments in ``missed`` did.

    If there are too many such pools, those that the server reports as ready are left out first.
    """
    pools = collection.rows("work-pools", "/work_pools/filter", {})
    queues = queues_by_pool(collection)
    states = ("SCHEDULED", "PENDING", "CANCELLED")
    waiting = (run for run in runs if run.state_type in states and run.key in deployments)
    used = (run.work_pool or deployments[run.key].work_pool for run in waiting)
    waited_for = set(filter(None, (*used, *(deployment.work_pool for deployment in missed))))
    named = [(collection.name(str(row.get("name"))), row) for row in pools]
    ahead = _ahead(collection, [(name, row) for name, row in named if name not in waited_for], deployments)
    counted = waited_for | ahead.counted
    found = {}
    for name, row in named:
        workers = workers_of(collection, row) if name in counted else None
        make = partial(
            rows.work_pool, queues=queues.get(name, ()), workers=workers, now=collection.now, name=collection.name
        )
        for pool in collection.values("work-pools", [row], make):
            found[pool.name] = pool
    if work_ahead(collection, ahead.left, ahead.within):
        detail = (
            f"counted in {len(ahead.counted)} of {len(ahead.counted) + len(ahead.left)} work pools that are not ready"
        )
        collection.note("workers", "partial", detail)
    return found


def queues_by_pool(collection: Collection) -> dict[str, list[WorkQueue]]:
    """All work queues, by the name of their pool: the server ignores a filter of pools here."""
    queues: dict[str, list[WorkQueue]] = {}
    for pool_name, queue in collection.read(
        "work-queues",
        "/work_queues/filter",
        {},
        lambda row: (row["work_pool_name"], rows.work_queue(row, collection.name)),
    ):
        queues.setdefault(collection.name(pool_name), []).append(queue)
    return queues


class _Ahead(NamedTuple):
    """Pools that may have runs ahead: those whose workers are counted, and those left out though not ready."""

    #: By name.
    counted: set[str]
    #: By id.
    left: Sequence[str]
    within: timedelta


def _ahead(collection: Collection, pools: Iterable[tuple[str, Row]], deployments: Mapping[str, Deployment]) -> _Ahead:
    within: dict[str, timedelta] = {}
    for deployment in deployments.values():
        policy = collection.policy(deployment)
        settings = AHEAD.settings(policy)
        if deployment.work_pool and policy.watch and settings.enabled:
            within[deployment.work_pool] = max(settings.within, within.get(deployment.work_pool, timedelta(0)))
    used = [(name, pool) for name, pool in pools if name in within and _has_workers(pool)]
    used.sort(key=lambda named: (named[1].get("status") in _SETTLED, named[0]))
    left = [str(pool.get("id")) for _, pool in used[_MAX_POOLS_AHEAD:] if pool.get("status") not in _SETTLED]
    return _Ahead({name for name, _ in used[:_MAX_POOLS_AHEAD]}, left, max(within.values(), default=timedelta(0)))


def _has_workers(pool: Row) -> bool:
    kind = str(pool.get("type"))
    return kind not in _WITHOUT_WORKERS and not kind.endswith(_WITHOUT_WORKERS_SUFFIXES)


def workers_of(collection: Collection, pool: Row) -> list[rows.WorkerRow] | None:
    """The workers of a pool; None if its type has none, or not all are known."""
    if not _has_workers(pool):
        return None
    path = f"/work_pools/{quote(str(pool['name']), safe='')}/workers/filter"
    workers = collection.read("workers", path, {}, rows.WorkerRow.model_validate)
    return workers if collection.coverage.has("workers") else None
