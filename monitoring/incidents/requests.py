"""Applies action requests from the command line: silences, acknowledgements, closings."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from monitoring.model.base import Value
from monitoring.model.incident import Acknowledgement, Closed, Incident, Incidents, Step
from monitoring.model.request import Request, Silences

#: How long a silence is listed after its end.
KEEP_ENDED = timedelta(days=7)


class Applied(Value):
    """The state after action requests; ``rejected`` says, for people, which were rejected and why."""

    incidents: Incidents
    silences: Silences
    closed: tuple[Incident, ...] = ()
    rejected: tuple[str, ...] = ()


def apply_requests(requests: Iterable[Request], incidents: Incidents, silences: Silences, now: datetime) -> Applied:
    """Apply action requests, oldest first. A request that comes twice, as after a crash, is applied once."""
    kept = tuple(silence for silence in silences.known if now - silence.ends_at < KEEP_ENDED)
    silences = silences.model_copy(update={"known": kept})
    closed: list[Incident] = []
    rejected: list[str] = []
    for request in sorted(requests, key=lambda request: (request.at, request.name)):
        if request.what == "silence":
            silences = _silenced(request, silences)
        elif request.what == "expire":
            expired = _expired(request, silences, now)
            if expired is None:
                rejected.append(f"{request.subject}: there is no such silence that has not ended")
            silences = expired or silences
        elif (incident := incidents.numbered(_number(request.subject))) is None:
            rejected.append(f"{request.subject}: there is no such open incident")
        elif request.what == "acknowledge":
            incidents = _acknowledged(request, incidents, incident, now)
        elif request.what == "close":
            incidents, resolved = _closed(request, incidents, incident, now)
            closed.append(resolved)
    return Applied(incidents=incidents, silences=silences, closed=tuple(closed), rejected=tuple(rejected))


def _silenced(request: Request, silences: Silences) -> Silences:
    wanted = request.silence
    if wanted is None or any(silence.request == request.name for silence in silences.known):
        return silences
    new = wanted.model_copy(
        update={
            "id": f"S-{silences.next_number}",
            "request": request.name,
            "author": request.by,
            "reason": request.note,
        }
    )
    return Silences(known=(*silences.known, new), next_number=silences.next_number + 1)


def _expired(request: Request, silences: Silences, now: datetime) -> Silences | None:
    if not any(silence.id == request.subject and silence.ends_at > now for silence in silences.known):
        return None
    known = tuple(
        silence.model_copy(update={"ends_at": max(now, silence.starts_at)})
        if silence.id == request.subject
        else silence
        for silence in silences.known
    )
    return silences.model_copy(update={"known": known})


def _acknowledged(request: Request, incidents: Incidents, incident: Incident, now: datetime) -> Incidents:
    mark = Acknowledgement(by=request.by, at=request.at, note=request.note)
    if incident.acknowledged == mark:
        return incidents
    step = Step(to="updated", at=now, reason="acknowledged", by=request.by, note=request.note)
    acknowledged = incident.moved(step, acknowledged=mark)
    return incidents.model_copy(update={"open": {**incidents.open, incident.finding.fingerprint: acknowledged}})


def _closed(request: Request, incidents: Incidents, incident: Incident, now: datetime) -> tuple[Incidents, Incident]:
    """The remaining incidents, and the closed one; it stays closed until its finding shows something new."""
    finding = incident.finding
    step = Step(to="resolved", at=now, reason="closed", by=request.by, note=request.note)
    mark = Closed(
        at=now,
        severity=finding.severity,
        newest_run=finding.newest_run,
        number=incident.number,
        by=request.by,
        since=finding.since,
    )
    left = {key: other for key, other in incidents.open.items() if key != finding.fingerprint}
    marks = {**incidents.closed_by_hand, finding.fingerprint: mark}
    remaining = incidents.model_copy(update={"open": left, "closed_by_hand": marks})
    return remaining, incident.moved(step, resolved_at=now, resolution="closed")


def _number(incident: str) -> int:
    """The number in ``W-12``; 0, which no firing incident has, for anything else."""
    digits = incident.upper().removeprefix("W-")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else 0
