"""Reads flow runs: the active ones, those that ended, and the history of single runs where it matters.

Each query is shaped for servers with a million runs: ended runs are read by ``end_time`` without a state filter, since
with one SQLite takes the index of the states. Active runs are read in the order of their ids: many are due at the same
time, and pages of an order with ties miss rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import Collection, chunks, count_rows, read_events
from monitoring.checks.facts.heartbeats import is_silent
from monitoring.checks.stale import CHECK as STALE
from monitoring.checks.stale import fresh_states, success_due_since
from monitoring.checks.stuck import CHECK as STUCK
from monitoring.checks.zombie import CHECK as ZOMBIE
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Heartbeats
from monitoring.model.prefect import OWN_FLOWS, Deployment, FlowRun
from monitoring.model.report import Totals

_ACTIVE = ("PENDING", "RUNNING", "CANCELLING", "PAUSED")
_STATES = ("SCHEDULED", *_ACTIVE, "COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_MAX_HISTORIES = 200
#: Last successes that are searched for, one request each.
MAX_SEARCHES = 500
#: Failed and crashed runs that a digest reads, once a day: 2,000 rows take the server a second.
MAX_FAILURES = 2_000
_HEARTBEAT_HISTORY = timedelta(days=7)
_HEARTBEAT_CHUNK = 1_000
_FLOW_RUN = "prefect.flow-run."
_HEARTBEAT = "prefect.flow-run.heartbeat"
#: Workers take runs shortly before they are due (`prefetch_seconds`, 10 s by default); a minute is on the safe side.
_WORKERS_START_EARLY = timedelta(minutes=1)


def active(collection: Collection) -> list[FlowRun]:
    """All PENDING, RUNNING, CANCELLING and PAUSED runs, whenever they started."""
    return _watched(collection, "active-runs", {"state": _type(*_ACTIVE)}, "ID_DESC")


def overdue(collection: Collection) -> list[FlowRun]:
    """All SCHEDULED runs that were due before now."""
    filters = {"state": _type("SCHEDULED"), "expected_start_time": {"before_": collection.now.isoformat()}}
    return _watched(collection, "due-runs", filters, "ID_DESC")


def ended(collection: Collection, since: datetime, until: datetime | None = None) -> list[FlowRun]:
    """All runs that ended between ``since`` and ``until``, by default now, oldest first."""
    filters = {"end_time": {"after_": since.isoformat(), "before_": (until or collection.now).isoformat()}}
    return sorted(_watched(collection, "ended-runs", filters, "END_TIME_DESC"), key=lambda run: (run.ended_at, run.id))


def _watched(
    collection: Collection, name: str, filters: Mapping[str, Any], sort: str, most: int | None = None
) -> list[FlowRun]:
    if not collection.config.target.runs_without_deployment:
        filters = {**filters, "deployment_id": {"is_null_": False}}
    found = collection.runs(name, {"flow_runs": filters, "sort": sort}, most)
    # A subflow in its parent's process is part of its parent, whose findings cover it.
    return [run for run in found if run.deployment_id or run.parent_task_run_id is None]


def pending_since(
    collection: Collection, runs: Iterable[FlowRun], deployments: Mapping[str, Deployment]
) -> dict[str, datetime]:
    """Since when PENDING runs have been pending without a break, by run id.

    The state's own timestamp restarts from Pending to Submitting, so the history is read where it can matter.
    """
    pending = [run for run in runs if run.state_type == "PENDING" and run.key in deployments]
    restarted = []
    for run in pending:
        limit = STUCK.settings(collection.policy(deployments[run.key])).pending_after
        longest = collection.now - (run.expected_start_time or run.created) + _WORKERS_START_EARLY
        if collection.now - run.state_timestamp <= limit < longest:
            restarted.append(run)
    own_time = {run.id: run.state_timestamp for run in pending}
    return own_time | _present_stretch(collection, "pending-history", restarted, lambda state: state.type == "PENDING")


def slot_wait_since(collection: Collection, waiting: Iterable[FlowRun]) -> dict[str, datetime]:
    """Since when runs that had started before have waited for a concurrency slot, by run id.

    Each rejection moves the next start ahead, so only the history tells.
    """
    name = "AwaitingConcurrencySlot"
    started = [run for run in waiting if run.state_name == name and run.start_time]
    return _present_stretch(collection, "slot-waits", started, lambda state: state.name == name)


def _present_stretch(
    collection: Collection, query: str, runs: Sequence[FlowRun], belongs: Callable[[rows.StateRow], bool]
) -> dict[str, datetime]:
    """Since when runs have been in their present states without a break, by run id; one request for each run."""
    since = {}
    for run in collection.some(query, runs, _MAX_HISTORIES, "runs"):
        history = collection.query(query, [], _states, collection, run)
        stretch = list(takewhile(belongs, reversed(history)))
        if stretch:
            since[run.id] = stretch[-1].timestamp
    return since


def _states(collection: Collection, run: FlowRun) -> list[rows.StateRow]:
    path = "/flow_run_states/"
    found = rows.rows_of(collection.api.get(path, flow_run_id=run.id), path)
    states = [rows.parsed("flow run states", rows.StateRow.model_validate, row) for row in found]
    return sorted(states, key=lambda state: state.timestamp)


def heartbeats(
    collection: Collection, runs: Iterable[FlowRun], deployments: Mapping[str, Deployment]
) -> dict[str, Heartbeats]:
    """The heartbeats of RUNNING runs, by run id; one request for a thousand runs.

    A run that never sent a heartbeat is absent. A run sends none while it waits for a retry, and each attempt begins
    with one, so the spacing over several attempts is not the interval. For runs that were resumed and look silent, the
    heartbeats since then are counted. Heartbeats carry the time of the machine that sends them: where a run looks
    silent by its own clock, the server's time of receipt is read, with one request for each.
    """
    running = _running(runs, deployments)
    beats: dict[str, Heartbeats] = {}
    for chunk in chunks(running, _HEARTBEAT_CHUNK):
        beats |= _heartbeats(collection, chunk, since=min(run.start_time or run.state_timestamp for run in chunk))
    # An unknown interval is taken to be the default.
    resumed = [run for run in running if run.id in beats and beats[run.id].first < run.state_timestamp]
    beats |= {run.id: Heartbeats(count=1, first=beats[run.id].last, last=beats[run.id].last) for run in resumed}
    silent = _silent(collection, resumed, beats, deployments)
    for run in collection.some("heartbeats", silent, _MAX_HISTORIES, "runs that went on"):
        counted = _heartbeats(collection, [run], since=run.state_timestamp)
        beats |= {key: own for key, own in counted.items() if own.first >= run.state_timestamp}
    for run in _silent(collection, running, beats, deployments)[:_MAX_HISTORIES]:
        if times := collection.query("heartbeats", None, newest_heartbeat, collection, run.id, beats[run.id].last):
            beats[run.id] = beats[run.id].model_copy(update={"received": times.received})
    return beats


def _running(runs: Iterable[FlowRun], deployments: Mapping[str, Deployment]) -> list[FlowRun]:
    return [run for run in runs if run.state_type == "RUNNING" and run.key in deployments]


def _silent(
    collection: Collection,
    runs: Iterable[FlowRun],
    beats: Mapping[str, Heartbeats],
    deployments: Mapping[str, Deployment],
) -> list[FlowRun]:
    return [
        run
        for run in _running(runs, deployments)
        if run.id in beats
        and is_silent(run, beats[run.id], ZOMBIE.settings(collection.policy(deployments[run.key])), collection.now)
    ]


def _heartbeats(collection: Collection, running: Sequence[FlowRun], since: datetime) -> dict[str, Heartbeats]:
    found = collection.query("heartbeats", [], count_heartbeats, collection, since, [run.id for run in running])
    return dict(collection.values("heartbeats", found, run_and_heartbeats))


def run_and_heartbeats(row: rows.Row) -> tuple[str, Heartbeats]:
    """The id of a run, and its heartbeats, from a row of ``count_heartbeats``."""
    beats = Heartbeats(count=row["count"], first=row["start_time"], last=row["end_time"])
    return row["value"].removeprefix(_FLOW_RUN), beats


def count_heartbeats(
    collection: Collection, since: datetime, run_ids: Sequence[str] | None = None
) -> Sequence[rows.Row]:
    """Count the heartbeats of some runs, or of all that sent any, since then; a row for each run.

    Raises:
        ServerProblem: The server does not answer.
    """
    path = "/events/count-by/resource"
    now = collection.now
    since = min(max(since, now - _HEARTBEAT_HISTORY), now - timedelta(minutes=1))
    resources = {} if run_ids is None else {"resource": {"id": [_FLOW_RUN + run_id for run_id in run_ids]}}
    occurred = {"since": since.isoformat(), "until": now.isoformat()}
    body = {"filter": {"occurred": occurred, "event": {"name": [_HEARTBEAT]}, **resources}}
    return rows.rows_of(collection.api.post(path, body), path)


class HeartbeatTimes(NamedTuple):
    """When a heartbeat was sent, by the clock of its machine, and received, by that of the server."""

    occurred: datetime
    received: datetime


def newest_heartbeat(collection: Collection, run_id: str, since: datetime) -> HeartbeatTimes | None:
    """The newest heartbeat of a run since then; None if there is none.

    Raises:
        ServerProblem: The server does not answer.
    """
    found = {
        "occurred": {"since": since.isoformat(), "until": collection.now.isoformat()},
        "event": {"name": [_HEARTBEAT]},
        "resource": {"id": [_FLOW_RUN + run_id]},
        "order": "DESC",
    }
    events = read_events(collection.api, {"filter": found, "limit": 1})
    return next((rows.parsed("events", _times, row) for row in events), None)


def _times(row: rows.Row) -> HeartbeatTimes:
    return HeartbeatTimes(rows.to_time(row["occurred"]), rows.to_time(row["received"]))


def read_again(
    collection: Collection,
    runs: Sequence[FlowRun],
    beats: Mapping[str, Heartbeats],
    deployments: Mapping[str, Deployment],
) -> list[FlowRun]:
    """Read the runs whose heartbeats have stopped again: a run that has just ended is not dead.

    Runs that ended or were deleted meanwhile are left out, and runs that could not be read again, as the coverage
    shows.
    """
    silent = {run.id for run in _silent(collection, runs, beats, deployments)}
    again = {run.id: run for run in collection.runs_by_id("silent-runs", silent)}
    fresh = (again.get(run.id) if run.id in silent else run for run in runs)
    return [run for run in fresh if run and run.state_type in _ACTIVE]


def failed_again(collection: Collection, ledger: Ledger) -> dict[str, FlowRun | None]:
    """Read the failed runs of the ledger again, by id: somebody may have rerun, marked or deleted (None) them since."""
    failing = (found for record in ledger.records.values() for found in record.failing)
    recorded = {found.last_ended.id for found in failing if found.last_ended}
    known = {run.id: run for run in collection.runs_by_id("failed-runs", recorded)}
    gone = dict.fromkeys(recorded) if collection.coverage.has("failed-runs") else {}
    return {**gone, **known}


def last_successes(
    collection: Collection, deployments: Mapping[str, Deployment], ended_runs: Iterable[FlowRun], ledger: Ledger
) -> dict[str, FlowRun | None]:
    """Search the history for the last success of deployments that should have had a success and show none.

    One request for each deployment, once: the ledger records that it was made.
    """
    succeeded = {run.key for run in ended_runs if run.state_type == "COMPLETED"}
    wanted = []
    for key, deployment in deployments.items():
        record = ledger.records.get(key)
        known = key in succeeded or (record and (record.last_success or record.success_searched))
        settings = STALE.settings(collection.policy(deployment))
        if not known and settings.enabled and success_due_since(deployment, settings, collection.now):
            wanted.append(deployment)
    searched = collection.some("last-success", wanted, MAX_SEARCHES, "deployments")
    return newest_successes(collection, searched, collection.now)


def newest_successes(
    collection: Collection, deployments: Sequence[Deployment], before: datetime
) -> dict[str, FlowRun | None]:
    """The newest success before a time of each deployment, None if there is none; by id, of the first 500.

    Deployments for which there is no answer are left out. If failures are expected, a failed run counts as a success.
    """
    answers = {found.id: _newest_success(collection, found, before) for found in deployments[:MAX_SEARCHES]}
    return {key: next(iter(answer), None) for key, answer in answers.items() if answer is not None}


def _newest_success(collection: Collection, deployment: Deployment, before: datetime) -> list[FlowRun] | None:
    fresh = fresh_states(collection.policy(deployment).expect)
    filters = {
        "deployment_id": {"any_": [deployment.id]},
        # By the states that it is not in: for COMPLETED itself, SQLite reads every success (6 s of a million).
        "state": {"type": {"not_any_": [state for state in _STATES if state not in fresh]}},
        "end_time": {"before_": before.isoformat()},
    }
    return collection.first_runs("last-success", {"flow_runs": filters, "sort": "END_TIME_DESC", "limit": 1})


def never_succeeded(
    collection: Collection,
    deployments: Mapping[str, Deployment],
    successes: Mapping[str, FlowRun | None],
    ended_runs: Iterable[FlowRun],
    ledger: Ledger,
) -> bool:
    """Whether any deployment is old enough for a success and has none in the history."""
    searched = {key for key, record in ledger.records.items() if record.success_searched and not record.last_success}
    searched |= {key for key, success in successes.items() if success is None}
    searched -= {run.key for run in ended_runs if run.state_type == "COMPLETED"}
    for deployment in (deployments[key] for key in searched & deployments.keys()):
        due = success_due_since(deployment, STALE.settings(collection.policy(deployment)), collection.now)
        if due and deployment.created <= due:
            return True
    return False


def oldest_success(collection: Collection) -> datetime | None:
    """When the oldest success on the server started: further back, retention has deleted runs.

    Retention does not delete runs that never end, and these prove nothing; so a page of the oldest runs is read. None
    if there is no success among them.
    """
    oldest = collection.first_runs("oldest-run", {"sort": "START_TIME_ASC"}) or ()
    return next((run.start_time for run in oldest if run.state_type == "COMPLETED" and run.start_time), None)


def totals(collection: Collection, start: datetime, before: datetime) -> Totals:
    """Count the runs that ended in ``[start, before)`` by their final state, without the watchdog's own.

    Raises:
        ServerProblem: The server does not answer.
    """
    window = {"after_": start.isoformat(), "before_": (before - timedelta(microseconds=1)).isoformat()}
    filters: list[dict[str, Any]] = [{"deployment_id": {"is_null_": False}}]
    if collection.config.target.runs_without_deployment:
        # Without runs in their parent's process, which are part of it.
        filters.append({"deployment_id": {"is_null_": True}, "parent_task_run_id": {"is_null_": True}})
    # A filter can include a flow by name and not exclude it, so the watchdog's own runs are counted and subtracted.
    ours = {"flows": {"name": {"any_": list(OWN_FLOWS)}}}
    runs_of = partial(count_rows, collection.api, "/flow_runs/count")

    def count(*state_types: str) -> int:
        state = {"state": _type(*state_types)} if state_types else {}
        bodies = [{"flow_runs": {"end_time": window, **state, **owner}} for owner in filters]
        return sum(runs_of(body) - runs_of({**body, **ours}) for body in bodies)

    failed, crashed, cancelled = count("FAILED"), count("CRASHED"), count("CANCELLED")
    completed = count() - failed - crashed - cancelled
    return Totals(start=start, end=before, completed=completed, failed=failed, crashed=crashed, cancelled=cancelled)


def failures(collection: Collection, since: datetime, own_flows: frozenset[str]) -> list[FlowRun]:
    """The newest runs that failed or crashed since then, newest first, at most ``MAX_FAILURES``."""
    filters = {
        "end_time": {"after_": since.isoformat(), "before_": collection.now.isoformat()},
        # By the states that it is not in, so that SQLite takes the index of ends.
        "state": {"type": {"not_any_": [state for state in _STATES if state not in ("FAILED", "CRASHED")]}},
    }
    found = _watched(collection, "recent-failures", filters, "END_TIME_DESC", MAX_FAILURES)
    return [run for run in found if run.flow_id not in own_flows]


def _type(*state_types: str) -> dict[str, Any]:
    return {"type": {"any_": list(state_types)}}
