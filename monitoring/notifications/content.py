"""Builds the content of a notification, as a value."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from monitoring.model.finding import rank, worst
from monitoring.model.incident import Incident
from monitoring.model.outbox import MAX_SHOWN, About, Content, Suppression
from monitoring.notifications.situation import Situation

#: Runs of an incident that a message links to, and lines of evidence that it may show.
MAX_RUNS = 3
MAX_EVIDENCE = 20


def build_content(
    about: About,
    incidents: Sequence[Incident],
    situation: Situation,
    suppressed: Mapping[int, Suppression],
    notes: Sequence[str] = (),
) -> Content:
    """Build the content of a notification.

    Args:
        about: What has changed about the incidents.
        incidents: At least one.
        situation: The state after the check.
        suppressed: Why the previous check sent no notification for incidents, by number.
        notes: Additional sentences for people.
    """
    # Resolved incidents come last, so that firing ones are seen.
    ordered = sorted(
        incidents,
        key=lambda incident: (incident.resolved_at is not None, -rank(incident.finding.severity), incident.number),
    )
    firing = [incident for incident in ordered if incident.resolved_at is None]
    shown = ordered[:MAX_SHOWN]
    return Content(
        about=about,
        target=situation.config.target.name,
        at=situation.now,
        incidents=tuple(_shortened(incident, evidence=about == "details") for incident in shown),
        total=len(ordered),
        open=len(firing),
        severity=worst(incident.finding.severity for incident in firing or ordered),
        explained_by=_inhibiting(firing, situation),
        notes=(*(_delays(shown, suppressed) if about in ("opened", "joined") else ()), *notes),
        ui_url=situation.ui_url,
        traceback=situation.config.alerts.traceback,
    )


def has_details(content: Content) -> bool:
    """Whether the incidents have details that the notification does not show."""
    return any(incident.finding.flow_run_ids or incident.finding.evidence for incident in content.incidents)


def hash_content(content: Content) -> str:
    """Hash the content of a notification, without the parts that change with the clock."""
    parts = [str(content.total), str(content.open), str(sorted(content.explained_by.items()))]
    for incident in content.incidents:
        known: Mapping[str, object] = incident.finding.model_dump(include={"severity", "flow_run_count", "owner"})
        parts += [incident.id, str(sorted(known.items())), str(incident.resolution), str(incident.acknowledged)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def _inhibiting(firing: Sequence[Incident], situation: Situation) -> dict[str, str]:
    """By incident id, the id of its cause; a pending cause has no id that people could look up."""
    causes = ((incident.id, situation.ids.get(incident.finding.symptom_of or "")) for incident in firing)
    return {incident: cause for incident, cause in causes if cause}


def _delays(incidents: Sequence[Incident], suppressed: Mapping[int, Suppression]) -> Iterator[str]:
    for incident in incidents:
        if incident.number in suppressed:
            yield f"{incident.id} was suppressed until now: {suppressed[incident.number].text}"


def _shortened(incident: Incident, *, evidence: bool) -> Incident:
    """Keep only what a message needs of an incident, because a queue of hundreds is often read and written."""
    finding = incident.finding
    lines = finding.evidence[-MAX_EVIDENCE:] if evidence else ()
    short = finding.model_copy(update={"flow_run_ids": finding.flow_run_ids[:MAX_RUNS], "evidence": lines})
    return incident.model_copy(update={"finding": short, "history": ()})
