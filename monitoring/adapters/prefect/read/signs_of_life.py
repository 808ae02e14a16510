"""Reads when a run without heartbeats was last heard of: by its logs, its task runs and its events.

The server deletes heartbeats after some days, so a run that died before that looks like one that never sent any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import Collection, read_events
from monitoring.checks.facts.heartbeats import outlived
from monitoring.history.baselines import longest
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Heartbeats
from monitoring.model.prefect import Deployment, FlowRun, by_key

#: Runs that are examined, with three requests each, longest first.
_MAX_RUNS = 50
_QUERY = "signs-of-life"


def signs_of_life(
    collection: Collection,
    active: Iterable[FlowRun],
    ended: Iterable[FlowRun],
    deployments: Mapping[str, Deployment],
    heartbeats: Mapping[str, Heartbeats],
    samples: Mapping[str, tuple[FlowRun, ...]],
    ledger: Ledger,
) -> dict[str, datetime]:
    """By run id, the newest sign of life of RUNNING runs that have no heartbeats and run far longer than any before.

    Arguments as for an observation. A run for which some answer is missing is left out: it may be alive.
    """
    mute = [
        run for run in active if run.state_type == "RUNNING" and run.key in deployments and run.id not in heartbeats
    ]
    completed = by_key(ended) if mute else {}

    def beyond(run: FlowRun) -> bool:
        known = [*samples.get(run.key, ()), *completed.get(run.key, ())]
        return outlived(collection.now - run.state_timestamp, longest(ledger.record(run.key).run_times, known))

    mute = sorted(filter(beyond, mute), key=lambda run: run.state_timestamp)
    examined = collection.some(_QUERY, mute, _MAX_RUNS, "runs without heartbeats")
    signs = {run.id: collection.query(_QUERY, None, _newest_sign, collection, run) for run in examined}
    return {run_id: sign for run_id, sign in signs.items() if sign}


def _newest_sign(collection: Collection, run: FlowRun) -> datetime:
    """The newest sign of life of a run since it entered its state."""
    mine, api = {"any_": [run.id]}, collection.api
    logs = api.post("/logs/filter", {"logs": {"flow_run_id": mine}, "sort": "TIMESTAMP_DESC", "limit": 1})
    tasks = api.post(
        "/task_runs/filter",
        {"task_runs": {"flow_run_id": mine}, "sort": "EXPECTED_START_TIME_DESC", "limit": _MAX_RUNS},
    )
    involved = {"any_resource": {"id": [f"prefect.flow-run.{run.id}"]}}
    occurred = {"since": run.state_timestamp.isoformat(), "until": collection.now.isoformat()}
    events = read_events(api, {"filter": {**involved, "occurred": occurred, "order": "DESC"}, "limit": 1})
    times = [
        *(row["timestamp"] for row in rows.rows_of(logs, "/logs/filter")),
        *((row.get("state") or {}).get("timestamp") for row in rows.rows_of(tasks, "/task_runs/filter")),
        *(row["occurred"] for row in events),
    ]
    return max([run.state_timestamp, *(rows.to_time(time) for time in times if time)])
