"""What notifications need of the outside, as protocols."""

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
            thread: The message to reply to; None for a message of its own.

        Returns:
            Where it is; None where messages cannot be edited.
        """

    def update(self, message: MessageRef, delivery: Delivery) -> None:
        """Change what a message says; a second time changes nothing."""

    def find(self, delivery: Delivery, thread: MessageRef | None) -> MessageRef | None:
        """Look for a message whose outcome is unknown; None if it was not sent, or that cannot be seen."""


class Events(Protocol):
    """The events of a Prefect server."""

    def send(self, events: Sequence[Event]) -> None:
        """Send events; one with an id that was sent before changes nothing.

        Raises:
            ServerProblem: The server did not take them.
        """

    def kept(self, events: Sequence[Event]) -> Collection[str]:
        """Return the ids of those of these events, at most 50, that the server has stored.

        Where the key may not read events, these are all: what was sent counts as stored.

        Raises:
            ServerProblem: The server cannot be used.
        """
