"""Publishes reports as Prefect artifacts, for people who have the Prefect UI open.

Each report has a key that never changes, so links to it stay valid. A new version is created if the report has changed,
and the newest version is updated in place while only the time has changed: the versions of a key are the history of the
server's problems and not of the watchdog's checks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from monitoring.adapters.prefect.client.api import Api
from monitoring.messages import findings_table as table
from monitoring.messages.markdown import markdown_page
from monitoring.messages.report_messages import digest_message, health_message
from monitoring.model.report import DigestReport, HealthReport
from monitoring.model.saved_state import Published, PublishedArtifact

#: Lower case letters, digits and dashes are allowed (prefect.types.names.ArtifactKey).
HEALTH = "watchdog-health"
FINDINGS = "watchdog-findings"
DIGEST = "watchdog-digest"

#: The description of each artifact, by its key.
ARTIFACTS = {
    HEALTH: "How the server is doing now. Updated by every check; a new version when something has changed.",
    FINDINGS: "What `watchdog-health` says, as a table of plain values.",
    DIGEST: "How the server is doing this morning, and how yesterday went.",
}

_PUBLISHED = TypeAdapter(Published)


class PrefectArtifacts:
    """Publishes the reports of one flow run."""

    def __init__(self, api: Api, flow_run_id: str) -> None:
        """Nothing is sent yet.

        Args:
            api: The server to publish on.
            flow_run_id: The run that creates the artifacts; Prefect deprecates artifacts without a run.
        """
        self._api = api
        self._run = {"flow_run_id": flow_run_id}

    def publish_health(
        self, report: HealthReport, published: Mapping[str, PublishedArtifact]
    ) -> dict[str, PublishedArtifact]:
        """Publish the health summary and the table of findings; in place if only the time has changed.

        Args:
            report: The report of the check.
            published: The published artifacts, by key.

        Returns:
            The artifacts that are published then, by key.

        Raises:
            ServerProblem: The server cannot be used.
        """
        after = dict(published)
        for key, kind, data in (
            (HEALTH, "markdown", markdown_page(health_message(report))),
            # Prefect's own table artifacts hold their rows as JSON text (prefect.artifacts.TableArtifact).
            (FINDINGS, "table", json.dumps(table.findings(report))),
        ):
            before = published.get(key)
            if before and before.identity == report.identity and self._update(before, data):
                continue
            after[key] = self._create(key, kind, data, report.identity, before)
        return after

    def publish_digest(
        self, report: DigestReport, published: Mapping[str, PublishedArtifact]
    ) -> dict[str, PublishedArtifact]:
        """Publish the digest, always as a new version. Arguments, result and errors are those of ``publish_health``."""
        identity, page = report.health.identity, markdown_page(digest_message(report))
        return {**published, DIGEST: self._create(DIGEST, "markdown", page, identity, published.get(DIGEST))}

    def _update(self, artifact: PublishedArtifact, data: str) -> bool:
        """Update the newest version; False if there is none, or somebody has deleted it."""
        if not artifact.versions:
            return False
        path = f"/artifacts/{artifact.versions[-1].id}"
        return self._api.accepts("PATCH", path, unless=404, json={"data": data})

    def _create(
        self, key: str, kind: str, data: str, identity: str, before: PublishedArtifact | None
    ) -> PublishedArtifact:
        artifact: dict[str, Any] = {"key": key, "type": kind, "description": ARTIFACTS[key], "data": data}
        version = self._api.query("/artifacts/", artifact | self._run, _PUBLISHED)
        return PublishedArtifact(identity=identity, versions=(*(before.versions if before else ()), version))
