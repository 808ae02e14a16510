"""Changes of the outbox: the queued digest, and the outcome of sending what is queued."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from monitoring.config.alert_settings import DIGEST_ROUTE, FALLBACK_ROUTE
from monitoring.config.settings import Config
from monitoring.errors import DeliveryError
from monitoring.model.outbox import Delivery, DigestContent, MessageRef, Outbox, Tally, Trouble

#: The first wait before another attempt; each further one is twice as long, up to the maximum.
FIRST_WAIT = timedelta(minutes=1)
MAX_WAIT = timedelta(hours=1)
#: An older digest is no longer sent, because the next digest is due.
MAX_DIGEST_AGE = timedelta(hours=24)
#: The maximum wait that a receiver may request.
_MAX_RETRY_AFTER = timedelta(days=1)


def queue_digest(outbox: Outbox, digest: DigestContent, now: datetime) -> Outbox:
    """Queue the digest of a day once, in place of an older digest that still waits."""
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
    queue = (*(queued for queued in outbox.queue if queued.digest is None), delivery)
    return outbox.model_copy(update={"queue": queue, "digest_day": digest.day})


def digest_id(digest: DigestContent) -> str:
    """The id of a digest's delivery: the same for every run of a day."""
    return f"{digest.target}-digest-{digest.day}"


def is_due(delivery: Delivery, now: datetime) -> bool:
    """Whether it may be sent now. A very long wait was recorded while the clock was ahead, and does not count."""
    wait = timedelta(0) if delivery.not_before is None else delivery.not_before - now
    return not timedelta(0) < wait <= _MAX_RETRY_AFTER


def mark_sending(outbox: Outbox, delivery: Delivery) -> Outbox:
    """Record that a message is about to be sent: if the process dies now, the outcome is unknown."""
    return _replace(outbox, delivery.model_copy(update={"outcome_unknown": True, "attempts": delivery.attempts + 1}))


def mark_sent(outbox: Outbox, delivery: Delivery, message: MessageRef | None) -> Outbox:
    """Record that a message was sent, and where it is now if it was posted and can be edited."""
    troubles = {route: trouble for route, trouble in outbox.troubles.items() if route != delivery.route}
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
    """Record that the server has accepted these events. They stay queued until it has certainly stored them."""
    accepted = {event.id for event in events}
    queue = tuple(
        queued.model_copy(update={"sent_at": now, "attempts": queued.attempts + 1}) if queued.id in accepted else queued
        for queued in outbox.queue
    )
    return outbox.model_copy(update={"queue": queue})


def remove(outbox: Outbox, deliveries: Iterable[Delivery]) -> Outbox:
    """Remove deliveries from the queue."""
    removed = {delivery.id for delivery in deliveries}
    return outbox.model_copy(update={"queue": tuple(queued for queued in outbox.queue if queued.id not in removed)})


def remove_expired(outbox: Outbox, expired: Iterable[Delivery]) -> Outbox:
    """Take these out of the queue. A route without any other message has no trouble left to resolve."""
    routes = {delivery.route for delivery in expired}
    outbox = remove(outbox, expired)
    idle = routes - {delivery.route for delivery in outbox.queue}
    troubles = {route: trouble for route, trouble in outbox.troubles.items() if route not in idle}
    return outbox.model_copy(update={"troubles": troubles})


def mark_failed(outbox: Outbox, delivery: Delivery, error: DeliveryError, now: datetime, config: Config) -> Outbox:
    """Record that a message could not be sent.

    A message that the receiver of its route rejects permanently moves to the fallback route, with all messages of the
    same notification. Without a fallback, or if the fallback rejects it, it is retried later: people repair routes.
    """
    troubles = dict(outbox.troubles)
    if delivery.route:
        since = troubles[delivery.route].since if delivery.route in troubles else now
        troubles[delivery.route] = Trouble(since=since, problem=str(error), permanent=error.permanent)
    outbox = outbox.model_copy(update={"troubles": troubles, "tallies": _count(outbox, delivery.route, failed=1)})
    if error.outcome_unknown and delivery.outcome_unknown and delivery.digest is not None:
        # It may have been posted twice by now. A digest is repeated once at most.
        return remove(outbox, [delivery])
    fallback = config.alerts.fallback.kind is not None and delivery.route not in ("", FALLBACK_ROUTE)
    if error.permanent and fallback:
        return _move_to_fallback(outbox, delivery)
    wait = min(MAX_WAIT, FIRST_WAIT * 2 ** min(delivery.attempts, 10))
    return _replace(
        outbox,
        delivery.model_copy(
            update={
                "outcome_unknown": error.outcome_unknown,
                "rejected": error.permanent,
                "attempts": delivery.attempts + 1,
                "not_before": now + min(_MAX_RETRY_AFTER, max(wait, error.retry_after or timedelta(0))),
            }
        ),
    )


def _move_to_fallback(outbox: Outbox, rejected: Delivery) -> Outbox:
    """Move a message, and all messages of its notification, to the fallback route, where they start again."""
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
        # There is no message yet to edit or reply to.
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
        update={"queue": tuple(delivery if old.id == delivery.id else old for old in outbox.queue)}
    )
