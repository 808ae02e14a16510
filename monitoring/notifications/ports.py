"""The ports of notifications, as protocols."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from monitoring.model.outbox import Delivery, Event, MessageRef


class Notifier(Protocol):
    """Sends messages to one receiver. Every method raises ``DeliveryError``."""

    def post(self, delivery: Delivery, thread: MessageRef | None) -> MessageRef | None:
        """Post a message, or reply in a thread.

        Args:
            delivery: The message.
            thread: The message to reply to; None for a new message.

        Returns:
            Where the message is; None if messages cannot be edited.
        """

    def update(self, message: MessageRef, delivery: Delivery) -> None:
        """Update the content of a message. Updating again changes nothing."""

    def find(self, delivery: Delivery, thread: MessageRef | None) -> MessageRef | None:
        """Find a message whose delivery outcome is unknown; None if it was not sent, or cannot be found."""


class Events(Protocol):
    """The events of a Prefect server."""

    def send(self, events: Sequence[Event]) -> None:
        """Send events. Sending an event again, with the same id, changes nothing.

        Raises:
            ServerProblem: The server did not accept them.
        """

    def kept(self, events: Sequence[Event]) -> Collection[str]:
        """Return the ids of the events, of at most 50, that the server has stored.

        If the key may not read events, all of them count as stored.

        Raises:
            ServerProblem: The server cannot be used.
        """
