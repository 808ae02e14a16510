"""Why no notification is sent for a firing incident."""

from __future__ import annotations

from monitoring.model.incident import Incident
from monitoring.model.outbox import Suppression, SuppressionReason
from monitoring.notifications.routing import quiet, silence_of
from monitoring.notifications.situation import Situation


def suppression_of_new(incident: Incident, situation: Situation) -> Suppression | None:
    """Why no notification is sent for a new firing incident; None if a notification is due."""
    return _preexisting(incident, situation) or suppression_of_rise(incident, situation)


def suppression_of_rise(incident: Incident, situation: Situation) -> Suppression | None:
    """Why no notification is sent for an incident that became critical; None if a notification is due."""
    return (
        _inhibited(incident, situation)
        or _uninhibited(incident, situation)
        or _muted(incident, situation)
        or _unseen(incident)
    )


def suppression_of_repeat(incident: Incident, situation: Situation) -> Suppression | None:
    """Why no reminder is sent for an incident; None if a reminder is due."""
    return (
        _unseen(incident) or _acknowledged(incident) or _inhibited(incident, situation) or _muted(incident, situation)
    )


def silenced(incident: Incident, situation: Situation) -> Suppression | None:
    """The silence or maintenance window that suppresses an incident; None if there is none."""
    silence = silence_of(incident, situation.silences, situation.now)
    if silence is None:
        return None
    reason = SuppressionReason.SILENCED if silence.id else SuppressionReason.MAINTENANCE
    return Suppression(reason=reason, by=silence.id, note=silence.reason, until=silence.ends_at)


def _preexisting(incident: Incident, situation: Situation) -> Suppression | None:
    """Suppressed if the first check found the incident and it has not become worse since."""
    baselined_at = situation.incidents.baselined_at
    worse = any(
        step.reason == "worse" and baselined_at is not None and step.at > baselined_at for step in incident.history
    )
    return Suppression(reason=SuppressionReason.PREEXISTING) if incident.preexisting and not worse else None


def _inhibited(incident: Incident, situation: Situation) -> Suppression | None:
    cause = incident.finding.symptom_of
    if cause is None:
        return None
    if cause in situation.ids and not _inhibits_itself(incident, situation):
        return Suppression(reason=SuppressionReason.INHIBITED, by=situation.ids[cause])
    if cause in situation.incidents.closed_by_hand:
        return Suppression(reason=SuppressionReason.CAUSE_CLOSED)
    return None


def _inhibits_itself(incident: Incident, situation: Situation) -> bool:
    """Whether the chain of causes leads back to the incident, for example if deployments start each other."""
    incidents, own = situation.incidents.open, incident.finding.fingerprint
    passed: set[str] = set()
    cause = incident.finding.symptom_of
    while cause and cause in incidents and cause not in passed and cause != own:
        passed.add(cause)
        cause = incidents[cause].finding.symptom_of
    return cause == own


def _uninhibited(incident: Incident, situation: Situation) -> Suppression | None:
    """Suppressed after its cause is resolved: by the next complete check it may be resolved as well."""
    uninhibited_at, now = incident.uninhibited_at, situation.now
    # Any other check than the one that uninhibited it, even if the clock was set back.
    if uninhibited_at is None or (situation.complete and now != uninhibited_at):
        return None
    waited = now - uninhibited_at >= situation.config.watchdog.incomplete_for
    return None if waited else Suppression(reason=SuppressionReason.UNINHIBITED)


def _muted(incident: Incident, situation: Situation) -> Suppression | None:
    if suppression := silenced(incident, situation):
        return suppression
    if incident.finding.severity == "warning" and quiet(situation.config.alerts.quiet_hours, situation.now):
        return Suppression(reason=SuppressionReason.QUIET_HOURS)
    return None


def _unseen(incident: Incident) -> Suppression | None:
    """Suppressed while it is open but not found: it may be resolved, and is notified when it is found again."""
    return None if incident.unseen_since is None else Suppression(reason=SuppressionReason.UNSEEN)


def _acknowledged(incident: Incident) -> Suppression | None:
    return Suppression(reason=SuppressionReason.ACKNOWLEDGED) if incident.acknowledged else None
