"""The watchdog's own deployments and runs: what it is itself watched by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.rows import Row
from monitoring.adapters.prefect.read.schedules import newest_due
from monitoring.model.observation import OwnRuns
from monitoring.model.prefect import Deployment, FlowRun

#: What a check takes at the most, with the worker that starts it.
_GRACE = timedelta(minutes=2)
#: Two are usual. Somebody who deploys more has the first of them watched.
_MAX_DEPLOYMENTS = 10
#: Enough for any row of failures that somebody would wait for.
_NEWEST_RUNS = 50


def own_runs(
    collection: Collection,
    deployments: Sequence[Deployment],
    schedules: Mapping[str, Sequence[Row]],
    active: Iterable[FlowRun],
) -> OwnRuns:
    """Read the newest ended runs of each own deployment, and when they were due.

    The window of ended runs would not do: a digest runs once a day.

    Args:
        collection: Asks.
        deployments: Our own.
        schedules: Active schedules by deployment id.
        active: Our own runs that are active or overdue.
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
    """When the run that is planned furthest ahead was made: the scheduler makes another for each that has begun."""
    ids = [deployment.id for deployment in deployments if deployment.scheduled]
    if not ids:
        return None
    # The check's, of which there is always one to make; a digest's may be days old.
    filters = {"deployment_id": {"any_": ids}, "state": {"type": {"any_": ["SCHEDULED"]}}}
    body = {"flow_runs": filters, "sort": "EXPECTED_START_TIME_DESC", "limit": _NEWEST_RUNS}
    made = [run.created for run in collection.first_runs("own-runs", body) or () if run.auto_scheduled]
    return max(made, default=None)


def _with_due(collection: Collection, deployment: Deployment, schedules: Sequence[Row]) -> Deployment:
    until, count = collection.now - _GRACE, collection.config.watchdog.missed_fires
    due = collection.expand(deployment, (), newest_due, schedules, until=until, count=count)
    return deployment.model_copy(update={"due": due})
