"""Incidents and action requests as ``--json`` prints them: docs/incidents.md describes the fields."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from monitoring.incidents.timing import to_detect, to_resolve
from monitoring.messages import words
from monitoring.messages.incident_messages import IncidentView
from monitoring.messages.json_contract import finding_json, silence_json
from monitoring.model.incident import Acknowledgement, Step
from monitoring.model.request import Request

#: Raised when a field goes or changes its meaning.
SCHEMA = 1


def incident_json(view: IncidentView) -> dict[str, Any]:
    """All that is known of one incident: plain values, times in UTC with a ``Z``, spans in seconds."""
    incident, acknowledged = view.incident, view.incident.acknowledged
    finding = finding_json(incident.finding)
    for field in ("flow", "deployment", "unknown"):
        del finding[field]
    return {
        "id": incident.id or None,
        **finding,
        "status": "resolved" if incident.resolved_at else "firing" if incident.firing else "pending",
        "known_before": incident.preexisting,
        "acknowledged": acknowledged and _dated(acknowledged),
        "silence": view.silence and silence_json(view.silence),
        "not_told_because": view.suppression.text if view.suppression else None,
        "tags": list(incident.tags),
        "pool": incident.pool,
        "opened_at": words.stamp(incident.opened_at),
        "fired_at": _stamp(incident.fired_at),
        "unseen_since": _stamp(incident.unseen_since),
        "resolved_at": _stamp(incident.resolved_at),
        "resolution": incident.resolution,
        "reopened": incident.reopened,
        "time_to_detect": _seconds(to_detect(incident)),
        "time_to_resolve": _seconds(to_resolve(incident)),
        "history": [_dated(step) for step in incident.history],
    }


def request_json(request: Request) -> dict[str, Any]:
    """An action request as plain values."""
    return {
        "what": request.what,
        "at": words.stamp(request.at),
        "by": request.by,
        "subject": request.subject or None,
        "note": request.note,
        "silence": request.silence and silence_json(request.silence),
    }


def _dated(value: Acknowledgement | Step) -> dict[str, Any]:
    return {**value.model_dump(), "at": words.stamp(value.at)}


def _stamp(at: datetime | None) -> str | None:
    return words.stamp(at) if at else None


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else round(span.total_seconds())
