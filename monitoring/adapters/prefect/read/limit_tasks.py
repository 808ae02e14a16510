"""Task runs at a tag's concurrency limit: those that run, and those that wait for a slot.

A task run requests its slots in its own process, once it was created and its inputs have ended, and is Pending until it
has them (prefect/task_engine.py); older servers call the state AwaitingConcurrencySlot. In both cases its expected
start is the time of its creation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import Field

from monitoring.adapters.prefect.read.collection import Collection
from monitoring.model.base import Timestamp, Value
from monitoring.model.prefect import TERMINAL, StateType

_QUERY = "limit-waiters"
_WAITING = ("Pending", "AwaitingConcurrencySlot")
#: Inputs of task runs that are read; task runs with other inputs are not judged.
_MAX_INPUTS = 500


class _TaskRow(Value):
    """A task run."""

    id: str
    flow_run_id: str
    state_type: StateType
    state_name: str
    expected_start_time: Timestamp
    end_time: Timestamp | None = None
    task_inputs: Mapping[str, Sequence[Mapping[str, Any]]] = Field(default_factory=dict)

    @property
    def inputs(self) -> set[str]:
        """The ids of the task runs that it depends on."""
        given = (task_input for inputs in self.task_inputs.values() for task_input in inputs)
        return {task_input["id"] for task_input in given if task_input.get("input_type") == "task_run"}


class Unfinished(NamedTuple):
    """Task runs of one tag that have not ended, by their flow runs, which are RUNNING."""

    #: The flow runs of the running task runs, one entry for each.
    running: Sequence[str]
    #: Flow runs with task runs that wait only for a slot: since when the first of them has waited.
    waiting: Mapping[str, datetime]


def unfinished(collection: Collection, tag: str) -> Unfinished:
    """Read the oldest task runs of a tag that run or wait, as many as the server returns at once."""
    body = {
        # By names: servers have many task runs that are PENDING for ever, since their inputs failed.
        "task_runs": {"tags": {"all_": [tag]}, "state": {"name": {"any_": [*_WAITING, "Running"]}}},
        "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    tasks = collection.first(_QUERY, "/task_runs/filter", body, _TaskRow.model_validate) or []
    waits = [task for task in tasks if task.state_name in _WAITING]
    ready = _ready_since(collection, waits)
    waiting: dict[str, datetime] = {}
    for task in waits:
        if task.id in ready:
            waiting[task.flow_run_id] = min(ready[task.id], waiting.get(task.flow_run_id, ready[task.id]))
    return Unfinished([task.flow_run_id for task in tasks if task.state_name == "Running"], waiting)


def _ready_since(collection: Collection, tasks: Sequence[_TaskRow]) -> dict[str, datetime]:
    """Since when all inputs of task runs have ended, by id; without task runs whose inputs may not have ended."""
    inputs = sorted(set().union(*(task.inputs for task in tasks)))[:_MAX_INPUTS]
    found = collection.by_id(_QUERY, "task_runs", inputs, _TaskRow.model_validate)
    ended = {task.id: task.end_time for task in found if task.state_type in TERMINAL}
    since = {}
    for task in tasks:
        ends = [ended.get(id) for id in task.inputs]
        if all(ends):
            since[task.id] = max([task.expected_start_time, *(end for end in ends if end)])
    return since
