"""The outbox while notifications are planned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from monitoring.config.alert_settings import DEFAULT_ROUTE
from monitoring.model.incident import Incident
from monitoring.model.outbox import About, Content, Delivery, Notification, Outbox
from monitoring.notifications.content import build_content
from monitoring.notifications.situation import Situation


class Draft:
    """The outbox while notifications are planned.

    It finds notifications and their queued messages by number, so that a change costs the same however many are open.
    """

    def __init__(self, outbox: Outbox, situation: Situation) -> None:
        self.situation = situation
        self.notifications = {notification.number: notification for notification in outbox.notifications}
        self.next_notification = outbox.next_notification
        self.queue: dict[str, Delivery] = {}
        self.next_delivery = outbox.next_delivery
        self._suppressed = outbox.suppressed
        self._waiting: dict[int, dict[str, Delivery]] = defaultdict(dict)
        for delivery in outbox.queue:
            self._queue(delivery)

    def content(self, about: About, incidents: Sequence[Incident], notes: Sequence[str] = ()) -> Content:
        """Build the content of a notification; ``notes`` are additional sentences for people."""
        return build_content(about, incidents, self.situation, self._suppressed, notes)

    def put(self, notification: Notification) -> None:
        """Add a notification, or replace the notification with its number."""
        self.notifications[notification.number] = notification
        self.next_notification = max(self.next_notification, notification.number + 1)

    def add(
        self,
        kind: Literal["post", "update", "reply"],
        content: Content,
        notification: Notification | None = None,
        *,
        broadcast: bool = False,
    ) -> None:
        """Queue a message; without a notification that it belongs to, it goes to the default route."""
        self._queue(
            Delivery(
                id=f"{content.target}-{self.next_delivery}",
                kind=kind,
                route=notification.route if notification else DEFAULT_ROUTE,
                notification=notification.number if notification else 0,
                content=content,
                broadcast=broadcast,
                queued_at=content.at,
            )
        )
        self.next_delivery += 1

    def queue_update(self, content: Content, notification: Notification) -> None:
        """Queue the change of a message; if the message or an earlier change still waits, replace its content."""
        post = self.unsent_post(notification)
        if post is not None and post.content is not None:
            kept = {"about": post.content.about, "notes": (*post.content.notes, *content.notes)}
            self._queue(post.model_copy(update={"content": content.model_copy(update=kept)}))
            return
        for earlier in self.waiting(notification):
            if earlier.kind == "update":
                del self.queue[earlier.id], self._waiting[notification.number][earlier.id]
        self.add("update", content, notification)

    def waiting(self, notification: Notification) -> Sequence[Delivery]:
        """The messages of a notification that wait in the queue."""
        return tuple(self._waiting[notification.number].values())

    def unsent_post(self, notification: Notification) -> Delivery | None:
        """The first message of a notification, if it waits in the queue and was certainly not sent."""
        for delivery in self.waiting(notification):
            first = delivery.content is not None and delivery.content.about != "repeated"
            if delivery.kind == "post" and first and not delivery.outcome_unknown:
                return delivery
        return None

    def _queue(self, delivery: Delivery) -> None:
        """Add a message to the queue, or replace the message with its id."""
        self.queue[delivery.id] = delivery
        self._waiting[delivery.notification][delivery.id] = delivery
