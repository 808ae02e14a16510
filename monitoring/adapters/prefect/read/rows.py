"""Converts rows of the API's answers to values. Text from runs is redacted here, so that every value is redacted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from monitoring.errors import BadAnswer
from monitoring.model.base import Value
from monitoring.model.prefect import Deployment, FlowRun, WorkPool, WorkQueue

Row = Mapping[str, Any]
T = TypeVar("T")
#: A worker is live while its last heartbeat is younger than this many of its own intervals.
MISSED_HEARTBEATS = 3
_DEFAULT_WORKER_INTERVAL = 30.0
_TIMESTAMP = TypeAdapter(AwareDatetime)


class WorkerRow(Value):
    """A worker of a pool. Rows of dead workers stay for ever, and their status may be ONLINE."""

    last_heartbeat_time: AwareDatetime | None = None
    heartbeat_interval_seconds: float | None = None

    def live(self, now: datetime) -> bool:
        """Whether the worker's last heartbeat is recent enough for its own interval."""
        if self.last_heartbeat_time is None:
            return False
        interval = self.heartbeat_interval_seconds or _DEFAULT_WORKER_INTERVAL
        return (now - self.last_heartbeat_time).total_seconds() <= MISSED_HEARTBEATS * interval


class EventCount(Value):
    """The events of one resource, counted."""

    value: str
    count: int = Field(ge=1)
    start_time: AwareDatetime
    end_time: AwareDatetime


class EventRow(Value):
    """An event."""

    occurred: AwareDatetime


class StateRow(Value):
    """One state of a flow run's history."""

    type: str
    name: str
    timestamp: AwareDatetime


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


def flow_run(row: Row, redact: Callable[[str], str]) -> FlowRun:
    """Convert a row to a FlowRun; the message is redacted."""
    state = row["state"] or {}
    return FlowRun(
        id=row["id"],
        name=row["name"],
        flow_id=row["flow_id"],
        deployment_id=row.get("deployment_id"),
        parent_task_run_id=row.get("parent_task_run_id"),
        state_type=row["state_type"],
        state_name=row["state_name"],
        state_timestamp=state.get("timestamp") or row["created"],
        message=redact(state.get("message") or ""),
        created=row["created"],
        expected_start_time=row.get("expected_start_time"),
        next_scheduled_start_time=row.get("next_scheduled_start_time"),
        start_time=row.get("start_time"),
        end_time=row.get("end_time"),
        auto_scheduled=bool(row.get("auto_scheduled")),
        run_count=row.get("run_count") or 0,
        pause_timeout=(state.get("state_details") or {}).get("pause_timeout"),
        total_run_time=row.get("total_run_time") or 0,
        work_pool=row.get("work_pool_name"),
        work_queue=row.get("work_queue_name"),
        retries_in_process=(row.get("empirical_policy") or {}).get("retry_type") == "in_process",
    )


def active_schedules(row: Row) -> list[Row]:
    """The schedules of a deployment that create runs now."""
    return [entry["schedule"] for entry in _active(row)]


def _active(row: Row) -> list[Row]:
    # Pausing a deployment leaves its schedules `active`.
    return [] if row.get("paused") else [entry for entry in row.get("schedules") or () if entry.get("active")]


def _schedule_name(row: Row) -> str:
    """A digest of a deployment's active schedules: the same as long as their content is."""
    texts = sorted(json.dumps(schedule, sort_keys=True) for schedule in active_schedules(row))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16] if texts else ""


def _inactive_since(row: Row) -> datetime | None:
    """Since when, at least, no schedule has been active: a later change may have been to a paused deployment.

    A worker that polls does not change ``updated`` (prefect/server/models/deployments.py, mark_deployments_ready).
    """
    schedules = row.get("schedules") or ()
    shown = [_newest_change(row)] if row.get("paused") else []
    if schedules and not any(entry.get("active") for entry in schedules):
        shown.append(_newest_change(*schedules))
    return min((changed for changed in shown if changed), default=None)


def _newest_change(*found: Row) -> datetime | None:
    return max((_TIMESTAMP.validate_python(row["updated"]) for row in found if row.get("updated")), default=None)


def deployment(row: Row, flow_name: str) -> Deployment:
    """Convert a row to a Deployment. Its ``concurrency_limit`` is always null: the global limit has the number."""
    limit = row.get("global_concurrency_limit") or {}
    active_limit = limit.get("limit") if limit.get("active", True) else None
    slots_taken = limit.get("active_slots") if active_limit is not None else None
    return Deployment(
        id=row["id"],
        name=f"{flow_name}/{row['name']}",
        flow_id=row["flow_id"],
        flow_name=flow_name,
        tags=tuple(row.get("tags") or ()),
        created=row["created"],
        paused=bool(row.get("paused")),
        schedule=_schedule_name(row),
        scheduled_since=max((_TIMESTAMP.validate_python(entry["created"]) for entry in _active(row)), default=None),
        inactive_since=_inactive_since(row),
        changed=_newest_change(row, *_active(row)),
        work_pool=row.get("work_pool_name"),
        work_queue=row.get("work_queue_name"),
        concurrency_limit=active_limit,
        slots_taken=slots_taken,
        skips_overlaps=(row.get("concurrency_options") or {}).get("collision_strategy") == "CANCEL_NEW",
    )


def work_queue(row: Row) -> WorkQueue:
    """Convert a row to a WorkQueue."""
    return WorkQueue(
        id=row["id"],
        name=row["name"],
        paused=bool(row.get("is_paused")),
        concurrency_limit=row.get("concurrency_limit"),
        slots_taken=row.get("active_slots"),
    )


def work_pool(row: Row, queues: Sequence[WorkQueue], workers: Sequence[WorkerRow] | None, now: datetime) -> WorkPool:
    """Convert a row to a WorkPool with its queues and workers, None if the workers are not known."""
    beats = [worker.last_heartbeat_time for worker in workers or () if worker.last_heartbeat_time]
    return WorkPool(
        id=row["id"],
        name=row["name"],
        type=row["type"],
        paused=bool(row.get("is_paused")),
        concurrency_limit=row.get("concurrency_limit"),
        slots_taken=row.get("active_slots"),
        queues=tuple(queues),
        live_workers=None if workers is None else sum(worker.live(now) for worker in workers),
        last_heartbeat=max(beats, default=None),
    )
