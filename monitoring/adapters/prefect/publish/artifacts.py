"""Publishes reports as Prefect artifacts, for people who have the Prefect UI open.

Each report has a key that never changes, so links to it stay valid. A new version is created if the report has changed,
and the newest version is updated in place while only the time has changed: the versions of a key are the history of the
server's problems and not of the watchdog's checks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass
class PrefectArtifacts:
    """Publishes the reports of one flow run, as ``ports.Artifacts``."""

    api: Api
    #: The run that creates the artifacts; Prefect deprecates artifacts without a run.
    flow_run_id: str

    def publish_health(
        self, report: HealthReport, published: Mapping[str, PublishedArtifact]
    ) -> dict[str, PublishedArtifact]:
        """Publish the health summary and the table of findings; in place if only the time has changed.

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
        """Publish the digest, always as a new version. Result and errors are those of ``publish_health``."""
        identity, page = report.health.identity, markdown_page(digest_message(report))
        return {**published, DIGEST: self._create(DIGEST, "markdown", page, identity, published.get(DIGEST))}

    def _update(self, artifact: PublishedArtifact, data: str) -> bool:
        """Update the newest version; False if there is none, or somebody has deleted it."""
        if not artifact.versions:
            return False
        path = f"/artifacts/{artifact.versions[-1].id}"
        return self.api.accepts("PATCH", path, unless=404, json={"data": data})

    def _create(
        self, key: str, kind: str, data: str, identity: str, before: PublishedArtifact | None
    ) -> PublishedArtifact:
        artifact = {"key": key, "type": kind, "description": ARTIFACTS[key], "data": data}
        version = self.api.query("/artifacts/", {**artifact, "flow_run_id": self.flow_run_id}, Published)
        return PublishedArtifact(identity=identity, versions=(*(before.versions if before else ()), version))
