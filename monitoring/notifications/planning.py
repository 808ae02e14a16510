"""Plans notifications: when an incident fires, when it is resolved, and reminders in between.

It compares the state after the check with the notifications so far, whatever led to either. So nothing is lost if a
check dies between saving the incidents and saving the notifications: the next check sees the same difference.

Each stage takes an outbox and returns the changed outbox: the summary of preexisting incidents, changes of earlier
notifications, new incidents that are not suppressed, reminders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import chain

from monitoring.config.alert_settings import DEFAULT_ROUTE
from monitoring.model.incident import Incident
from monitoring.model.outbox import MAX_SHOWN, About, Member, Notification, Outbox, SuppressionReason
from monitoring.notifications.changes import Change, find_change
from monitoring.notifications.content import build_content, has_details, hash_content
from monitoring.notifications.grouping import find_joinable, group_incidents, is_by_cause, recently_changed
from monitoring.notifications.outbox import queue_delivery, queue_update, unsent_post, with_notification
from monitoring.notifications.routing import has_receiver, is_editable
from monitoring.notifications.situation import Situation
from monitoring.notifications.suppression import suppression_of_new, suppression_of_repeat

#: A resolved incident is kept a little longer than it may reopen.
_MARGIN = timedelta(hours=1)


def plan_notifications(outbox: Outbox, situation: Situation) -> Outbox:
    """Queue the notifications that are due.

    People are notified of a firing incident unless it is suppressed. If it still fires and is found when the
    suppression ends, they are notified then. They are notified of its resolution if and only if they were notified of
    the incident.

    Args:
        outbox: The notifications so far, and the messages that still wait.
        situation: The state after the check.
    """
    if not situation.config.alerts.enabled or situation.incidents.baselined_at is None:
        return outbox
    outbox = _summarize(outbox, situation)
    outbox, risen = _follow(outbox, situation)
    new = _find_unnotified(outbox, risen, situation)
    reasons = {incident.number: suppression_of_new(incident, situation) for incident in new}
    earlier = outbox.notifications
    outbox = _open_groups(outbox, "risen", risen, situation)
    outbox = _join_or_open(
        outbox, [incident for incident in new if reasons[incident.number] is None], earlier, situation
    )
    outbox = _repeat(outbox, situation)
    suppressed = {
        number: reason
        for number, reason in reasons.items()
        # The status of an incident already shows that it is preexisting.
        if reason is not None and reason.reason is not SuppressionReason.PREEXISTING
    }
    return outbox.model_copy(
        update={
            "notifications": tuple(_keep(outbox, situation)),
            "suppressed": suppressed,
            # If a receiver is configured later, it gets the summary of what is left then.
            "summarised": outbox.summarised or has_receiver(DEFAULT_ROUTE, situation.config),
        }
    )


def _summarize(outbox: Outbox, situation: Situation) -> Outbox:
    """Summarize the preexisting incidents once; without such incidents no summary is sent."""
    preexisting = [incident for incident in situation.firing.values() if incident.preexisting]
    if outbox.summarised or not preexisting or not has_receiver(DEFAULT_ROUTE, situation.config):
        return outbox
    content = build_content("preexisting", preexisting, situation, outbox.suppressed)
    return queue_delivery(outbox, "post", content, route=DEFAULT_ROUTE)


def _follow(outbox: Outbox, situation: Situation) -> tuple[Outbox, list[Incident]]:
    """Notify people of changes to earlier notifications; return also the incidents that became critical."""
    risen: list[Incident] = []
    for notification in outbox.notifications:
        changes = [find_change(member, situation) for member in notification.members]
        risen += _incidents(changes, "risen")
        outbox = _notify_changes(outbox, notification, changes, situation)
    return outbox, risen


def _notify_changes(
    outbox: Outbox, notification: Notification, changes: Sequence[Change], situation: Situation
) -> Outbox:
    notification = notification.model_copy(update={"members": tuple(change.member for change in changes)})
    resolved, reopened, unsilenced = (_incidents(changes, about) for about in ("resolved", "reopened", "repeated"))
    if resolved:
        outbox = _add(outbox, notification, "resolved", resolved, situation, broadcast=not notification.open)
    if reopened:
        outbox = _add(outbox, notification, "reopened", reopened, situation, broadcast=True)
    if unsilenced:
        notes = [change.note for change in changes if change.note][:MAX_SHOWN]
        outbox = _add(outbox, notification, "repeated", unsilenced, situation, broadcast=True, notes=notes)
    at_once = bool(resolved or reopened or _incidents(changes, "risen"))
    return _edit(outbox, notification, situation, at_once=at_once)


def _find_unnotified(outbox: Outbox, risen: Iterable[Incident], situation: Situation) -> list[Incident]:
    """The firing incidents that no notification covers."""
    members = chain.from_iterable(notification.members for notification in outbox.notifications)
    notified = {member.number for member in members if not member.moved} | {incident.number for incident in risen}
    return [incident for number, incident in situation.firing.items() if number not in notified]


def _open_groups(outbox: Outbox, about: About, incidents: Iterable[Incident], situation: Situation) -> Outbox:
    """Open a notification for each group of incidents."""
    for (route, group), members in group_incidents(incidents, situation.config).items():
        outbox = _open(outbox, about, route, group, members, situation)
    return outbox


def _join_or_open(
    outbox: Outbox, incidents: Iterable[Incident], earlier: Sequence[Notification], situation: Situation
) -> Outbox:
    """Let each group of incidents join an earlier notification; open a new notification for the rest."""
    for (route, group), members in group_incidents(incidents, situation.config).items():
        notification = find_joinable(earlier, route, group, situation)
        rest = members
        if notification is not None:
            # Editing a message calls nobody, so critical incidents do not join warnings.
            calls = any(member.severity == "critical" for member in notification.members)
            fit = [incident for incident in members if calls or incident.finding.severity != "critical"]
            rest = [incident for incident in members if incident not in fit]
            if fit and not recently_changed(notification, situation):
                outbox = _join(outbox, notification, fit, situation)
        if rest:
            outbox = _open(outbox, "opened", route, group, rest, situation)
    return outbox


def _open(
    outbox: Outbox, about: About, route: str, group: str, incidents: Sequence[Incident], situation: Situation
) -> Outbox:
    content = build_content(about, incidents, situation, outbox.suppressed)
    notification = Notification(
        number=outbox.next_notification,
        route=route,
        group=group,
        members=_members(incidents),
        posted_at=situation.now,
        changed_at=situation.now,
        says=hash_content(build_content("opened", incidents, situation, outbox.suppressed)),
    )
    outbox = with_notification(outbox, notification)
    outbox = queue_delivery(outbox, "post", content, notification)
    if is_editable(route, situation.config) and has_details(content):
        details = build_content("details", incidents, situation, outbox.suppressed)
        outbox = queue_delivery(outbox, "reply", details, notification)
    return outbox


def _join(outbox: Outbox, notification: Notification, incidents: Sequence[Incident], situation: Situation) -> Outbox:
    members = (*notification.members, *_members(incidents))
    notification = notification.model_copy(update={"members": members})
    # A message that still waits will include them.
    if not is_editable(notification.route, situation.config) or unsent_post(outbox, notification) is None:
        broadcast = not is_by_cause(notification.group)
        outbox = _add(outbox, notification, "joined", incidents, situation, broadcast=broadcast)
    return _edit(outbox, notification, situation, at_once=True)


def _repeat(outbox: Outbox, situation: Situation) -> Outbox:
    """Remind people of incidents that still fire."""
    after = situation.config.alerts.repeat_after
    for notification in outbox.notifications:
        if after is None or situation.now - notification.posted_at < after:
            continue
        members = (situation.firing.get(member.number) for member in notification.members if not member.moved)
        due = [incident for incident in members if incident and _needs_reminder(incident, situation)]
        if due:
            notification = notification.model_copy(update={"posted_at": situation.now, "changed_at": situation.now})
            outbox = with_notification(outbox, notification)
            # A post that still waits already has everything that a reminder would have.
            if not any(queued.notification == notification.number and queued.kind == "post" for queued in outbox.queue):
                content = build_content("repeated", due, situation, outbox.suppressed)
                outbox = queue_delivery(outbox, "post", content, notification)
    return outbox


def _needs_reminder(incident: Incident, situation: Situation) -> bool:
    after = situation.config.alerts.repeat_after
    # People were notified when it was reopened.
    reopened_at = incident.fired_at if incident.reopened else None
    lately = after is not None and reopened_at is not None and situation.now - reopened_at < after
    return not lately and suppression_of_repeat(incident, situation) is None


def _keep(outbox: Outbox, situation: Situation) -> Iterator[Notification]:
    """The notifications that may still change."""
    margin = situation.config.alerts.reopen_within + _MARGIN
    # Waiting messages need their notification.
    waiting = {delivery.notification for delivery in outbox.queue}
    for notification in outbox.notifications:
        # An incident that moved to a newer notification is marked as resolved in both notifications.
        fires = notification.open or any(member.number in situation.firing for member in notification.members)
        if notification.number in waiting or fires or situation.now - notification.changed_at < margin:
            yield notification


def _edit(outbox: Outbox, notification: Notification, situation: Situation, *, at_once: bool) -> Outbox:
    """Update the message of a notification, if its content has changed and the group interval has passed."""
    incidents = [situation.known[m.number] for m in notification.members if m.number in situation.known]
    # If no incident is known any more, there is nothing to update.
    if incidents and (at_once or not recently_changed(notification, situation)):
        content = build_content("opened", incidents, situation, outbox.suppressed)
        content_hash = hash_content(content)
        if content_hash != notification.says:
            if is_editable(notification.route, situation.config):
                outbox = queue_update(outbox, content, notification)
            notification = notification.model_copy(update={"says": content_hash, "changed_at": situation.now})
    return with_notification(outbox, notification)


def _add(
    outbox: Outbox,
    notification: Notification,
    about: About,
    incidents: Sequence[Incident],
    situation: Situation,
    *,
    broadcast: bool,
    notes: Sequence[str] = (),
) -> Outbox:
    """Add to a notification: in its thread, or in a separate message if the receiver has no threads."""
    content = build_content(about, incidents, situation, outbox.suppressed, notes)
    if is_editable(notification.route, situation.config):
        return queue_delivery(outbox, "reply", content, notification, broadcast=broadcast)
    return queue_delivery(outbox, "post", content, notification)


def _incidents(changes: Iterable[Change], about: About) -> list[Incident]:
    return [change.incident for change in changes if change.about == about and change.incident]


def _members(incidents: Iterable[Incident]) -> tuple[Member, ...]:
    return tuple(Member(number=incident.number, severity=incident.finding.severity) for incident in incidents)
