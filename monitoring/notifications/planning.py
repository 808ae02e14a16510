"""Plans notifications: when an incident fires, when it is resolved, and reminders in between.

It compares the state after the check with the notifications so far, whatever led to either. So nothing is lost if a
check dies between saving the incidents and saving the notifications: the next check sees the same difference.

Each stage adds to the draft of the outbox: the summary of preexisting incidents, changes of earlier notifications,
new incidents that are not suppressed, reminders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import chain

from monitoring.config.alert_settings import DEFAULT_ROUTE
from monitoring.model.incident import Incident
from monitoring.model.outbox import MAX_SHOWN, About, Member, Notification, Outbox, SuppressionReason
from monitoring.notifications.changes import Change, find_change
from monitoring.notifications.content import has_details, hash_content
from monitoring.notifications.draft import Draft
from monitoring.notifications.grouping import (
    RECOVERED,
    Group,
    group_incidents,
    is_by_cause,
    joinable,
    recently_changed,
)
from monitoring.notifications.routing import has_receiver, is_editable
from monitoring.notifications.situation import Situation
from monitoring.notifications.suppression import silenced, suppression_of_new, suppression_of_repeat

#: A resolved incident is kept a little longer than it may reopen.
_MARGIN = timedelta(hours=1)
_LOST = (
    "The saved incidents or notifications were deleted or cannot be read: you may have been notified of these before"
)


def plan_notifications(outbox: Outbox, situation: Situation) -> Outbox:
    """Queue the notifications that are due.

    People are notified of a firing incident unless it is suppressed. If it still fires and is found when the
    suppression ends, they are notified then. They are notified of its resolution if and only if they were notified of
    the incident.
    """
    if not situation.config.alerts.enabled or situation.incidents.baselined_at is None:
        return outbox
    draft = Draft(outbox, situation)
    if not outbox.summarised:
        _summarize(draft)
    risen = _follow(draft)
    new = _find_unnotified(draft, risen)
    reasons = {incident.number: suppression_of_new(incident, situation) for incident in new}
    earlier = joinable(draft.notifications.values(), situation)
    _notify(draft, "risen", risen, {})
    _notify(draft, "opened", [incident for incident in new if reasons[incident.number] is None], earlier)
    _repeat(draft)
    return outbox.model_copy(
        update={
            "queue": tuple(draft.queue.values()),
            "next_delivery": draft.next_delivery,
            "notifications": tuple(_keep(draft)),
            "next_notification": draft.next_notification,
            "suppressed": {
                number: reason
                for number, reason in reasons.items()
                # The status of an incident already shows that it is preexisting.
                if reason is not None and reason.reason is not SuppressionReason.PREEXISTING
            },
            # If a receiver is configured later, it gets the summary of what is left then.
            "summarised": outbox.summarised or has_receiver(DEFAULT_ROUTE, situation.config),
        }
    )


def _summarize(draft: Draft) -> None:
    """Summarize the preexisting incidents; without such incidents no summary is sent.

    All are listed, also symptoms and what is silenced: no other notification of them will follow.
    """
    situation = draft.situation
    preexisting = [incident for incident in situation.firing.values() if incident.preexisting]
    if preexisting and has_receiver(DEFAULT_ROUTE, situation.config):
        muted = [incident.id for incident in preexisting if silenced(incident, situation)]
        more = f" and {len(muted) - MAX_SHOWN:,} more" if len(muted) > MAX_SHOWN else ""
        notes = [f"Silenced: {', '.join(muted[:MAX_SHOWN])}{more}"] if muted else []
        draft.add("post", draft.content("preexisting", preexisting, notes))


def _follow(draft: Draft) -> list[Incident]:
    """Notify people of changes to earlier notifications; return the incidents that became critical."""
    risen: list[Incident] = []
    for notification in tuple(draft.notifications.values()):
        changes = [find_change(member, draft.situation) for member in notification.members]
        risen += _incidents(changes, "risen")
        _notify_changes(draft, notification, changes)
    return risen


def _notify_changes(draft: Draft, notification: Notification, changes: Sequence[Change]) -> None:
    notification = notification.model_copy(update={"members": tuple(change.member for change in changes)})
    resolved, reopened, unsilenced = (_incidents(changes, about) for about in ("resolved", "reopened", "repeated"))
    if resolved:
        _add(draft, notification, "resolved", resolved, broadcast=not notification.open)
    if reopened:
        _add(draft, notification, "reopened", reopened, broadcast=True)
    if unsilenced:
        notes = [change.note for change in changes if change.note][:MAX_SHOWN]
        _add(draft, notification, "repeated", unsilenced, broadcast=True, notes=notes)
    at_once = bool(resolved or reopened or _incidents(changes, "risen"))
    _edit(draft, notification, at_once=at_once)


def _find_unnotified(draft: Draft, risen: Iterable[Incident]) -> list[Incident]:
    """The firing incidents that no notification covers."""
    members = chain.from_iterable(notification.members for notification in draft.notifications.values())
    notified = {member.number for member in members if not member.moved} | {incident.number for incident in risen}
    return [incident for number, incident in draft.situation.firing.items() if number not in notified]


def _notify(draft: Draft, about: About, incidents: Iterable[Incident], earlier: Mapping[Group, Notification]) -> None:
    """Let each group of incidents join its earlier notification; open a new notification for the rest."""
    for group, members in group_incidents(incidents, draft.situation).items():
        notification = earlier.get(group)
        rest = members
        if notification is not None:
            # Editing a message calls nobody, so critical incidents do not join warnings.
            calls = any(member.severity == "critical" for member in notification.members)
            fit = [incident for incident in members if calls or incident.finding.severity != "critical"]
            rest = [] if calls else [incident for incident in members if incident.finding.severity == "critical"]
            if fit and not recently_changed(notification, draft.situation):
                _join(draft, notification, fit)
        if rest:
            _open(draft, about, group, rest)


def _open(draft: Draft, about: About, group: Group, incidents: Sequence[Incident]) -> None:
    notes = [_LOST] if group.key == RECOVERED else []
    now, content = draft.situation.now, draft.content(about, incidents, notes)
    notification = Notification(
        number=draft.next_notification,
        route=group.route,
        group=group.key,
        members=_members(incidents),
        posted_at=now,
        changed_at=now,
        says=hash_content(content),
    )
    draft.put(notification)
    draft.add("post", content, notification)
    if is_editable(group.route, draft.situation.config) and has_details(content):
        draft.add("reply", draft.content("details", incidents), notification)


def _join(draft: Draft, notification: Notification, incidents: Sequence[Incident]) -> None:
    members = (*notification.members, *_members(incidents))
    notification = notification.model_copy(update={"members": members})
    # A message that still waits will include them.
    if not is_editable(notification.route, draft.situation.config) or draft.unsent_post(notification) is None:
        _add(draft, notification, "joined", incidents, broadcast=not is_by_cause(notification.group))
    _edit(draft, notification, at_once=True)


def _repeat(draft: Draft) -> None:
    """Remind people of incidents that still fire."""
    situation = draft.situation
    after, now = situation.config.alerts.repeat_after, situation.now
    for notification in tuple(draft.notifications.values()):
        if after is None or now - notification.posted_at < after:
            continue
        members = (situation.firing.get(member.number) for member in notification.members if not member.moved)
        due = [incident for incident in members if incident and _needs_reminder(incident, situation)]
        if due:
            notification = notification.model_copy(update={"posted_at": now, "changed_at": now})
            draft.put(notification)
            # A post that still waits already has everything that a reminder would have.
            if not any(message.kind == "post" for message in draft.waiting(notification)):
                draft.add("post", draft.content("repeated", due), notification)


def _needs_reminder(incident: Incident, situation: Situation) -> bool:
    after = situation.config.alerts.repeat_after
    # People were notified when it was reopened.
    reopened_at = incident.fired_at if incident.reopened else None
    lately = after is not None and reopened_at is not None and situation.now - reopened_at < after
    return not lately and suppression_of_repeat(incident, situation) is None


def _keep(draft: Draft) -> Iterator[Notification]:
    """The notifications that may still change."""
    situation = draft.situation
    margin = situation.config.alerts.reopen_within + _MARGIN
    for notification in draft.notifications.values():
        # An incident that moved to a newer notification is marked as resolved in both notifications.
        fires = notification.open or any(member.number in situation.firing for member in notification.members)
        # Waiting messages need their notification.
        if draft.waiting(notification) or fires or situation.now - notification.changed_at < margin:
            yield notification


def _edit(draft: Draft, notification: Notification, *, at_once: bool) -> None:
    """Update the message of a notification, if its content has changed and the group interval has passed."""
    situation = draft.situation
    incidents = [situation.known[m.number] for m in notification.members if m.number in situation.known]
    # If no incident is known any more, there is nothing to update.
    if incidents and (at_once or not recently_changed(notification, situation)):
        content = draft.content("opened", incidents)
        content_hash = hash_content(content)
        if content_hash != notification.says:
            if is_editable(notification.route, situation.config):
                draft.queue_update(content, notification)
            notification = notification.model_copy(update={"says": content_hash, "changed_at": situation.now})
    draft.put(notification)


def _add(
    draft: Draft,
    notification: Notification,
    about: About,
    incidents: Sequence[Incident],
    *,
    broadcast: bool,
    notes: Sequence[str] = (),
) -> None:
    """Add to a notification: in its thread, or in a separate message if the receiver has no threads."""
    content = draft.content(about, incidents, notes)
    if is_editable(notification.route, draft.situation.config):
        draft.add("reply", content, notification, broadcast=broadcast)
    else:
        draft.add("post", content, notification)


def _incidents(changes: Iterable[Change], about: About) -> list[Incident]:
    return [change.incident for change in changes if change.about == about and change.incident]


def _members(incidents: Iterable[Incident]) -> tuple[Member, ...]:
    return tuple(Member(number=incident.number, severity=incident.finding.severity) for incident in incidents)
