"""What notifications need of the outside, as protocols."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from monitoring.model.outbox import Delivery, Event, MessageRef


class Messenger(Protocol):
    """One receiver of alerts. Every method raises ``DeliveryError``."""

    def post(self, delivery: Delivery, thread: MessageRef | None) -> MessageRef | None:
        """Post a message, or reply in a thread.

        Args:
            delivery: What to say.
            thread: The message that is replied to; None for a message of its own.

        Returns:
            Where it stands; None where messages cannot be edited.
        """

    def update(self, message: MessageRef, delivery: Delivery) -> None:
        """Change what a message says. Done twice, it is done once."""

    def find(self, delivery: Delivery, thread: MessageRef | None) -> MessageRef | None:
        """Look whether something was said that we do not know of; None where it was not, or that cannot be seen."""


class Events(Protocol):
    """The events of a Prefect server."""

    def send(self, events: Sequence[Event]) -> None:
        """Send events; one with an id that was sent before changes nothing.

        Raises:
            ServerProblem: The server did not take them.
        """

    def kept(self, events: Sequence[Event]) -> Collection[str]:
        """Return the ids of those of these events, at most 50, that the server has written down.

        Where it does not let us look, these are all: what was sent counts as kept.

        Raises:
            ServerProblem: The server cannot be used.
        """
