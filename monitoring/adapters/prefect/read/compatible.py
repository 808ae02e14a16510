"""Collects the facts for the metrics of Prefect's own exporter: see ``monitoring.metrics.compatible``.

Names and texts that people choose are redacted here.

Each answer is read completely or not at all, and the number of rows is bounded. The queries follow the indexes of
Prefect's database (prefect/server/database/orm_models.py): state types with ``start_time``, ``end_time`` in its own
order, and otherwise the order of ids, which has no ties.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, get_args

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.rows import Row, distinct, parsed
from monitoring.config.metric_settings import Compatibility
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.errors import BadAnswer
from monitoring.model.exporter_facts import (
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
    ExporterFacts,
    Pool,
    Queue,
)
from monitoring.model.prefect import FlowRun, StateType

#: Flow runs read for a metric. If there are more, none are read: a part of them would give a wrong number.
MAX_RUNS = 10_000
_STATE_TYPES: tuple[str, ...] = get_args(StateType)


def deployed_flows(collection: Collection, found: Iterable[Row]) -> tuple[DeployedFlow, ...] | None:
    """Convert the rows of all deployments for ``collect``: no other answer takes the server as long, 10 ms a row.

    None if these metrics are off, or not all deployments are known.
    """
    if not collection.config.metrics.compatibility.enabled or not collection.coverage.has("deployments"):
        return None
    make = partial(_deployment, redact=collection.name)
    try:
        return tuple(parsed("deployments", make, row) for row in found)
    except BadAnswer:
        # A missing label must not make a check incomplete.
        return None


def collect(
    api: Api, config: Config, redact: Callable[[str], str], now: datetime, deployed: tuple[DeployedFlow, ...] | None
) -> ExporterFacts:
    """Collect the facts. The watchdog's own flows and runs count, as they do in Prefect's exporter.

    If something cannot be read, nothing is raised: the coverage of the facts says what is missing, and why.
    ``deployed`` are all deployments, None if the check has not read all.
    """
    settings = config.metrics.compatibility
    # Messages and names of runs are not used, so none is kept.
    collection = Collection(api, config, lambda message: "", now, Policies(config))
    collection.name = distinct(redact)
    if deployed is None:
        collection.note(DEPLOYMENTS, "failed", "the check has not read all deployments")
    facts = ExporterFacts(
        deployments=collection.query(DEPLOYMENTS, (), lambda: deployed or ()),
        flows=dict(
            collection.read(FLOWS, "/flows/filter", {}, lambda row: (str(row["id"]), collection.name(row["name"])))
        ),
        started=_started(collection, now - settings.window),
        ended=_ended(collection, now - settings.window),
        ongoing=_ongoing(collection),
        failed=_failed(collection, settings),
        pools=tuple(collection.read(POOLS, "/work_pools/filter", {}, partial(_pool, redact=collection.name))),
        queues=tuple(
            collection.read(
                QUEUES, "/work_queues/filter", {}, partial(_queue, redact=collection.name, late=_late(collection))
            )
        ),
    )
    return facts.model_copy(update={"coverage": collection.coverage})


def _if_given(redact: Callable[[str], str], text: str | None) -> str | None:
    return None if text is None else redact(text)


def _started(collection: Collection, since: datetime) -> tuple[FlowRun, ...]:
    # Every state type is named: otherwise SQLite reads all runs.
    return _runs(collection, STARTED, {"state": _type(*_STATE_TYPES), "start_time": _since(since)})


def _ended(collection: Collection, since: datetime) -> tuple[FlowRun, ...]:
    return _runs(collection, ENDED, {"end_time": _since(since)}, "END_TIME_DESC")


def _ongoing(collection: Collection) -> tuple[FlowRun, ...]:
    filters = {
        "state": _type("RUNNING", "PENDING", "SCHEDULED"),
        "end_time": {"is_null_": True},
        # Planned runs that never started have no run time, and there are many.
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
    """Late runs of each queue, as ``/work_queues/{id}/status`` counts them; one request if there are none."""
    late = _runs(collection, LATE, {"state": {"name": {"any_": ["Late"]}}})
    return Counter((run.work_pool, run.work_queue) for run in late if run.work_queue is not None)


def _runs(
    collection: Collection, name: str, filters: Mapping[str, Any], sort: str = "ID_DESC", advice: str = "not read"
) -> tuple[FlowRun, ...]:
    """All flow runs of a filter, counted before they are read; none if there are too many."""
    count = collection.count(name, {"flow_runs": filters})
    if count is not None and count > MAX_RUNS:
        collection.note(name, "partial", f"there are {count:,} flow runs, and {MAX_RUNS:,} are read at most: {advice}")
    elif count:
        return tuple(collection.runs(name, {"flow_runs": filters, "sort": sort}))
    return ()


def _deployment(row: Row, redact: Callable[[str], str]) -> DeployedFlow:
    return DeployedFlow(
        id=row["id"],
        name=redact(row["name"]),
        flow_id=row["flow_id"],
        paused=row["paused"],
        path=_if_given(redact, row.get("path")),
        work_pool=_if_given(redact, row.get("work_pool_name")),
        work_queue=_if_given(redact, row.get("work_queue_name")),
        status=row.get("status"),
        tags=tuple(redact(tag) for tag in row.get("tags") or ()),
    )


def _pool(row: Row, redact: Callable[[str], str]) -> Pool:
    return Pool(name=redact(row["name"]), type=row["type"], status=row.get("status"), paused=row["is_paused"])


def _queue(row: Row, redact: Callable[[str], str], late: Mapping[tuple[str | None, str], int]) -> Queue:
    name, work_pool = redact(row["name"]), _if_given(redact, row.get("work_pool_name"))
    return Queue(
        name=name,
        work_pool=work_pool,
        priority=row["priority"],
        status=row.get("status"),
        paused=row["is_paused"],
        last_polled=row.get("last_polled"),
        late=late.get((work_pool, name), 0),
    )


def _type(*state_types: str) -> dict[str, Any]:
    return {"type": {"any_": list(state_types)}}


def _since(time: datetime) -> dict[str, str]:
    return {"after_": time.isoformat()}
