"""Deletes the check's own finished runs and old versions of its artifacts.

A check every five minutes makes 288 runs a day that nobody will open. Nothing is deleted on a guess: a run must belong
to the flow with exactly the check's name, must have ended, and must be old; all this is verified here, because a server
ignores a filter that it does not know and returns everything. An artifact must be recorded as published by the check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from monitoring.adapters.prefect.client.api import Api
from monitoring.config.general_settings import State as Settings
from monitoring.model.base import Timestamp, Value
from monitoring.model.prefect import CHECK_FLOW, TERMINAL
from monitoring.model.saved_state import PublishedArtifact

#: A check deletes at most this many runs and this many artifacts: after a long pause it should still take seconds.
MAX_DELETIONS = 200

#: How far before the limit runs without a deployment are searched; see ``_candidates``.
_WINDOW = timedelta(days=1)


class _Run(Value):
    id: str
    flow_id: str
    state_type: str | None = None
    end_time: Timestamp | None = None


class _Row(Value):
    id: str


@dataclass
class PrefectHousekeeping:
    """Deletes old runs and artifacts of the check."""

    api: Api
    #: How long runs and artifacts are kept.
    settings: Settings
    #: The run that calls this; it is kept.
    flow_run_id: str

    def tidy(self, now: datetime, published: Mapping[str, PublishedArtifact]) -> dict[str, PublishedArtifact]:
        """Delete old runs of the check and old versions of its artifacts, at most ``MAX_DELETIONS`` of each.

        Returns:
            What is still published.

        Raises:
            ServerProblem: The server cannot be used. Deleted artifacts may still be in ``published``; to delete them
                again does no harm.
        """
        for run_id in islice(self._old_runs(now - self.settings.keep_runs), MAX_DELETIONS):
            self.api.delete(f"/flow_runs/{run_id}")
        gone = set(islice(old_versions(published.values(), now - self.settings.keep_artifacts), MAX_DELETIONS))
        for artifact_id in sorted(gone):
            self.api.delete(f"/artifacts/{artifact_id}")
        return {
            key: artifact.model_copy(update={"versions": tuple(v for v in artifact.versions if v.id not in gone)})
            for key, artifact in published.items()
        }

    def _old_runs(self, limit: datetime) -> Iterator[str]:
        flow = self.api.read(f"/flows/name/{CHECK_FLOW}", _Row)
        if flow is None:
            return
        seen = {self.flow_run_id}
        for run in self._candidates(flow.id, limit):
            mine = run.flow_id == flow.id and run.id not in seen
            if mine and run.state_type in TERMINAL and run.end_time is not None and run.end_time <= limit:
                seen.add(run.id)
                yield run.id

    def _candidates(self, flow_id: str, limit: datetime) -> Iterator[_Run]:
        """Find runs of the flow that ended before the limit, without reading the runs of other flows.

        On SQLite with 1,000,000 runs a filter by flow alone takes 0.4 to 3.6 s, in any order; by deployment, which has
        an index, 10 ms; by flow in a short window of end times 13 ms. So the first query finds the runs that a pause
        has left, however old, and the second finds runs without a deployment.
        """
        flows = {"id": {"any_": [flow_id]}}
        ended = {"before_": limit.isoformat()}
        deployments = self.api.query("/deployments/filter", {"flows": flows}, list[_Row])
        filters: list[dict[str, Any]] = [{"end_time": {**ended, "after_": (limit - _WINDOW).isoformat()}}]
        if deployments:
            filters.insert(0, {"end_time": ended, "deployment_id": {"any_": [row.id for row in deployments]}})
        for flow_runs in filters:
            body = {"flows": flows, "flow_runs": flow_runs, "sort": "END_TIME_DESC"}
            yield from self.api.query("/flow_runs/filter", body, list[_Run])


def old_versions(published: Iterable[PublishedArtifact], limit: datetime) -> Iterator[str]:
    """Yield the ids of versions that were created before the limit; never the newest of an artifact."""
    for artifact in published:
        yield from (version.id for version in artifact.versions[:-1] if version.created <= limit)
