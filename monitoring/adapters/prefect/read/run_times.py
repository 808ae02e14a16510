"""Run times of deployments from before the watchdog's first check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, get_args

from monitoring.adapters.prefect.read.collection import Collection
from monitoring.checks.facts.run_times import run_time
from monitoring.checks.slow import CHECK as SLOW
from monitoring.history.baselines import MAX_RECENT
from monitoring.model.ledger import Ledger
from monitoring.model.prefect import Deployment, FlowRun, StateType

_NOT_COMPLETED = [state for state in get_args(StateType) if state != "COMPLETED"]
_MAX_SEARCHES = 200


def samples(
    collection: Collection,
    active: Sequence[FlowRun],
    ended: Sequence[FlowRun],
    deployments: Mapping[str, Deployment],
    ledger: Ledger,
) -> dict[str, tuple[FlowRun, ...]]:
    """The newest completed runs of deployments whose run times a baseline would judge and that have none yet.

    One request for each deployment, once: the ledger records that it was made. If there are more such deployments than
    a check may query, those with the longest run times come first, and the next checks query the others. Until then
    there are too few runs to judge by, as for a new deployment: no finding is missed for longer.
    """
    new = (run for run in ended if run.id not in ledger.recent)
    completed = Counter(run.key for run in new if run.state_type == "COMPLETED")
    wanted = []
    judged = _judged(active, ended, deployments, ledger, collection.now)
    for key, took in sorted(judged.items(), key=itemgetter(1), reverse=True):
        record = ledger.record(key)
        if key not in deployments or record.run_times_searched:
            continue
        settings = SLOW.settings(collection.policy(deployments[key]))
        learns = settings.enabled and settings.baseline and settings.limit is None
        if learns and took > settings.floor and len(record.run_times.recent) + completed[key] < settings.min_samples:
            wanted.append(key)
    found = {}
    for key in wanted[:_MAX_SEARCHES]:
        answer = collection.first_runs("baseline-runs", newest_completed(deployments[key], collection.now))
        if answer is not None:
            found[key] = tuple(answer)
    return found


def _judged(
    active: Sequence[FlowRun],
    ended: Sequence[FlowRun],
    deployments: Mapping[str, Deployment],
    ledger: Ledger,
    now: datetime,
) -> dict[str, timedelta]:
    """By key, the longest run time that a baseline would judge: of the latest ended run and all RUNNING runs.

    Where schedules have parameters of their own, the latest ended run with those of each counts.
    """
    none = timedelta(0)
    last = {key: record.last_ended for key, record in ledger.records.items() if record.last_ended}
    judged = {key: run.run_time if run.state_type == "COMPLETED" else none for key, run in last.items()}
    newest: dict[str, dict[str, timedelta]] = {}
    for run in ended:
        if run.state_type != "CANCELLED":
            own = deployments[run.key].parameters_of(run) if run.key in deployments else None
            took = run.total_run_time if run.state_type == "COMPLETED" else none
            newest.setdefault(run.key, {})[own.key if own else ""] = took
    judged |= {key: max(times.values()) for key, times in newest.items()}
    for run in active:
        if run.state_type == "RUNNING":
            judged[run.key] = max(judged.get(run.key, none), run_time(run, now))
    return judged


def newest_completed(deployment: Deployment, before: datetime) -> dict[str, Any]:
    """The body that queries the newest completed runs that ended before a time, as many as the ledger keeps."""
    # By the states that they are not in: for COMPLETED itself, SQLite reads every success.
    filters = {"state": {"type": {"not_any_": _NOT_COMPLETED}}, "end_time": {"before_": before.isoformat()}}
    body = {"sort": "END_TIME_DESC", "limit": MAX_RECENT}
    if deployment.kind == "deployment":
        return {**body, "flow_runs": {**filters, "deployment_id": {"any_": [deployment.id]}}}
    without_deployment = {"deployment_id": {"is_null_": True}, "parent_task_run_id": {"is_null_": True}}
    return {**body, "flow_runs": {**filters, **without_deployment}, "flows": {"id": {"any_": [deployment.id]}}}
