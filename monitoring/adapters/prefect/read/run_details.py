"""Reads the details of one deployment or run for `explain`: parameters, versions, worker and tasks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import Collection, read_events
from monitoring.adapters.prefect.read.rows import Row
from monitoring.adapters.prefect.read.run_times import newest_completed
from monitoring.errors import WatchdogError
from monitoring.model.base import Timestamp, Value
from monitoring.model.prefect import Deployment, FlowRun, StateType, flow_key
from monitoring.text.visible import visible
from monitoring.tuning.run_comparison import Given, RunDetails, TaskTime

#: Characters shown of a parameter's value.
_MAX_VALUE = 120
#: Task runs that are compared: one page.
_MAX_TASKS = 200
#: The suffix of a task key (prefect/tasks.py, ``task_key``): it changes with the file that the task is in.
_HASH = re.compile(r"-[0-9a-f]{8}$")
#: A control character, as JSON writes it.
_CONTROL = re.compile(r"\\u00[01][0-9a-f]")
#: From the worst to the best.
_WORST: tuple[StateType, ...] = (
    "FAILED",
    "CRASHED",
    "CANCELLED",
    "CANCELLING",
    "PAUSED",
    "RUNNING",
    "PENDING",
    "SCHEDULED",
    "COMPLETED",
)


class ExplainedSubject(Value):
    """What to explain: the key of a deployment or flow, and the run if one was named."""

    key: str
    run_id: str | None = None


class _TaskRow(Value):
    id: str
    task_key: str
    state_type: StateType | None = None
    state_name: str | None = None
    start_time: Timestamp | None = None
    end_time: Timestamp | None = None


def find(api: Api, name: str) -> ExplainedSubject:
    """Find the deployment ``FLOW/DEPLOYMENT``, or the run with that id.

    Raises:
        WatchdogError: There is no such deployment or run, or the name is malformed.
        ServerProblem: The server does not answer.
    """
    if run_id := _as_id(name):
        row = api.read(f"/flow_runs/{run_id}", dict[str, Any])
        if row is None:
            raise WatchdogError(f"{name}: no such flow run on {api.url}; see `prefect flow-run ls`")
        key = rows.parsed("a flow run", lambda row: row.get("deployment_id") or flow_key(row["flow_id"]), row)
        return ExplainedSubject(key=key, run_id=run_id)
    flow, slash, own_name = name.partition("/")
    if not (flow and slash and own_name) or "/" in own_name:
        raise WatchdogError(f"{name}: expected FLOW/DEPLOYMENT, such as etl/nightly, or the id of a flow run")
    row = api.deployment(name)
    if row is None:
        raise WatchdogError(f"{name}: no such deployment on {api.url}; see `prefect deployment ls`")
    return ExplainedSubject(key=rows.parsed("a deployment", lambda row: str(row["id"]), row))


def details(collection: Collection, run_id: str) -> RunDetails | None:
    """Read the details of a run in three requests; None if it cannot be read, as the coverage shows."""
    row = collection.query("run-details", None, collection.api.get, f"/flow_runs/{run_id}")
    found = [row] if isinstance(row, dict) else []
    made = next(collection.values("run-details", found, partial(_details, collection)), None)
    return made.model_copy(update=_more(collection, run_id)) if made else None


def last_good(collection: Collection, deployment: Deployment, bad: FlowRun) -> RunDetails | None:
    """Read the details of the newest run of a deployment that completed before ``bad`` ended; None if there is none."""
    body = newest_completed(deployment, bad.end_time or collection.now)
    found = collection.first_runs("last-good-run", {**body, "limit": 1})
    return details(collection, found[0].id) if found else None


def samples(collection: Collection, deployment: Deployment) -> tuple[FlowRun, ...]:
    """The newest completed runs of a deployment, from which run times are learned."""
    found = collection.first_runs("baseline-runs", newest_completed(deployment, collection.now))
    return tuple(found or ())


def _as_id(name: str) -> str | None:
    try:
        return str(UUID(name))
    except ValueError:
        return None


def _details(collection: Collection, row: Row) -> RunDetails:
    redact = collection.redact
    creator = row.get("created_by") or {}
    return RunDetails(
        run=collection.flow_run(row),
        parameters=_given(row.get("parameters") or {}, redact),
        job_variables=_given(row.get("job_variables") or {}, redact),
        deployment_version=_redacted(row.get("deployment_version"), redact),
        flow_version=_redacted(row.get("flow_version"), redact),
        infrastructure=_redacted(row.get("infrastructure_pid"), redact),
        created_by=_redacted(creator.get("display_value") or creator.get("type"), redact),
        tags=tuple(redact(tag) for tag in row.get("tags") or ()),
    )


def _given(values: Mapping[str, Any], redact: Callable[[str], str]) -> dict[str, Given]:
    """Values by name; the redactor sees the name with its value, as the name may mark the value as a secret."""
    found = {}
    for name, value in values.items():
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
        both = visible(json.dumps({name: value}, sort_keys=True, ensure_ascii=False)[1:-1])
        _, _, shown = redact(_CONTROL.sub("", both)).partition(": ")
        cut = shown if len(shown) <= _MAX_VALUE else f"{shown[:_MAX_VALUE]}…"
        found[redact(name)] = Given(shown=cut, identity=hashlib.sha256(text.encode()).hexdigest())
    return found


def _redacted(text: Any, redact: Callable[[str], str]) -> str | None:
    return redact(str(text)) if text else None


def _more(collection: Collection, run_id: str) -> dict[str, Any]:
    body = {
        "flow_runs": {"id": {"any_": [run_id]}},
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": _MAX_TASKS,
    }
    tasks = collection.first("task-times", "/task_runs/filter", body, _TaskRow.model_validate) or []
    by_key: dict[str, list[_TaskRow]] = {}
    for task in tasks:
        by_key.setdefault(collection.name(_HASH.sub("", task.task_key)), []).append(task)
    return {
        "tasks": tuple(_together(collection, name, same) for name, same in by_key.items()),
        "more_tasks": len(tasks) >= _MAX_TASKS or not collection.coverage.has("task-times"),
        "worker": collection.query("submitted-by", None, _worker, collection, run_id),
    }


def _together(collection: Collection, name: str, tasks: Sequence[_TaskRow]) -> TaskTime:
    ranked = sorted(tasks, key=lambda task: _WORST.index(task.state_type or "SCHEDULED"))
    took = (((task.end_time or collection.now) - task.start_time) for task in tasks if task.start_time)
    return TaskTime(
        name=name,
        runs=len(tasks),
        took=sum(took, timedelta(0)),
        states=tuple(dict.fromkeys(collection.name(task.state_name or "not started") for task in ranked)),
        worst=ranked[0].state_type or "SCHEDULED",
    )


def _worker(collection: Collection, run_id: str) -> str | None:
    """The worker that submitted a run, from its event (prefect/workers/base.py, ``_emit_flow_run_submitted_event``)."""
    now = collection.now
    body = {
        "filter": {
            "occurred": {"since": (now - timedelta(days=7)).isoformat(), "until": now.isoformat()},
            "event": {"name": ["prefect.worker.submitted-flow-run"]},
            "related": {"id": [f"prefect.flow-run.{run_id}"]},
        },
        "limit": 1,
    }
    events = read_events(collection.api, body)
    names = collection.values("submitted-by", events, lambda event: str(event["resource"]["prefect.resource.name"]))
    return _redacted(next(names, None), collection.redact)
