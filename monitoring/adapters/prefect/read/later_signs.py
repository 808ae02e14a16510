"""Reads which runs that have ended are still alive: by heartbeats, log lines and task runs after their end.

One query tells which runs have sent heartbeats lately, however long ago they ended. Older clients send none: of runs
that were cancelled or marked as crashed within a day, the log and the task runs are read, too, in one query each. The
ledger knows those that ended before the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import Collection, chunks
from monitoring.adapters.prefect.read.runs import (
    count_heartbeats,
    newest_heartbeat,
    run_and_heartbeats,
)
from monitoring.checks.ghost import CHECK as GHOST
from monitoring.history.stopped import with_stopped
from monitoring.model.ledger import Ledger
from monitoring.model.observation import LaterSign
from monitoring.model.prefect import TERMINAL, Deployment, FlowRun

_QUERY = "signs-after-end"
#: A run of which nothing was received for five of Prefect's own heartbeat intervals may be dead by now.
_LATELY = timedelta(minutes=15)
#: Runs of one request, which are read again; and runs whose newest heartbeat is read, one request each.
_CHUNK = 1_000
_MAX_EXAMINED = 50
#: Workers and runners log the end of a process into the log of its run.
_OTHER_LOGGERS = (".worker", ".runner")


class _Sign(NamedTuple):
    occurred: datetime
    received: datetime
    kind: Literal["heartbeat", "log line", "task run"]


def later_signs(
    collection: Collection,
    active: Iterable[FlowRun],
    ended: Sequence[FlowRun],
    deployments: Mapping[str, Deployment],
    ledger: Ledger,
) -> tuple[LaterSign, ...]:
    """The runs that have ended and of which something has been received since, lately.

    Args:
        collection: The queries.
        active: Runs that are active or overdue, whoever owns them.
        ended: The runs that ended in the window, whoever owns them.
        deployments: The watched deployments and flows, by key.
        ledger: What is known of runs that ended before the window.
    """
    if not any(GHOST.enabled(collection.policy(deployment)) for deployment in deployments.values()):
        return ()
    if not collection.coverage.has("active-runs", "ended-runs"):
        # Every run that is not known to run would have to be read.
        return ()
    stopped = list(with_stopped(ledger.stopped, ended, collection.now))
    signs = _beating(collection, {run.id for run in active}, {run.id: run.ended_at for run in ended})
    for found in (_log_lines(collection, stopped), _task_runs(collection, stopped)):
        signs |= {run_id: max(sign, signs.get(run_id, sign)) for run_id, sign in found.items()}
    late = [sign for sign in _read_again(collection, signs) if _counts(sign, deployments)]
    return tuple(_received(collection, late))


def _beating(collection: Collection, active: set[str], ends: Mapping[str, datetime]) -> dict[str, _Sign]:
    """The newest heartbeats of the last minutes, by run id, without runs that are active or ended after them.

    When they were received is read later, of the few that matter.
    """
    since = collection.now - _LATELY
    found = collection.query_if_supported(_QUERY, [], count_heartbeats, collection, since)
    return {
        run_id: _Sign(beats.last, collection.now, "heartbeat")
        for run_id, beats in collection.values(_QUERY, found, run_and_heartbeats)
        if run_id not in active and beats.last > ends.get(run_id, since)
    }


def _log_lines(collection: Collection, run_ids: Sequence[str]) -> dict[str, _Sign]:
    """The newest log line of the last minutes of some runs, by run id."""
    lines = _of_stopped(collection, "logs", run_ids, {"timestamp": _lately(collection)}, "TIMESTAMP_DESC")
    own = [line for line in lines if not line["name"].endswith(_OTHER_LOGGERS)]
    return _newest(collection, own, "timestamp", "log line")


def _task_runs(collection: Collection, run_ids: Sequence[str]) -> dict[str, _Sign]:
    """The newest task run of the last minutes of some runs, by run id."""
    started = {"start_time": _lately(collection)}
    tasks = _of_stopped(collection, "task_runs", run_ids, started, "EXPECTED_START_TIME_DESC")
    return _newest(collection, tasks, "start_time", "task run")


def _of_stopped(
    collection: Collection, objects: str, run_ids: Sequence[str], filters: Mapping[str, object], sort: str
) -> list[rows.Row]:
    found, hidden = collection.of_runs(_QUERY, objects, run_ids, filters, sort)
    if hidden:
        collection.note(_QUERY, "partial", f"the {objects} of {len(hidden)} runs are hidden by those of others")
    return found


def _lately(collection: Collection) -> dict[str, str]:
    return {"after_": (collection.now - _LATELY).isoformat(), "before_": collection.now.isoformat()}


def _newest(
    collection: Collection, found: Iterable[rows.Row], time: str, kind: Literal["log line", "task run"]
) -> dict[str, _Sign]:
    def sign(row: rows.Row) -> tuple[str, _Sign]:
        # The server makes the row when it receives it.
        return row["flow_run_id"], _Sign(rows.to_time(row[time]), rows.to_time(row["created"]), kind)

    signs: dict[str, _Sign] = {}
    for run_id, own in collection.values(_QUERY, found, sign):
        signs[run_id] = max(own, signs.get(run_id, own))
    return signs


def _read_again(collection: Collection, signs: Mapping[str, _Sign]) -> list[LaterSign]:
    """Read the runs of signs that have ended: one that was started again has not.

    Subflows and, unless they are watched, runs without a deployment send heartbeats, too: the server leaves them out.
    It is given no states to filter by, for which SQLite would take the index of states.
    """
    watched = {} if collection.config.target.runs_without_deployment else {"deployment_id": {"is_null_": False}}
    ended = {**watched, "end_time": {"before_": collection.now.isoformat()}}
    lately = collection.now - _LATELY

    def made(row: rows.Row) -> LaterSign:
        infrastructure = collection.redact(row.get("infrastructure_pid") or "")
        return LaterSign(run=collection.flow_run(row), infrastructure=infrastructure, **signs[row["id"]]._asdict())

    recent = sorted(run_id for run_id, sign in signs.items() if sign.received >= lately)
    bodies = ({"flow_runs": {"id": {"any_": chunk}, **ended}} for chunk in chunks(recent, _CHUNK))
    return [sign for body in bodies for sign in collection.read(_QUERY, "/flow_runs/filter", body, made)]


def _counts(sign: LaterSign, deployments: Mapping[str, Deployment]) -> bool:
    """Whether a sign came after the end of a watched run. A subflow in its parent's process is part of its parent."""
    run = sign.run
    watched = run.key in deployments and (run.deployment_id or run.parent_task_run_id is None)
    return bool(watched and run.state_type in TERMINAL and sign.after_end > timedelta(0))


def _received(collection: Collection, signs: Sequence[LaterSign]) -> Iterable[LaterSign]:
    """The signs, heartbeats with the time of their receipt: it is read one by one."""
    beats = [sign for sign in signs if sign.kind == "heartbeat"]
    examined = collection.some(_QUERY, beats, _MAX_EXAMINED, "ended runs with heartbeats")
    for sign in examined:
        times = collection.query(_QUERY, None, newest_heartbeat, collection, sign.run.id, sign.run.ended_at)
        if times and times.received >= collection.now - _LATELY:
            yield sign.model_copy(update=times._asdict())
    yield from (sign for sign in signs if sign.kind != "heartbeat")
