"""Reads the watchdog's own deployments and runs, by which it watches itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.rows import Row
from monitoring.adapters.prefect.read.schedules import newest_due
from monitoring.model.observation import OwnRuns
from monitoring.model.prefect import Deployment, FlowRun

#: The longest duration of a check, with its start by a worker.
_GRACE = timedelta(minutes=2)
#: Two are usual. Of more, the first are watched.
_MAX_DEPLOYMENTS = 10
#: Enough for any streak of failures that a setting could require.
_NEWEST_RUNS = 50


def own_runs(
    collection: Collection,
    deployments: Sequence[Deployment],
    schedules: Mapping[str, Sequence[Row]],
    active: Iterable[FlowRun],
) -> OwnRuns:
    """Read the newest ended runs of each own deployment, and when they were due.

    The window of ended runs is not enough: a digest runs once a day. ``deployments`` and ``active`` are the watchdog's
    own, and ``schedules`` by deployment id.
    """
    if not collection.config.watchdog.enabled:
        return OwnRuns()
    watched = deployments[:_MAX_DEPLOYMENTS]
    ended = [run for deployment in watched for run in _newest_ended(collection, deployment)]
    return OwnRuns(
        deployments=tuple(
            _with_due(collection, deployment, schedules.get(deployment.id, ())) for deployment in watched
        ),
        ended=tuple(sorted(ended, key=lambda run: run.ended_at)),
        active=tuple(active),
        planned_at=_planned_at(collection, watched),
    )


def _newest_ended(collection: Collection, deployment: Deployment) -> Sequence[FlowRun]:
    filters = {"deployment_id": {"any_": [deployment.id]}, "end_time": {"before_": collection.now.isoformat()}}
    body = {"flow_runs": filters, "sort": "END_TIME_DESC", "limit": _NEWEST_RUNS}
    return collection.first_runs("own-runs", body) or ()


def _planned_at(collection: Collection, deployments: Sequence[Deployment]) -> datetime | None:
    """When the newest planned run was created: the scheduler creates another for each run that has started."""
    ids = [deployment.id for deployment in deployments if deployment.scheduled]
    if not ids:
        return None
    # Runs of the check, of which there is always another to create; those of the digest may be days old.
    filters = {"deployment_id": {"any_": ids}, "state": {"type": {"any_": ["SCHEDULED"]}}}
    body = {"flow_runs": filters, "sort": "EXPECTED_START_TIME_DESC", "limit": _NEWEST_RUNS}
    made = [run.created for run in collection.first_runs("own-runs", body) or () if run.auto_scheduled]
    return max(made, default=None)


def _with_due(collection: Collection, deployment: Deployment, schedules: Sequence[Row]) -> Deployment:
    until, count = collection.now - _GRACE, collection.config.watchdog.missed_fires
    due = collection.expand(deployment, (), newest_due, schedules, until=until, count=count)
    return deployment.model_copy(update={"due": due})
