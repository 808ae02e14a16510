"""Collects what the metrics of Prefect's own exporter are made of: see ``monitoring.metrics.compatible``.

Each answer is read whole or not at all, and no more rows are read than are named here. How each query is asked follows
the indexes that Prefect's database has (prefect/server/database/orm_models.py): types of state with ``start_time``,
``end_time`` with its own order, and else the order of ids, which has no ties.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, get_args

from monitoring.adapters.prefect_server.api import Api
from monitoring.adapters.prefect_server.collection import Collection
from monitoring.adapters.prefect_server.rows import Row
from monitoring.config import Compatibility, Config
from monitoring.metrics.compatible import (
    DEPLOYMENTS,
    ENDED,
    FAILED,
    FLOWS,
    LATE,
    ONGOING,
    POOLS,
    QUEUES,
    STARTED,
    DeployedFlow,
    Facts,
    Pool,
    Queue,
)
from monitoring.model import FlowRun, StateType
from monitoring.policy import Policies

T = TypeVar("T")
#: So many flow runs are read for one metric. Of more, none: a part of them would be a wrong number.
MOST_RUNS = 10_000
_STATE_TYPES: tuple[str, ...] = get_args(StateType)


def collect(api: Api, config: Config, now: datetime, deployments: Sequence[Row] | None = None) -> Facts:
    """Collect the facts. The watchdog's own flows and runs count like all others, as they do there.

    Nothing is raised for what cannot be read: the coverage of the facts says what is missing, and why.

    Args:
        api: The server's API.
        config: How it is asked, and the windows.
        now: The end of the windows.
        deployments: The rows of all deployments, where they were just read: no other answer takes a server as long,
            10 ms a row. None: they are read.
    """
    settings = config.metrics.compatibility
    # No message is looked at, so none is kept.
    collection = Collection(api, config, lambda message: "", now, Policies(config))
    facts = Facts(
        flows=dict(_all(collection, FLOWS, "/flows/filter", _flow)),
        deployments=_deployments(collection, deployments),
        started=_started(collection, now - settings.window),
        ended=_runs(collection, ENDED, {"end_time": _since(now - settings.window)}, "END_TIME_DESC"),
        ongoing=_ongoing(collection),
        failed=_failed(collection, settings),
        pools=_all(collection, POOLS, "/work_pools/filter", _pool),
        queues=_all(collection, QUEUES, "/work_queues/filter", _queue),
        late=_late(collection),
    )
    return facts.model_copy(update={"coverage": collection.coverage})


def _deployments(collection: Collection, known: Sequence[Row] | None) -> tuple[DeployedFlow, ...]:
    if known is None:
        return _all(collection, DEPLOYMENTS, "/deployments/filter", _deployment, sort="CREATED_DESC")
    rows = collection.ask(DEPLOYMENTS, (), lambda: known)
    return tuple(collection.values(DEPLOYMENTS, rows, _deployment))


def _started(collection: Collection, since: datetime) -> tuple[FlowRun, ...]:
    # Every type of state is named: without one, SQLite reads all runs that there are.
    return _runs(collection, STARTED, {"state": _type(*_STATE_TYPES), "start_time": _since(since)})


def _ongoing(collection: Collection) -> tuple[FlowRun, ...]:
    filters = {
        "state": _type("RUNNING", "PENDING", "SCHEDULED"),
        "end_time": {"is_null_": True},
        # What is planned and has never begun has no run time, and there is much of it.
        "start_time": {"is_null_": False},
    }
    return _runs(collection, ONGOING, filters)


def _failed(collection: Collection, settings: Compatibility) -> tuple[FlowRun, ...]:
    filters = {
        "state": _type("FAILED", "CRASHED"),
        "start_time": _since(collection.now - settings.failed_window),
        "deployment_id": {"is_null_": False},
    }
    return _runs(collection, FAILED, filters, advice="shorten metrics.compatibility.failed_window")


def _late(collection: Collection) -> dict[tuple[str | None, str], int]:
    """Late runs of each queue, as ``/work_queues/{id}/status`` counts them, in one request where there are none."""
    late = _runs(collection, LATE, {"state": {"name": {"any_": ["Late"]}}})
    return Counter((run.work_pool, run.work_queue) for run in late if run.work_queue)


def _runs(
    collection: Collection, name: str, filters: Mapping[str, Any], sort: str = "ID_DESC", advice: str = "not read"
) -> tuple[FlowRun, ...]:
    """All flow runs of a filter, counted before they are read; none where there are too many."""
    count = collection.count(name, {"flow_runs": filters})
    if count is not None and count > MOST_RUNS:
        collection.note(name, "partial", f"there are {count:,} flow runs, and {MOST_RUNS:,} are read at most: {advice}")
    elif count:
        return tuple(collection.runs(name, {"flow_runs": filters, "sort": sort}))
    return ()


def _all(collection: Collection, name: str, path: str, make: Callable[[Row], T], **body: str) -> tuple[T, ...]:
    return tuple(collection.values(name, collection.rows(name, path, body), make))


def _flow(row: Row) -> tuple[str, str]:
    return str(row["id"]), str(row["name"])


def _deployment(row: Row) -> DeployedFlow:
    return DeployedFlow(
        id=row["id"],
        name=row["name"],
        flow_id=row["flow_id"],
        paused=row["paused"],
        path=row.get("path"),
        work_pool=row.get("work_pool_name"),
        work_queue=row.get("work_queue_name"),
        status=row.get("status"),
        tags=tuple(row.get("tags") or ()),
    )


def _pool(row: Row) -> Pool:
    return Pool(name=row["name"], type=row["type"], status=row.get("status"), paused=row["is_paused"])


def _queue(row: Row) -> Queue:
    return Queue(
        name=row["name"],
        work_pool=row.get("work_pool_name"),
        priority=row["priority"],
        status=row.get("status"),
        paused=row["is_paused"],
        last_polled=row.get("last_polled"),
    )


def _type(*state_types: str) -> dict[str, Any]:
    return {"type": {"any_": list(state_types)}}


def _since(moment: datetime) -> dict[str, str]:
    return {"after_": moment.isoformat()}
