"""Decides which incidents share a notification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from monitoring.model.incident import Incident
from monitoring.model.outbox import Notification
from monitoring.notifications.routing import has_receiver, route_of
from monitoring.notifications.situation import Situation

#: How long incidents may join a group by check if reminders are off; after that a new notification is better.
_MAX_JOIN_AGE = timedelta(hours=24)
_CAUSE = "cause "
#: The key of what was open when the saved state was lost.
RECOVERED = "open when the saved state was lost"


class Group(NamedTuple):
    """Incidents that share notifications."""

    route: str
    #: What the incidents have in common.
    key: str


def group_incidents(incidents: Iterable[Incident], situation: Situation) -> Mapping[Group, Sequence[Incident]]:
    """Group incidents by route and by what they have in common; incidents without a receiver are left out."""
    groups: dict[Group, list[Incident]] = {}
    for incident in incidents:
        route = route_of(incident, situation.config)
        if has_receiver(route, situation.config):
            groups.setdefault(Group(route, _key(incident, situation.incidents.lost_at)), []).append(incident)
    return groups


def joinable(notifications: Iterable[Notification], situation: Situation) -> Mapping[Group, Notification]:
    """The newest notification of each group that incidents can still join."""
    return {
        Group(notification.route, notification.group): notification
        for notification in notifications
        if notification.open and (is_by_cause(notification.group) or _is_young(notification, situation))
    }


def is_by_cause(group: str) -> bool:
    """Whether the incidents of a group share a cause, and not only a check."""
    return group.startswith(_CAUSE)


def recently_changed(notification: Notification, situation: Situation) -> bool:
    """Whether the next change of a message has to wait for the group interval.

    New incidents join a message that changes now anyway: otherwise they could wait forever.
    """
    return timedelta(0) < situation.now - notification.changed_at < situation.config.alerts.group_interval


def _key(incident: Incident, lost_at: datetime | None) -> str:
    if lost_at is not None and incident.opened_at <= lost_at:
        return RECOVERED
    cause = incident.finding.cause
    return _CAUSE + " ".join(cause.what) if cause else f"check {incident.finding.check}"


def _is_young(notification: Notification, situation: Situation) -> bool:
    return situation.now - notification.posted_at < (situation.config.alerts.repeat_after or _MAX_JOIN_AGE)
