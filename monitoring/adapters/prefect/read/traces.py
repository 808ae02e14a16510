"""Reads what the newest completed run of each deployment left behind: the errors in its log, and its task runs.

Logs may arrive after the end of their run: it is read again while it is in the window of ended runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from logging import ERROR

from monitoring.adapters.prefect.read.collection import Collection, chunks
from monitoring.checks.suspicious import CHECK as SUSPICIOUS
from monitoring.errors import BadAnswer
from monitoring.failures.error_names import one_line
from monitoring.model.ledger import Traces
from monitoring.model.prefect import Deployment, FlowRun

_QUERY = "run-traces"
#: Runs that are read in one check, the newest: ten requests for each of logs and task runs.
_MAX_RUNS = 1_000
_MAX_LINE = 300


def traces(
    collection: Collection, ended: Iterable[FlowRun], deployments: Mapping[str, Deployment]
) -> dict[str, Traces]:
    """The traces of the newest completed run of each deployment, by its key, of runs given oldest end first.

    A run that was started again is left out: the errors of its earlier attempts cannot be told from its own.
    """
    newest = {run.key: run for run in ended if run.state_type == "COMPLETED" and run.key in deployments}
    judged = [run for key, run in newest.items() if SUSPICIOUS.enabled(collection.policy(deployments[key]))]
    once = sorted((run for run in judged if run.run_count <= 1), key=lambda run: run.ended_at)[-_MAX_RUNS:]
    read = {found.run_id: found for chunk in chunks(once) for found in _traces(collection, [run.id for run in chunk])}
    return {run.key: read[run.id] for run in once if run.id in read}


def _traces(collection: Collection, run_ids: Sequence[str]) -> Iterable[Traces]:
    level = {"level": {"ge_": ERROR}}
    lines, hidden = collection.of_runs(_QUERY, "logs", run_ids, level, "TIMESTAMP_ASC")
    counts = collection.query_if_supported(_QUERY, {}, _task_runs, collection, run_ids)
    errors: dict[str, list[str]] = {}
    for line in lines:
        if not _of_retried(message := str(line["message"])):
            errors.setdefault(line["flow_run_id"], []).append(message)
    for run_id in sorted({*run_ids} - {*hidden}):
        own = errors.get(run_id, [])
        first = one_line(collection.redact(own[0]), _MAX_LINE) if own else ""
        yield Traces(run_id=run_id, errors=len(own), first_error=first, task_runs=counts.get(run_id))


def _of_retried(message: str) -> bool:
    """Whether Prefect logged an error that the run got over: an attempt of a task that was made again."""
    return message.startswith("Task run failed with ") and " - Retry " in message


def _task_runs(collection: Collection, run_ids: Sequence[str]) -> Mapping[str, int]:
    """How many task runs each run has; the server counts them in one query.

    Raises:
        ServerProblem: The server does not answer.
    """
    path = "/ui/flow_runs/count-task-runs"
    answer = collection.api.post(path, {"flow_run_ids": list(run_ids)})
    if not isinstance(answer, dict) or not all(isinstance(count, int) for count in answer.values()):
        raise BadAnswer(f"the server answers {path} with something that is no number for each run")
    return answer
