"""Runs that are part of other runs: which run a subflow belongs to."""

from __future__ import annotations

from collections.abc import Collection as Some
from collections.abc import Iterable, Mapping

from monitoring.adapters.prefect.read.collection import Collection
from monitoring.model.prefect import FlowRun

#: Levels of nested subflows that are followed.
_MAX_LEVELS = 5
_QUERY = "limit-holders"


def outermost(collection: Collection, flow_run_ids: Some[str], known: Mapping[str, FlowRun]) -> dict[str, FlowRun]:
    """The runs with these ids, by id, without those that are gone; ``known`` runs are not read.

    A subflow in its parent's process is replaced by that parent.
    """
    read = dict(known)
    of = {id: id for id in flow_run_ids}
    for _ in range(_MAX_LEVELS):
        read |= {run.id: run for run in collection.runs_by_id(_QUERY, {id for id in of.values() if id not in read})}
        inner = {id: run.parent_task_run_id for id in of.values() if (run := read.get(id)) and not run.deployment_id}
        parents = flow_runs_of(collection, _QUERY, {task for task in inner.values() if task})
        up = {id: parents[task] for id, task in inner.items() if task in parents}
        if not up:
            break
        of = {id: up.get(run_id, run_id) for id, run_id in of.items()}
    return {id: read[run_id] for id, run_id in of.items() if run_id in read}


def flow_runs_of(collection: Collection, query: str, task_run_ids: Iterable[str]) -> dict[str, str]:
    """The flow runs that task runs belong to, by the task run's id; ``query`` names the query in the coverage."""
    return dict(collection.by_id(query, "task_runs", task_run_ids, lambda row: (row["id"], row["flow_run_id"])))
