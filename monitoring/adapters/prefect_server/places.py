"""Where runs come from and where they wait: flows, deployments, work pools and their workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

from monitoring.adapters.prefect_server import rows
from monitoring.adapters.prefect_server.collection import Collection, chunks
from monitoring.adapters.prefect_server.rows import Row
from monitoring.adapters.prefect_server.schedules import newest_due
from monitoring.model import OWN_FLOWS, Deployment, FlowRun, Ledger, WorkPool, flow_key

#: Pools of these types have no workers that could be counted; the older agents send no heartbeats.
_WITHOUT_WORKERS = ("prefect-agent",)
_WITHOUT_WORKERS_SUFFIXES = (":push", ":managed")


def own_flows(collection: Collection) -> frozenset[str]:
    """The ids of the watchdog's own flows."""
    found = collection.rows("flows", "/flows/filter", {"flows": {"name": {"any_": list(OWN_FLOWS)}}})
    return frozenset(row["id"] for row in found)


def flow_names(collection: Collection, flow_ids: Iterable[str]) -> dict[str, str]:
    """The names of flows, by id."""
    names: dict[str, str] = {}
    for chunk in chunks(sorted(flow_ids)):
        found = collection.rows("flows", "/flows/filter", {"flows": {"id": {"any_": chunk}}})
        names |= collection.values("flows", found, lambda row: (row["id"], row["name"]))
    return names


class Deployed(NamedTuple):
    """What is deployed: deployments by id, flows' names by id, and active schedules by deployment id."""

    deployments: dict[str, Deployment]
    names: dict[str, str]
    schedules: dict[str, list[Row]]


def deployments(collection: Collection) -> Deployed:
    """All deployments, the watchdog's own too, with the names of their flows and their active schedules."""
    # Not by name, which many share: in an order with ties, pages overlap and miss rows.
    found = collection.rows("deployments", "/deployments/filter", {"sort": "CREATED_DESC"})
    names = flow_names(collection, {row["flow_id"] for row in found if "flow_id" in row})
    # Without its flow's name a deployment cannot be named; the coverage says that names are missing.
    named = [row for row in found if "flow_id" not in row or row["flow_id"] in names]
    made = collection.values("deployments", named, lambda row: _deployment(collection, row, names))
    by_id = {deployment.id: deployment for deployment in made}
    schedules = {row["id"]: rows.active_schedules(row) for row in named if row.get("id") in by_id}
    return Deployed(by_id, names, schedules)


def _deployment(collection: Collection, row: Row, names: Mapping[str, str]) -> Deployment:
    bare = rows.deployment(row, names[row["flow_id"]])
    stale = collection.policy(bare).stale
    if not bare.scheduled or not stale.enabled or stale.within:
        return bare
    schedules = rows.active_schedules(row)
    try:
        due = newest_due(schedules, until=collection.now - stale.grace, count=stale.missed_fires)
    except ValueError as problem:
        collection.note("schedules", "partial", f"{bare.name}: {problem}")
        return bare
    return bare.model_copy(update={"due": due})


def flows_without_deployment(
    collection: Collection, runs: Iterable[FlowRun], ledger: Ledger, names: dict[str, str]
) -> dict[str, Deployment]:
    """The flows of runs that have no deployment, those in the ledger included; new names are added to ``names``."""
    prefix = flow_key("")
    remembered = {key.removeprefix(prefix) for key in ledger.records if key.startswith(prefix)}
    flow_ids = remembered | {run.flow_id for run in runs if run.deployment_id is None}
    names |= flow_names(collection, flow_ids - names.keys())
    return {
        flow_key(flow): Deployment(
            id=flow, kind="flow", name=names[flow], flow_id=flow, flow_name=names[flow], created=collection.now
        )
        for flow in flow_ids
        if flow in names
    }


def work_pools(
    collection: Collection,
    active: Sequence[FlowRun],
    overdue: Sequence[FlowRun],
    deployments: Mapping[str, Deployment],
) -> dict[str, WorkPool]:
    """All work pools by name; the workers of those that something waits for are counted."""
    waited_for = {run.work_pool or deployments[run.key].work_pool for run in overdue if run.key in deployments}
    pools = collection.rows("work-pools", "/work_pools/filter", {})
    queues = collection.rows("work-queues", "/work_queues/filter", {})
    placed = list(collection.values("work-queues", queues, lambda row: (row["work_pool_name"], rows.work_queue(row))))
    found = {}
    for row in pools:
        mine = [queue for pool_name, queue in placed if pool_name == row.get("name")]
        live = _live_workers(collection, row) if row.get("name") in waited_for else None
        for pool in collection.values("work-pools", [row], partial(rows.work_pool, queues=mine, live_workers=live)):
            found[pool.name] = pool
    return found


def _live_workers(collection: Collection, pool: Row) -> int | None:
    kind = str(pool.get("type"))
    if kind in _WITHOUT_WORKERS or kind.endswith(_WITHOUT_WORKERS_SUFFIXES):
        return None
    path = f"/work_pools/{quote(str(pool['name']), safe='')}/workers/filter"
    found = collection.rows("workers", path, {})
    if not collection.coverage.has("workers"):
        return None
    workers = list(collection.values("workers", found, rows.WorkerRow.model_validate))
    return sum(worker.live(collection.now) for worker in workers)
