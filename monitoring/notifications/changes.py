"""Finds what has changed about the incidents of a notification since people were notified."""

from __future__ import annotations

from typing import NamedTuple

from monitoring.model.finding import rank
from monitoring.model.incident import Incident
from monitoring.model.outbox import About, Member, SuppressionReason
from monitoring.notifications.routing import has_receiver, route_of
from monitoring.notifications.situation import Situation
from monitoring.notifications.suppression import silenced, suppression_of_repeat, suppression_of_rise


class Change(NamedTuple):
    """A member of a notification as it is now, and the notification that its change requires."""

    member: Member
    #: None if no notification is due.
    about: About | None = None
    incident: Incident | None = None
    #: A sentence that explains the notification, or empty.
    note: str = ""


def find_change(member: Member, situation: Situation) -> Change:
    """Compare an incident with what people were notified of."""
    incident = situation.known.get(member.number)
    if member.moved:
        return Change(member)
    if incident is None or incident.resolved_at is not None:
        news = incident is not None and not member.resolved
        return Change(member.model_copy(update={"resolved": True}), "resolved" if news else None, incident)
    if rank(incident.finding.severity) > rank(member.severity) and _may_rise(incident, situation):
        return Change(member.model_copy(update={"moved": True}), "risen", incident)
    if member.resolved:
        return Change(_firing(member, incident, situation), "reopened", incident)
    return _unsilenced(member, incident, situation) or Change(_firing(member, incident, situation))


def _unsilenced(member: Member, incident: Incident, situation: Situation) -> Change | None:
    """The change if a silence has ended and the incident still fires."""
    if not member.silenced or silenced(incident, situation):
        return None
    suppression = suppression_of_repeat(incident, situation)
    firing = _firing(member, incident, situation)
    if suppression is None:
        note = f"{incident.id} still fires and is no longer silenced by {member.silenced}"
        return Change(firing, "repeated", incident, note)
    if suppression.reason is SuppressionReason.QUIET_HOURS:
        # People are notified when the quiet hours end.
        return Change(firing.model_copy(update={"silenced": member.silenced}))
    return None


def _firing(member: Member, incident: Incident, situation: Situation) -> Member:
    suppression = silenced(incident, situation)
    changes: dict[str, object] = {"resolved": False, "silenced": suppression.text if suppression else ""}
    return member.model_copy(update={**changes, **_severity(member, incident, situation)})


def _severity(member: Member, incident: Incident, situation: Situation) -> dict[str, object]:
    """The severity that people know: if it was milder for long, becoming worse again is news."""
    now, severity = situation.now, incident.finding.severity
    if rank(member.severity) <= rank(severity):
        return {"milder_since": None}
    since = member.milder_since or now
    if now - since < situation.config.alerts.reopen_within:
        return {"milder_since": since}
    return {"severity": severity, "milder_since": None}


def _may_rise(incident: Incident, situation: Situation) -> bool:
    """Whether people are notified now that the incident became critical; until then it stays in its notification."""
    route = route_of(incident, situation.config)
    return has_receiver(route, situation.config) and suppression_of_rise(incident, situation) is None
