"""How incidents and silences are called, the same in every rendering. Nothing here escapes: it is plain text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from monitoring.incidents.timing import to_detect, to_resolve, usual
from monitoring.messages.words import NOTHING, timestamp
from monitoring.model.finding import Finding
from monitoring.model.incident import Incident
from monitoring.model.report import HealthReport
from monitoring.model.request import Request
from monitoring.model.silence import Silence
from monitoring.text.durations import humanized

_DOING = {"acknowledge": "acknowledges", "close": "closes", "expire": "ends"}


def incident_of(finding: Finding, report: HealthReport) -> str:
    """The id of the incident that a finding is, with a space after it; empty where none is known."""
    found = report.incidents.get(finding.fingerprint)
    return f"{found} " if found else ""


def standing(incident: Incident, silence: Silence | None) -> str:
    """Say how an incident stands: ``firing, acknowledged by ana``.

    Args:
        incident: Open or closed.
        silence: What it falls under now, if anything.
    """
    if incident.resolved_at:
        return f"resolved {timestamp(incident.resolved_at)} ({incident.resolution})"
    parts = ["firing" if incident.firing else "pending"]
    parts += ["preexisting"] if incident.preexisting else []
    parts += [f"acknowledged by {incident.acknowledged.by}"] if incident.acknowledged else []
    parts += [f"silenced by {silence_name(silence)} until {timestamp(silence.ends_at)}"] if silence else []
    parts += [f"not seen since {timestamp(incident.unseen_since)}"] if incident.unseen_since else []
    return ", ".join(parts)


def silence_name(silence: Silence) -> str:
    """What people call a silence: its id, or ``maintenance`` for a window."""
    return silence.id or "maintenance"


def matched(silence: Silence) -> str:
    """What a silence is for: ``deployment etl/*, check late``."""
    return ", ".join(f"{name} {value}" for name, value in silence.conditions.items())


def when(silence: Silence, now: datetime) -> str:
    """Say whether a silence holds."""
    if silence.starts_at > now:
        return "waiting"
    return "active" if silence.active(now) else "ended"


def lasted(span: timedelta | None) -> str:
    """Write how long something took; a dash where that is not known."""
    return NOTHING if span is None else humanized(span)


def statistics(resolved: Sequence[Incident]) -> str:
    """Say how long incidents usually took to be noticed and to be over; empty where that is not known."""
    detect, resolve = usual(map(to_detect, resolved)), usual(map(to_resolve, resolved))
    parts = [f"{lasted(detect)} to detect"] if detect is not None else []
    parts += [f"{lasted(resolve)} to resolve"] if resolve is not None else []
    return f"Median time: {', '.join(parts)}." if parts else ""


def asked(request: Request) -> str:
    """Say what an action request is for."""
    if request.silence is not None:
        what = f"silences {matched(request.silence)} {period(request.silence)}"
    else:
        what = f"{_DOING[request.what]} {request.subject}"
    return f"{request.by} {what}" + (f": {request.note}" if request.note else "")


def period(silence: Silence) -> str:
    """Say from when to when a silence holds."""
    return f"from {timestamp(silence.starts_at)} until {timestamp(silence.ends_at)}"
