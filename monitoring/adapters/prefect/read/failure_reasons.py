"""Why runs failed or crashed: their logs, the failing task, and the failed runs below them.

Logs and task runs are queried one run at a time: in a common query, a run that logs in a loop would crowd out the
others, and SQLite would read every failed task run (0.4 s of 500,000; 1 ms for one run).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from logging import ERROR

from monitoring.adapters.prefect.read.collection import Collection, chunks
from monitoring.adapters.prefect.read.rows import Row
from monitoring.failures.error_names import failure_of, one_line
from monitoring.failures.paths import MAX_LEVELS, FailedTask, failing_child, failing_path, failing_task
from monitoring.failures.tracebacks import ends_in, last_traceback, raised, traceback_end
from monitoring.model.failure import Failure
from monitoring.model.ledger import Ledger
from monitoring.model.prefect import Deployment, FlowRun

#: Failures of which a check reads more than the message.
_MAX_READ = 100
_MAX_LOGS = 10
_MAX_TASKS = 50
#: Error lines kept of a run without a traceback.
_MAX_LINES = 3
_MAX_LINE = 300
_MAX_NAME = 100
#: Prefect also logs each end of a task run as an error, with the message of the run's state.
_STATE_MESSAGES = ("Finished in state ", "Crash detected! ", "Flow run exceeded timeout ", "Task run exceeded timeout ")


def unread(ended_runs: Iterable[FlowRun], deployments: Mapping[str, Deployment], ledger: Ledger) -> list[FlowRun]:
    """The latest ended runs of deployments that failed or crashed and whose reason the ledger does not have yet.

    Where the schedules of a deployment differ in their parameters: the latest with the parameters of each.
    Logs may arrive after the end of their run: as long as none are known, they are queried again while the run is in
    the window of ended runs, which are given oldest end first.
    """
    newest = {
        (run.key, deployments[run.key].parameters_of(run)): run
        for run in ended_runs
        if run.state_type != "CANCELLED" and run.key in deployments
    }
    failed = (run for run in newest.values() if run.state_type in ("FAILED", "CRASHED"))
    return [run for run in failed if not _known(run, ledger)]


def _known(run: FlowRun, ledger: Ledger) -> bool:
    record = ledger.records.get(run.key)
    found = record.failing_with(run.id) if record else None
    last = found.last_ended if found else None
    if last is None or last.ended != run.ended_at:
        return False
    return last.failure is not None and bool(last.failure.traceback or last.failure.path)


def failed_children(collection: Collection, parents: Sequence[FlowRun]) -> dict[str, tuple[FlowRun, ...]]:
    """The failed and crashed runs that runs have started, by the parent's id, oldest end first.

    The children of a child that made its parent fail are read, too, up to a number of levels.
    """
    found: dict[str, tuple[FlowRun, ...]] = {}
    level = list(parents)
    for _ in range(MAX_LEVELS):
        children = _children(collection, level)
        found |= children
        level = [child for run in level if (child := failing_child(run, children.get(run.id, ())))]
    return found


def _children(collection: Collection, parents: Sequence[FlowRun]) -> dict[str, tuple[FlowRun, ...]]:
    children: dict[str, list[FlowRun]] = {}
    for chunk in chunks(parents):
        filters = {
            "parent_flow_run_id": {"any_": [run.id for run in chunk]},
            "state": {"type": {"any_": ["FAILED", "CRASHED"]}},
        }
        found = sorted(collection.runs("child-runs", {"flow_runs": filters}), key=lambda run: run.ended_at)
        started_by = {run.parent_task_run_id for run in found if run.parent_task_run_id}
        parent_of = collection.flow_runs_of("child-runs", started_by)
        for run in found:
            if parent := parent_of.get(run.parent_task_run_id or ""):
                children.setdefault(parent, []).append(run)
    return {parent: tuple(runs) for parent, runs in children.items()}


def failures(
    collection: Collection, failed: Sequence[FlowRun], children: Mapping[str, tuple[FlowRun, ...]]
) -> dict[str, Failure]:
    """Why runs failed or crashed, by their ids, from the deepest run below each; for the newest hundred."""
    deepest = {
        run.id: (failing_path(run, children) or (run,))[-1]
        for run in sorted(failed, key=lambda run: run.ended_at)[-_MAX_READ:]
    }
    read = {run.id: _failure(collection, run) for run in {run.id: run for run in deepest.values()}.values()}
    return {run_id: read[run.id] for run_id, run in deepest.items()}


def _failure(collection: Collection, run: FlowRun) -> Failure:
    task = failing_task(run, _failed_tasks(collection, run))
    known = failure_of(run.message)
    if task and not known.reason:
        known = failure_of(task.message)
    logs = _error_logs(collection, run)
    if known.exception:
        log_line = next((log for log in logs if ends_in(log, known.exception)), "")
    else:
        log_line = next((log for log in logs if last_traceback(log)), "")
    traceback = collection.redact(last_traceback(log_line))
    exception = raised(traceback)
    if known.exception and (exception or "").rpartition(".")[2] != known.exception:
        exception = known.exception
    return known.model_copy(
        update={
            "task": task.name if task else None,
            "exception": exception,
            "traceback": traceback_end(traceback) if traceback else _end_of(collection, logs, run),
        }
    )


def _end_of(collection: Collection, logs: Iterable[str], run: FlowRun) -> str:
    """The last error lines of a run without a traceback, oldest first, unless they repeat the state's message."""
    lines = [collection.redact(log) for log in logs if not last_traceback(log) and not log.startswith(_STATE_MESSAGES)]
    lines = [line for line in lines if line not in run.message][:_MAX_LINES]
    return "\n".join(one_line(line, _MAX_LINE) for line in reversed(lines))


def _error_logs(collection: Collection, run: FlowRun) -> list[str]:
    """The run's last log lines of level ERROR and above, newest first, unredacted."""
    body = {
        "logs": {"flow_run_id": {"any_": [run.id]}, "level": {"ge_": ERROR}},
        "sort": "TIMESTAMP_DESC",
        "limit": _MAX_LOGS,
    }
    return collection.first("failure-logs", "/logs/filter", body, lambda row: str(row["message"])) or []


def _failed_tasks(collection: Collection, run: FlowRun) -> list[FailedTask]:
    """The run's failed and crashed task runs, newest end first, without those that represent its subflows."""
    body = {
        "task_runs": {
            "flow_run_id": {"any_": [run.id]},
            "state": {"type": {"any_": ["FAILED", "CRASHED"]}},
            "subflow_runs": {"exists_": False},
        },
        "sort": "END_TIME_DESC",
        "limit": _MAX_TASKS,
    }

    def failed_task(row: Row) -> FailedTask:
        # The task's name, unless its run was given another: Prefect appends the beginning of the dynamic key.
        name = str(row["name"]).removesuffix("-" + str(row["dynamic_key"])[:3])
        message = (row.get("state") or {}).get("message") or ""
        return FailedTask(
            one_line(collection.redact(name), _MAX_NAME), collection.name(row["state_name"]), collection.redact(message)
        )

    return collection.first("failed-tasks", "/task_runs/filter", body, failed_task) or []
