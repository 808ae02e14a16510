"""Converts rows of the API's answers to values. Text and names are redacted here, so that every value is redacted.

Ids are not: they keep links right, and queries for an object go by its id, as its redacted name may not be its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from monitoring.errors import BadAnswer
from monitoring.model.base import Timestamp, Value
from monitoring.model.prefect import Deployment, FlowRun, ScheduleParameters, WorkPool, WorkQueue
from monitoring.text.visible import visible

Row = Mapping[str, Any]
Redact = Callable[[str], str]
T = TypeVar("T")
#: A worker is live while its last heartbeat is younger than this many of its own intervals.
MISSED_HEARTBEATS = 3
_DEFAULT_WORKER_INTERVAL = 30.0
_JSON = json.JSONEncoder(sort_keys=True)
#: Characters of the name of a schedule's own parameters.
_MAX_NAME = 60
to_time = TypeAdapter(Timestamp).validate_python


class WorkerRow(Value):
    """A worker of a pool. Rows of dead workers stay for ever, and their status may be ONLINE."""

    last_heartbeat_time: Timestamp | None = None
    heartbeat_interval_seconds: float | None = None

    def live(self, now: datetime) -> bool:
        """Whether the worker's last heartbeat is recent enough for its own interval."""
        if self.last_heartbeat_time is None:
            return False
        interval = self.heartbeat_interval_seconds or _DEFAULT_WORKER_INTERVAL
        return (now - self.last_heartbeat_time).total_seconds() <= MISSED_HEARTBEATS * interval


class StateRow(Value):
    """One state of a flow run's history."""

    type: str
    name: str
    timestamp: Timestamp


def rows_of(answer: Any, what: str) -> Sequence[Row]:
    """Check that an answer is a list of objects.

    Raises:
        BadAnswer: The answer is something else.
    """
    if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
        raise BadAnswer(f"the server answered {what} with something that is no list of rows: is this a Prefect API?")
    return answer


def parsed(what: str, make: Callable[[Row], T], row: Row) -> T:
    """Convert a row to a value.

    Raises:
        BadAnswer: A field is missing or has another form, as with a server of another version.
    """
    try:
        return make(row)
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        detail = f"field {error.errors()[0]['loc']}" if isinstance(error, ValidationError) else f"{error!r}"
        raise BadAnswer(f"the server's answer for {what} is not as Prefect 3 gives it ({detail})") from None


def without_secrets(name: str, redact: Redact) -> str:
    """Redact a name. A name without secrets stays exactly as it is, so that no two become one."""
    shown = redact(name)
    return name if shown == visible(name) else shown


def distinct(redact: Redact) -> Redact:
    """Return what redacts names, and keeps apart those that differ only in what was redacted: ``gpu-REDACTED (2)``."""
    names: dict[str, str] = {}

    @cache
    def redacted(name: str) -> str:
        shown = candidate = without_secrets(name, redact)
        number = 1
        while names.setdefault(candidate, name) != name:
            number += 1
            candidate = f"{shown} ({number})"
        return candidate

    return redacted


def flow_run(row: Row, redact: Redact, name: Redact) -> FlowRun:
    """Convert a row to a FlowRun; ``redact`` takes the message, and ``name`` each name."""
    state = row["state"] or {}
    details = state.get("state_details") or {}
    return FlowRun.model_validate(
        {
            **_given(row),
            "name": without_secrets(row["name"], redact),
            "state_name": name(row["state_name"]),
            "state_timestamp": state.get("timestamp") or row["created"],
            "message": redact(state.get("message") or ""),
            "pause_timeout": details.get("pause_timeout"),
            "work_pool": _named(row, "work_pool_name", name),
            "work_queue": _named(row, "work_queue_name", name),
            "parameters": _digests(row.get("parameters") or {}),
            "retries_in_process": (row.get("empirical_policy") or {}).get("retry_type") == "in_process",
            "slot_leased": details.get("deployment_concurrency_lease_id") is not None,
        }
    )


def _named(row: Row, field: str, name: Redact) -> str | None:
    return name(row[field]) if row.get(field) is not None else None


def _digests(parameters: Row) -> tuple[str, ...]:
    """A digest of each parameter, with its name."""
    return tuple(_digest(f"{name}={_JSON.encode(value)}") for name, value in parameters.items())


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()


def _given(row: Row) -> dict[str, Any]:
    """The fields of a row that are not null."""
    return {name: value for name, value in row.items() if value is not None}


def active_schedules(row: Row) -> list[Row]:
    """The schedules of a deployment that create runs now."""
    return [entry["schedule"] for entry in _active(row)]


def paused_schedules(row: Row) -> list[Row]:
    """The schedules of a paused deployment that would create runs if it were not paused."""
    return [entry["schedule"] for entry in row.get("schedules") or () if row.get("paused") and entry.get("active")]


def _active(row: Row) -> list[Row]:
    # Pausing a deployment leaves its schedules `active`.
    return [] if row.get("paused") else [entry for entry in row.get("schedules") or () if entry.get("active")]


def _schedule_name(row: Row) -> str:
    """A digest of a deployment's active schedules: the same as long as their content is."""
    texts = sorted(json.dumps(schedule, sort_keys=True) for schedule in active_schedules(row))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16] if texts else ""


def _schedule_parameters(row: Row, redact: Callable[[str], str]) -> tuple[ScheduleParameters, ...]:
    """The sets of parameters that the schedules give their runs, the largest first; none if all give the same."""
    sets = {_own_digests(entry): entry.get("parameters") or {} for entry in row.get("schedules") or ()}
    if len(sets) < 2:
        return ()
    common = frozenset.intersection(*sets)
    found = []
    for digests, own in sets.items():
        shown = {name: value for name, value in own.items() if not common.issuperset(_digests({name: value}))}
        name, key = _parameters_name(shown, redact), _digest(" ".join(sorted(digests)))
        active = [entry for entry in _active(row) if _own_digests(entry) == digests]
        changed = _newest_change(*active)
        made = ScheduleParameters(key=key, name=name, parameters=digests, active=bool(active), changed=changed)
        found.append(made)
    return tuple(sorted(found, key=lambda made: (-len(made.parameters), made.key)))


def schedules_with(row: Row, own: ScheduleParameters) -> list[Row]:
    """The schedules of a deployment that create runs with these parameters now."""
    return [entry["schedule"] for entry in _active(row) if _own_digests(entry) == own.parameters]


def _own_digests(entry: Row) -> frozenset[str]:
    return frozenset(_digests(entry.get("parameters") or {}))


def _parameters_name(parameters: Row, redact: Callable[[str], str]) -> str:
    if not parameters:
        return "the default parameters"
    texts = (value if isinstance(value, str) else _JSON.encode(value) for value in parameters.values())
    name = redact(", ".join(f"{name}={text}" for name, text in zip(parameters, texts, strict=True)))
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"


def _inactive_since(row: Row) -> datetime | None:
    """Since when, at least, no schedule has been active: a later change may have been to a paused deployment.

    A worker that polls does not change ``updated`` (prefect/server/models/deployments.py, mark_deployments_ready).
    """
    schedules = row.get("schedules") or ()
    shown = [_newest_change(row)] if row.get("paused") else []
    if schedules and not any(entry.get("active") for entry in schedules):
        shown.append(_newest_change(*schedules))
    return min((changed for changed in shown if changed), default=None)


def _newest_made(schedules: Iterable[Row]) -> datetime | None:
    return max((to_time(entry["created"]) for entry in schedules), default=None)


def _newest_change(*found: Row) -> datetime | None:
    return max((to_time(row["updated"]) for row in found if row.get("updated")), default=None)


def deployment(row: Row, flow_name: str, name: Redact) -> Deployment:
    """Convert a row to a Deployment, of a flow whose name is redacted; ``name`` takes names, also of parameters.

    Its ``concurrency_limit`` is always null: the global limit has the number.
    """
    limit = row.get("global_concurrency_limit") or {}
    active_limit = limit.get("limit") if limit.get("active", True) else None
    return Deployment.model_validate(
        {
            **_given(row),
            "name": f"{flow_name}/{name(row['name'])}",
            "flow_name": flow_name,
            "tags": tuple(name(tag) for tag in row.get("tags") or ()),
            "schedule": _schedule_name(row),
            "scheduled_since": _newest_made(_active(row)),
            "schedules_made": _newest_made(row.get("schedules") or ()) if row.get("paused") else None,
            "schedule_parameters": _schedule_parameters(row, name),
            "inactive_since": _inactive_since(row),
            "changed": _newest_change(row, *_active(row)),
            "work_pool": _named(row, "work_pool_name", name),
            "work_queue": _named(row, "work_queue_name", name),
            "concurrency_limit": active_limit,
            "slots_taken": limit.get("active_slots") if active_limit is not None else None,
            "skips_overlaps": (row.get("concurrency_options") or {}).get("collision_strategy") == "CANCEL_NEW",
        }
    )


def work_queue(row: Row, name: Redact) -> WorkQueue:
    """Convert a row to a WorkQueue."""
    return WorkQueue.model_validate(_with_slots(row, name))


def _with_slots(row: Row, name: Redact) -> dict[str, Any]:
    """A work pool or queue, with our names of what the server calls ``is_paused`` and ``active_slots``."""
    return {
        **row,
        "name": name(row["name"]),
        "paused": bool(row.get("is_paused")),
        "slots_taken": row.get("active_slots"),
    }


def work_pool(
    row: Row, queues: Sequence[WorkQueue], workers: Sequence[WorkerRow] | None, now: datetime, name: Redact
) -> WorkPool:
    """Convert a row to a WorkPool with its queues and workers, None if the workers are not known."""
    beats = [worker.last_heartbeat_time for worker in workers or () if worker.last_heartbeat_time]
    return WorkPool.model_validate(
        {
            **_with_slots(row, name),
            "queues": tuple(queues),
            "live_workers": None if workers is None else sum(worker.live(now) for worker in workers),
            "last_heartbeat": max(beats, default=None),
        }
    )
