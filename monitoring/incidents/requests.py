"""What people asked for at the command line, done: silences, acknowledgements, closings."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from monitoring.incidents.lifecycle import close_by_hand
from monitoring.model.base import Value
from monitoring.model.incident import Acknowledgement, Incident, Incidents, Step
from monitoring.model.request import Request, Silences

#: A silence is listed for so long after it has ended.
KEEP_ENDED = timedelta(days=7)


class Done(Value):
    """What is remembered once requests are done; ``undone`` says of which nothing came, and why, for people."""

    incidents: Incidents
    silences: Silences
    closed: tuple[Incident, ...] = ()
    undone: tuple[str, ...] = ()


def done(requests: Iterable[Request], incidents: Incidents, silences: Silences, now: datetime) -> Done:
    """Do what was asked, oldest first. Asked twice, as after a crash, it is done once.

    Args:
        requests: What was asked since the last check.
        incidents: What is open.
        silences: What is silenced.
        now: The time of the check.
    """
    kept = tuple(one for one in silences.known if now - one.ends_at < KEEP_ENDED)
    silences = silences.model_copy(update={"known": kept})
    closed: list[Incident] = []
    undone: list[str] = []
    for request in sorted(requests, key=lambda request: (request.at, request.name)):
        if request.what == "silence":
            silences = _silenced(request, silences)
        elif request.what == "expire":
            expired = _expired(request, silences, now)
            if expired is None:
                undone.append(f"{request.subject}: there is no such silence that has not ended")
            silences = expired or silences
        elif request.what == "acknowledge":
            acknowledged = _acknowledged(request, incidents, now)
            if acknowledged is None:
                undone.append(f"{request.subject}: there is no such open incident")
            incidents = acknowledged or incidents
        else:
            incidents, over = close_by_hand(incidents, _number(request.subject), now, request.by, request.note)
            if over is None:
                undone.append(f"{request.subject}: there is no such open incident")
            else:
                closed.append(over)
    return Done(incidents=incidents, silences=silences, closed=tuple(closed), undone=tuple(undone))


def _silenced(request: Request, silences: Silences) -> Silences:
    asked = request.silence
    if asked is None or any(one.request == request.name for one in silences.known):
        return silences
    new = asked.model_copy(
        update={
            "id": f"S-{silences.next_number}",
            "request": request.name,
            "author": request.by,
            "reason": request.note,
        }
    )
    return Silences(known=(*silences.known, new), next_number=silences.next_number + 1)


def _expired(request: Request, silences: Silences, now: datetime) -> Silences | None:
    if not any(one.id == request.subject and one.ends_at > now for one in silences.known):
        return None
    known = tuple(
        one.model_copy(update={"ends_at": max(now, one.starts_at)}) if one.id == request.subject else one
        for one in silences.known
    )
    return silences.model_copy(update={"known": known})


def _acknowledged(request: Request, incidents: Incidents, now: datetime) -> Incidents | None:
    number = _number(request.subject)
    for fingerprint, incident in incidents.open.items():
        if number and incident.number == number:
            mark = Acknowledgement(by=request.by, at=request.at, note=request.note)
            if incident.acknowledged == mark:
                return incidents
            step = Step(to="updated", at=now, reason="acknowledged", by=request.by, note=request.note)
            opened = {**incidents.open, fingerprint: incident.moved(step, acknowledged=mark)}
            return incidents.model_copy(update={"open": opened})
    return None


def _number(incident: str) -> int:
    """The number in ``W-12``; 0, which no incident that fires has, for anything else."""
    digits = incident.upper().removeprefix("W-")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else 0
