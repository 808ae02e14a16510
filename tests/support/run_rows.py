"""The rows of a run, as Prefect would have written them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from prefect.server.schemas.states import StateDetails, StateType

from tests.support.seed_values import HOUR, MINUTE, Run, State

Row = dict[str, Any]
TERMINAL = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}


def run_name(run: Run) -> str:
    """Return a run's name, made from its id where it has none."""
    return run.name or f"run-{run.id.hex[:8]}"


def run_rows(run: Run, flows: Mapping[str, UUID], now: datetime) -> tuple[Row, list[Row]]:
    """Return the rows of a run and of its states, the current one last."""
    kind = State(run.state, now, type=run.state_type).kind
    started, ended, since = run.started, run.ended, run.since
    if kind in TERMINAL:
        ended = since = ended or since or now
        started = started or ended - MINUTE
    elif kind is StateType.RUNNING:
        started = started or since or now - MINUTE
        since = since or started
    elif kind in (StateType.PAUSED, StateType.CANCELLING):
        since = since or now
        started = started or since - MINUTE
    elif kind is StateType.PENDING:
        since = since or now
    due = run.due or started or since or now + HOUR
    created = run.created or min(due - MINUTE, since or now)
    # The service that marks runs as late does it some seconds after they were due.
    since = since or (due + timedelta(seconds=15) if run.state == "Late" else created)
    next_due = (run.next_due or due) if kind is StateType.SCHEDULED else None
    ran = started is not None and started != ended
    current = State(run.state, since, run.message, run.state_type)

    history = run.history
    if history is None:
        history = [State("SCHEDULED", created)] if created < since else []
        if started is not None and ran and created < started < since:
            history = [*history, State("RUNNING", started)]
    deployment = run.deployment
    by_scheduler = bool(run.columns.get("auto_scheduled", deployment and deployment.scheduled))
    row = {
        "id": run.id,
        "created": created,
        "updated": since,
        "name": run_name(run),
        "flow_id": deployment.flow_id if deployment else flows[run.flow],
        "deployment_id": deployment and deployment.id,
        "work_queue_id": deployment and deployment.pool and deployment.pool.queue_id,
        "work_queue_name": deployment and deployment.pool and deployment.pool.queue_name,
        "auto_scheduled": by_scheduler,
        "tags": ["auto-scheduled"] * by_scheduler + list(run.tags),
        "parameters": dict(run.parameters),
        "parent_task_run_id": parent_task_id(run.id) if run.parent else None,
        "state_type": kind,
        "state_name": current.title,
        "state_timestamp": since,
        "expected_start_time": due,
        "next_scheduled_start_time": next_due,
        "start_time": started,
        "end_time": ended,
        "run_count": run.run_count if run.run_count is not None else int(ran),
        "total_run_time": run.run_time or (ended - started if ended and started else timedelta(0)),
        **run.columns,
    }
    states = [
        {
            "id": uuid4(),
            "created": state.at,
            "updated": state.at,
            "flow_run_id": run.id,
            "type": state.kind,
            "name": state.title,
            "timestamp": state.at,
            "message": state.message,
            "state_details": StateDetails(
                flow_run_id=run.id,
                scheduled_time=next_due or due if state.kind is StateType.SCHEDULED else None,
                pause_timeout=run.pause_timeout if state.kind is StateType.PAUSED else None,
            ),
        }
        for state in (*history, current)
    ]
    return row, states


def parent_task_id(run_id: UUID) -> UUID:
    """Return the id of the task by which a parent knows its subflow run."""
    return UUID(int=run_id.int ^ 1)


def parent_task(parent: Run, row: Row) -> Row:
    """Return the row of the task by which a parent knows the subflow run of this row."""
    copied = ("name", "state_type", "state_name", "state_timestamp", "start_time", "end_time")
    return {
        "id": row["parent_task_run_id"],
        "flow_run_id": parent.id,
        "task_key": "subflow",
        "dynamic_key": row["id"].hex,
        "expected_start_time": row["expected_start_time"],
        **{column: row[column] for column in copied},
    }
