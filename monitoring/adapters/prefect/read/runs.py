"""What there is to know of flow runs: which are active, which ended, and their histories where they matter.

The shape of each query is chosen for servers with a million runs: ended runs are read by ``end_time``
without a state filter, since with one SQLite takes the index of the states. Active runs are read in the
order of their ids: many are due at the same moment, and pages of an order with ties miss rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import Collection, chunks, count_runs
from monitoring.checks.stale import fresh_states, success_due_since
from monitoring.checks.zombie import is_silent
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Heartbeats
from monitoring.model.prefect import OWN_FLOWS, Deployment, FlowRun
from monitoring.model.report import Totals

_ACTIVE = ("PENDING", "RUNNING", "CANCELLING", "PAUSED")
_STATES = ("SCHEDULED", *_ACTIVE, "COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_MAX_HISTORIES = 200
MAX_SEARCHES = 500
_HEARTBEAT_HISTORY = timedelta(days=7)
_HEARTBEAT_CHUNK = 1_000
_FLOW_RUN = "prefect.flow-run."
#: Workers take runs a little before they are due (`prefetch_seconds`, 10 s by default); a minute is on the safe side.
_WORKERS_START_EARLY = timedelta(minutes=1)


def active(collection: Collection) -> list[FlowRun]:
    """All runs in PENDING, RUNNING, CANCELLING and PAUSED, whenever they began."""
    return _watched(collection, "active-runs", {"state": _type(*_ACTIVE)}, "ID_DESC")


def overdue(collection: Collection) -> list[FlowRun]:
    """All runs in SCHEDULED that were due before now."""
    filters = {"state": _type("SCHEDULED"), "expected_start_time": {"before_": _text(collection.now)}}
    return _watched(collection, "due-runs", filters, "ID_DESC")


def ended(collection: Collection, since: datetime, until: datetime | None = None) -> list[FlowRun]:
    """All runs that ended between ``since`` and ``until``, by default now, oldest first."""
    filters = {"end_time": {"after_": _text(since), "before_": _text(until or collection.now)}}
    return sorted(_watched(collection, "ended-runs", filters, "END_TIME_DESC"), key=lambda run: (run.ended_at, run.id))


def _watched(collection: Collection, name: str, filters: Mapping[str, Any], sort: str) -> list[FlowRun]:
    if not collection.config.target.runs_without_deployment:
        filters = {**filters, "deployment_id": {"is_null_": False}}
    found = collection.runs(name, {"flow_runs": filters, "sort": sort})
    # A subflow in its parent's process is part of its parent; what it breaks is told there.
    return [run for run in found if run.deployment_id or run.parent_task_run_id is None]


def pending_since(
    collection: Collection, runs: Iterable[FlowRun], deployments: Mapping[str, Deployment]
) -> dict[str, datetime]:
    """Since when PENDING runs are pending without a break, by run id.

    The state's own time restarts from Pending to Submitting, so the history is asked where it can matter.
    """
    pending = [run for run in runs if run.state_type == "PENDING" and run.key in deployments]
    doubtful = []
    for run in pending:
        limit = collection.policy(deployments[run.key]).stuck.pending_after
        began_at_most = collection.now - (run.expected_start_time or run.created) + _WORKERS_START_EARLY
        if collection.now - run.state_timestamp <= limit < began_at_most:
            doubtful.append(run)
    own_time = {run.id: run.state_timestamp for run in pending}
    return own_time | _present_stretch(collection, "pending-history", doubtful, lambda state: state.type == "PENDING")


def slot_wait_since(collection: Collection, waiting: Iterable[FlowRun]) -> dict[str, datetime]:
    """When runs that had started before began to wait for a concurrency slot, by run id.

    Each refusal of a slot moves the next start ahead, so only the history knows.
    """
    name = "AwaitingConcurrencySlot"
    asked = [run for run in waiting if run.state_name == name and run.start_time]
    return _present_stretch(collection, "slot-waits", asked, lambda state: state.name == name)


def _present_stretch(
    collection: Collection, query: str, runs: Sequence[FlowRun], belongs: Callable[[rows.StateRow], bool]
) -> dict[str, datetime]:
    """Since when runs have been in the states that they are in now, without a break, by run id; one request a run."""
    if len(runs) > _MAX_HISTORIES:
        collection.note(query, "partial", f"asked for {_MAX_HISTORIES} of {len(runs)} runs")
    since = {}
    for run in runs[:_MAX_HISTORIES]:
        history = collection.ask(query, [], _states, collection, run)
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

    A run that never sent one is absent. A run sends none while it waits for a retry, and each attempt begins
    with one, so the spacing over several attempts is no interval. For runs that went on and look silent, the
    beats since they did are asked for.
    """
    running = [run for run in runs if run.state_type == "RUNNING" and run.key in deployments]
    beats: dict[str, Heartbeats] = {}
    for chunk in chunks(running, _HEARTBEAT_CHUNK):
        beats |= _heartbeats(collection, chunk, since=min(run.start_time or run.state_timestamp for run in chunk))
    # Unless it is known, an interval is taken for the default.
    doubtful = [run for run in running if run.id in beats and beats[run.id].first < run.state_timestamp]
    beats |= {run.id: Heartbeats(count=1, first=beats[run.id].last, last=beats[run.id].last) for run in doubtful}
    silent = _silent(collection, doubtful, beats, deployments)
    if len(silent) > _MAX_HISTORIES:
        collection.note("heartbeats", "partial", f"asked for {_MAX_HISTORIES} of {len(silent)} runs that went on")
    for run in silent[:_MAX_HISTORIES]:
        counted = _heartbeats(collection, [run], since=run.state_timestamp)
        beats |= {key: own for key, own in counted.items() if own.first >= run.state_timestamp}
    return beats


def _silent(
    collection: Collection,
    runs: Iterable[FlowRun],
    beats: Mapping[str, Heartbeats],
    deployments: Mapping[str, Deployment],
) -> list[FlowRun]:
    return [
        run
        for run in runs
        if run.id in beats
        and run.state_type == "RUNNING"
        and run.key in deployments
        and is_silent(run, beats[run.id], collection.policy(deployments[run.key]).zombie, collection.now)
    ]


def _heartbeats(collection: Collection, running: Sequence[FlowRun], since: datetime) -> dict[str, Heartbeats]:
    found = collection.ask("heartbeats", [], _count_heartbeats, collection, running, since)
    counts = collection.values("heartbeats", found, rows.EventCount.model_validate)
    return {
        count.value.removeprefix(_FLOW_RUN): Heartbeats(count=count.count, first=count.start_time, last=count.end_time)
        for count in counts
    }


def _count_heartbeats(collection: Collection, running: Sequence[FlowRun], since: datetime) -> Sequence[rows.Row]:
    path = "/events/count-by/resource"
    now = collection.now
    since = min(max(since, now - _HEARTBEAT_HISTORY), now - timedelta(minutes=1))
    body = {
        "filter": {
            "occurred": {"since": _text(since), "until": _text(now)},
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [_FLOW_RUN + run.id for run in running]},
        }
    }
    return rows.rows_of(collection.api.post(path, body), path)


def read_again(
    collection: Collection,
    runs: Sequence[FlowRun],
    beats: Mapping[str, Heartbeats],
    deployments: Mapping[str, Deployment],
) -> list[FlowRun]:
    """Read the runs again whose heartbeats have stopped: one that has just ended is not dead.

    Returns:
        All runs. Left out are those that ended or were deleted meanwhile, and those that could not be read again,
        which the coverage says.
    """
    silent = {run.id for run in _silent(collection, runs, beats, deployments)}
    again = {run.id: run for run in collection.runs_by_id("silent-runs", silent)}
    fresh = (again.get(run.id) if run.id in silent else run for run in runs)
    return [run for run in fresh if run and run.state_type in _ACTIVE]


def failed_again(collection: Collection, ledger: Ledger) -> dict[str, FlowRun | None]:
    """Read the remembered runs again that stand for a failure: somebody may have run, marked or deleted them since.

    Returns:
        The runs by id, None for those that are gone.
    """
    remembered = {record.last_ended.id for record in ledger.records.values() if record.streak and record.last_ended}
    known = {run.id: run for run in collection.runs_by_id("failed-runs", remembered)}
    gone = dict.fromkeys(remembered) if collection.coverage.has("failed-runs") else {}
    return {**gone, **known}


def last_successes(
    collection: Collection, deployments: Mapping[str, Deployment], ended_runs: Iterable[FlowRun], ledger: Ledger
) -> dict[str, FlowRun | None]:
    """Search the history for the last success of deployments that should have had one and show none.

    One request a deployment, once: the ledger remembers that it was made.
    """
    succeeded = {run.key for run in ended_runs if run.state_type == "COMPLETED"}
    wanted = []
    for key, deployment in deployments.items():
        record = ledger.records.get(key)
        known = key in succeeded or (record and (record.last_success or record.success_searched))
        policy = collection.policy(deployment).stale
        if not known and policy.enabled and success_due_since(deployment, policy, collection.now):
            wanted.append(deployment)
    found: dict[str, FlowRun | None] = {}
    for deployment in wanted[:MAX_SEARCHES]:
        answer = newest_success(collection, deployment, collection.now)
        if answer is not None:
            found[deployment.id] = answer[0] if answer else None
    if len(wanted) > MAX_SEARCHES:
        collection.note("last-success", "partial", f"searched for {MAX_SEARCHES} of {len(wanted)} deployments")
    return found


def newest_success(collection: Collection, deployment: Deployment, before: datetime) -> list[FlowRun] | None:
    """The newest success of a deployment that ended before a moment, if there is any; None without an answer.

    Where failures are expected, a failed run is one.
    """
    fresh = fresh_states(collection.policy(deployment).expect)
    filters = {
        "deployment_id": {"any_": [deployment.id]},
        # Asked for as what it is not: for COMPLETED itself, SQLite reads every success there is (6 s of a million).
        "state": {"type": {"not_any_": [state for state in _STATES if state not in fresh]}},
        "end_time": {"before_": _text(before)},
    }
    return collection.first_runs("last-success", {"flow_runs": filters, "sort": "END_TIME_DESC", "limit": 1})


def never_succeeded(
    collection: Collection,
    deployments: Mapping[str, Deployment],
    successes: Mapping[str, FlowRun | None],
    ended_runs: Iterable[FlowRun],
    ledger: Ledger,
) -> bool:
    """Whether there is a deployment that is old enough for a success and has none in the history."""
    searched = {key for key, record in ledger.records.items() if record.success_searched and not record.last_success}
    searched |= {key for key, success in successes.items() if success is None}
    searched -= {run.key for run in ended_runs if run.state_type == "COMPLETED"}
    for key in searched & deployments.keys():
        due = success_due_since(deployments[key], collection.policy(deployments[key]).stale, collection.now)
        if due and deployments[key].created <= due:
            return True
    return False


def oldest_success(collection: Collection) -> datetime | None:
    """When the oldest success began that the server still has: further back, retention has been at work.

    Runs that never end are not deleted by retention, and say nothing; so the oldest ones are looked through.
    None when there is no success among them.
    """
    oldest = collection.first_runs("oldest-run", {"sort": "START_TIME_ASC"}) or ()
    return next((run.start_time for run in oldest if run.state_type == "COMPLETED" and run.start_time), None)


def totals(collection: Collection, start: datetime, before: datetime) -> Totals:
    """Count how the runs ended that ended in ``[start, before)``, without the watchdog's own.

    Raises:
        ServerProblem: The server does not say.
    """
    window = {"after_": _text(start), "before_": _text(before - timedelta(microseconds=1))}

    whose: list[dict[str, Any]] = [{"deployment_id": {"is_null_": False}}]
    if collection.config.target.runs_without_deployment:
        # Not those that run in their parent's process: they are part of it.
        whose.append({"deployment_id": {"is_null_": True}, "parent_task_run_id": {"is_null_": True}})
    # A flow can be asked for by name and not excluded by it, so our own are counted and taken off.
    ours = {"flows": {"name": {"any_": list(OWN_FLOWS)}}}

    def count(*state_types: str) -> int:
        state = {"state": _type(*state_types)} if state_types else {}
        bodies = [{"flow_runs": {"end_time": window, **state, **some}} for some in whose]
        return sum(count_runs(collection.api, body) - count_runs(collection.api, {**body, **ours}) for body in bodies)

    failed, crashed, cancelled = count("FAILED"), count("CRASHED"), count("CANCELLED")
    completed = count() - failed - crashed - cancelled
    return Totals(start=start, end=before, completed=completed, failed=failed, crashed=crashed, cancelled=cancelled)


def _type(*state_types: str) -> dict[str, Any]:
    return {"type": {"any_": list(state_types)}}


def _text(moment: datetime) -> str:
    return moment.isoformat()
