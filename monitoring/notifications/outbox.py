"""Changes of the outbox: what is queued, and what became of what was sent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from monitoring.config.alert_settings import DIGEST_ROUTE, FALLBACK_ROUTE
from monitoring.config.settings import Config
from monitoring.model.outbox import Content, Delivery, DigestContent, MessageRef, Notification, Outbox, Tally, Trouble

#: The first wait before another attempt; each further one is twice as long, up to the maximum.
FIRST_WAIT = timedelta(minutes=1)
MAX_WAIT = timedelta(hours=1)
#: A digest that could not be sent for so long is not sent: the next one is due.
MAX_DIGEST_AGE = timedelta(hours=24)
#: A receiver may ask for a longer wait, up to this.
_MAX_RETRY_AFTER = timedelta(days=1)


def with_notification(outbox: Outbox, notification: Notification) -> Outbox:
    """Add a notification, or put it in the place of the one with its number."""
    if notification.number == outbox.next_notification:
        notifications = (*outbox.notifications, notification)
        return outbox.model_copy(update={"notifications": notifications, "next_notification": notification.number + 1})
    notifications = tuple(notification if one.number == notification.number else one for one in outbox.notifications)
    return outbox.model_copy(update={"notifications": notifications})


def queue_delivery(
    outbox: Outbox,
    kind: Literal["post", "update", "reply"],
    content: Content,
    notification: Notification | None = None,
    *,
    route: str = "",
    broadcast: bool = False,
) -> Outbox:
    """Queue a message.

    Args:
        outbox: Gives the message its id.
        kind: What to do with it.
        content: What it says.
        notification: The notification that it belongs to, if any.
        route: Where it goes if it belongs to none.
        broadcast: Whether a reply is shown in the channel, too.
    """
    delivery = Delivery(
        id=f"{content.target}-{outbox.next_delivery}",
        kind=kind,
        route=notification.route if notification else route,
        notification=notification.number if notification else 0,
        content=content,
        broadcast=broadcast,
        queued_at=content.at,
    )
    queue = (*outbox.queue, delivery)
    return outbox.model_copy(update={"queue": queue, "next_delivery": outbox.next_delivery + 1})


def queue_digest(outbox: Outbox, digest: DigestContent, now: datetime) -> Outbox:
    """Queue the digest of a day once, in the place of an older one that still waits.

    Args:
        outbox: Knows which day's digest was queued last.
        digest: The digest.
        now: The time of the digest.
    """
    if outbox.digest_day == digest.day:
        return outbox
    delivery = Delivery(
        id=digest_id(digest),
        kind="post",
        route=DIGEST_ROUTE,
        digest=digest,
        queued_at=now,
        expires_at=now + MAX_DIGEST_AGE,
    )
    queue = (*(one for one in outbox.queue if one.digest is None), delivery)
    return outbox.model_copy(update={"queue": queue, "digest_day": digest.day})


def digest_id(digest: DigestContent) -> str:
    """The id of a digest's delivery: the same for every run of a day."""
    return f"{digest.target}-digest-{digest.day}"


def queue_update(outbox: Outbox, content: Content, notification: Notification) -> Outbox:
    """Queue the change of a message; where an earlier change or the message itself still waits, change that."""
    post = unsent_post(outbox, notification)
    if post is not None and post.content is not None:
        kept = {"about": post.content.about, "notes": (*post.content.notes, *content.notes)}
        return _replace(outbox, post.model_copy(update={"content": content.model_copy(update=kept)}))
    queue = tuple(one for one in outbox.queue if one.kind != "update" or one.notification != notification.number)
    return queue_delivery(outbox.model_copy(update={"queue": queue}), "update", content, notification)


def unsent_post(outbox: Outbox, notification: Notification) -> Delivery | None:
    """The first message of a notification, if it waits in the queue and surely was not sent."""
    for delivery in outbox.queue:
        post = delivery.kind == "post" and delivery.notification == notification.number
        first = delivery.content is not None and delivery.content.about != "repeated"
        if post and first and not delivery.outcome_unknown:
            return delivery
    return None


def is_due(delivery: Delivery, now: datetime) -> bool:
    """Whether it may be sent now. A wait until long after now was noted by a clock that was ahead."""
    wait = timedelta(0) if delivery.not_before is None else delivery.not_before - now
    return not timedelta(0) < wait <= _MAX_RETRY_AFTER


def mark_sending(outbox: Outbox, delivery: Delivery) -> Outbox:
    """Note that a message is about to be sent: if the process dies now, the outcome is unknown."""
    return _replace(outbox, delivery.model_copy(update={"outcome_unknown": True, "attempts": delivery.attempts + 1}))


def mark_sent(outbox: Outbox, delivery: Delivery, message: MessageRef | None) -> Outbox:
    """Note that a message was sent.

    Args:
        outbox: Where it was in the queue.
        delivery: What was sent.
        message: Where it is now, if it was posted and can be edited.
    """
    troubles = {route: one for route, one in outbox.troubles.items() if route != delivery.route}
    notifications = tuple(
        notification.model_copy(update={"message": message})
        if delivery.kind == "post" and notification.number == delivery.notification
        else notification
        for notification in outbox.notifications
    )
    tallies = _count(outbox, delivery.route, sent=1)
    changes = {"notifications": notifications, "troubles": troubles, "tallies": tallies}
    return remove(outbox.model_copy(update=changes), [delivery])


def mark_accepted(outbox: Outbox, events: Iterable[Delivery], now: datetime) -> Outbox:
    """Note that the server has accepted these events. They stay until it is known to have kept them."""
    taken = {one.id for one in events}
    queue = tuple(
        one.model_copy(update={"sent_at": now, "attempts": one.attempts + 1}) if one.id in taken else one
        for one in outbox.queue
    )
    return outbox.model_copy(update={"queue": queue})


def remove(outbox: Outbox, deliveries: Iterable[Delivery]) -> Outbox:
    """Take these out of the queue."""
    gone = {delivery.id for delivery in deliveries}
    return outbox.model_copy(update={"queue": tuple(one for one in outbox.queue if one.id not in gone)})


def mark_failed(
    outbox: Outbox,
    delivery: Delivery,
    problem: str,
    now: datetime,
    config: Config,
    *,
    permanent: bool,
    outcome_unknown: bool,
    retry_after: timedelta | None = None,
) -> Outbox:
    """Note that a message could not be sent.

    What the route's receiver rejects for good goes to the fallback route, with all that belongs to the same
    notification. Where there is no fallback, or its receiver rejects it, it is tried again later: people repair routes.

    Args:
        outbox: Has it in the queue.
        delivery: The message.
        problem: Why, and what to do, in one line.
        now: The time of the check.
        config: Knows the fallback route.
        permanent: Another attempt cannot succeed.
        outcome_unknown: It may have been sent all the same.
        retry_after: How long the receiver asks to wait.
    """
    troubles = dict(outbox.troubles)
    if delivery.route:
        since = troubles[delivery.route].since if delivery.route in troubles else now
        troubles[delivery.route] = Trouble(since=since, problem=problem, permanent=permanent)
    outbox = outbox.model_copy(update={"troubles": troubles, "tallies": _count(outbox, delivery.route, failed=1)})
    fallback = config.alerts.fallback.kind is not None and delivery.route not in ("", FALLBACK_ROUTE)
    if permanent and fallback:
        return _move_to_fallback(outbox, delivery)
    wait = min(MAX_WAIT, FIRST_WAIT * 2 ** min(delivery.attempts, 10))
    return _replace(
        outbox,
        delivery.model_copy(
            update={
                "outcome_unknown": outcome_unknown,
                "rejected": permanent,
                "attempts": delivery.attempts + 1,
                "not_before": now + min(_MAX_RETRY_AFTER, max(wait, retry_after or timedelta(0))),
            }
        ),
    )


def _move_to_fallback(outbox: Outbox, rejected: Delivery) -> Outbox:
    """Move a message and all that belongs to the same notification to the fallback route, where it begins anew."""
    queue: list[Delivery] = []
    for delivery in outbox.queue:
        same = rejected.notification and delivery.notification == rejected.notification
        if delivery.id != rejected.id and not same:
            queue.append(delivery)
            continue
        changes: dict[str, object] = {
            "route": FALLBACK_ROUTE,
            "outcome_unknown": False,
            "rejected": False,
            "attempts": 0,
            "not_before": None,
        }
        # There is no message there yet that could be edited or replied to.
        if delivery.id == rejected.id and delivery.kind != "post":
            changes.update(kind="post", broadcast=False)
        queue.append(delivery.model_copy(update=changes))
    notifications = tuple(
        notification.model_copy(update={"route": FALLBACK_ROUTE, "message": None})
        if notification.number == rejected.notification
        else notification
        for notification in outbox.notifications
    )
    return outbox.model_copy(update={"queue": tuple(queue), "notifications": notifications})


def _count(outbox: Outbox, route: str, *, sent: int = 0, failed: int = 0) -> dict[str, Tally]:
    before = outbox.tallies.get(route, Tally())
    return {**outbox.tallies, route: Tally(sent=before.sent + sent, failed=before.failed + failed)}


def _replace(outbox: Outbox, delivery: Delivery) -> Outbox:
    return outbox.model_copy(
        update={"queue": tuple(delivery if one.id == delivery.id else one for one in outbox.queue)}
    )
