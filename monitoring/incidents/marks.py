"""The marks of problems: what people did about them, so that no notification is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from monitoring.incidents.lifecycle import labels_of
from monitoring.model.finding import Finding
from monitoring.model.incident import Incidents
from monitoring.model.observation import Observation
from monitoring.model.report import NO_MARK, Mark
from monitoring.model.silence import Silence, active_silence


def marks(
    findings: Iterable[Finding], incidents: Incidents, silences: Sequence[Silence], observation: Observation
) -> Mapping[str, Mark]:
    """The marks of findings by fingerprint, those without a mark left out.

    A silence covers a finding from the start: it needs no incident.
    """
    problems = (finding for finding in findings if finding.severity != "info")
    found = {finding.fingerprint: _mark(finding, incidents, silences, observation) for finding in problems}
    return {fingerprint: mark for fingerprint, mark in found.items() if mark != NO_MARK}


def _mark(finding: Finding, incidents: Incidents, silences: Sequence[Silence], observation: Observation) -> Mark:
    incident = incidents.open.get(finding.fingerprint)
    closed = None if incident else incidents.closed_by_hand.get(finding.fingerprint)
    labels = incident.labels if incident else labels_of(finding, observation)
    return Mark(
        acknowledged_by=incident.acknowledged.by if incident and incident.acknowledged else None,
        silence=active_silence(labels, silences, observation.at),
        closed=closed if closed and closed.covers(finding) else None,
    )
