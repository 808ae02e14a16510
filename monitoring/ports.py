"""What the use cases need of the outside, as protocols. ``adapters/`` makes them real."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import AwareDatetime, Field

from monitoring.alerting.values import Delivery, Event, MessageRef, Outbox, Request, Silences
from monitoring.metrics.values import Snapshot
from monitoring.model import Coverage, Incident, Incidents, Ledger, Observation, Query, Value
from monitoring.policy import Policies
from monitoring.report import DigestReport, HealthReport, Totals


class Published(Value):
    """One version of an artifact that the watchdog made."""

    id: str
    created: AwareDatetime


class PublishedArtifact(Value):
    """What the watchdog published under one key: the identity of what it says, and its versions, newest last."""

    identity: str
    versions: tuple[Published, ...]


class SavedState(Value):
    """All that the watchdog remembers between checks."""

    ledger: Ledger = Ledger()
    incidents: Incidents = Incidents()
    silences: Silences = Silences()
    outbox: Outbox = Outbox()
    #: Closed incidents, newest first.
    closed: tuple[Incident, ...] = ()
    #: What people have asked for at the command line. What is not there any more when it is saved was done.
    requests: tuple[Request, ...] = ()
    #: Published artifacts by key.
    artifacts: Mapping[str, PublishedArtifact] = Field(default_factory=dict)


class Reader(Protocol):
    """Reads the monitored server. It never changes anything there, and never raises for a part it cannot read."""

    def observe(self, now: datetime, ledger: Ledger, policies: Policies) -> Observation:
        """See what is active now, and what ended since the ledger's cursor (or in the configured window)."""

    def totals(
        self, periods: Sequence[tuple[datetime, datetime]], now: datetime, policies: Policies
    ) -> tuple[tuple[Totals | None, ...], Query]:
        """Count how runs ended in each period; None for a period whose counts cannot be had."""


class State(Protocol):
    """Keeps what must outlive a check."""

    def load(self) -> tuple[SavedState, Coverage]:
        """Read everything, requests included. A document that cannot be read is empty here, and named in the coverage.

        Raises:
            ServerProblem: The server that keeps it cannot be used.
        """

    def save(self, before: SavedState, after: SavedState) -> None:
        """Write the documents that differ.

        Raises:
            LockLost: Another check took over; nothing more was written.
            ServerProblem: The server that keeps it cannot be used.
        """


class Lock(Protocol):
    """Lets one check write at a time."""

    def hold(self, patience: timedelta = ...) -> AbstractContextManager[bool]:
        """Take the lock for the body of a ``with``; its value is False when ``patience`` has run out."""

    def keep(self) -> None:
        """Renew it when it is time to; cheap when it is not. Raises LockLost when it is gone."""


class Artifacts(Protocol):
    """Publishes reports where people read them, in the Prefect UI."""

    def publish_health(
        self, report: HealthReport, published: Mapping[str, PublishedArtifact]
    ) -> Mapping[str, PublishedArtifact]:
        """Publish the health summary and the table of findings; in place when nothing but the time changed."""

    def publish_digest(
        self, report: DigestReport, published: Mapping[str, PublishedArtifact]
    ) -> Mapping[str, PublishedArtifact]:
        """Publish the digest."""


class Housekeeping(Protocol):
    """Removes what the watchdog itself made and nobody needs any more."""

    def tidy(self, now: datetime, published: Mapping[str, PublishedArtifact]) -> Mapping[str, PublishedArtifact]:
        """Delete old runs of the check and old versions of its artifacts; return what is still published."""


class Channel(Protocol):
    """Tells people."""

    def post_digest(self, report: DigestReport) -> None:
        """Post the digest.

        Raises:
            DeliveryError: It could not be said.
        """


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


class MetricsStore(Protocol):
    """Keeps the numbers of the last check."""

    def save(self, snapshot: Snapshot) -> None:
        """Keep them in the place of those before.

        Raises:
            ServerProblem: The server that keeps them cannot be used.
            CredentialsRefused: It refuses our key.
        """


class MetricsOutlet(Protocol):
    """A way out for the numbers that a check has measured."""

    def publish(self, snapshot: Snapshot) -> None:
        """Hand over what this check has measured.

        Raises:
            DeliveryError: The receiver did not take them; its message says what to do.
        """


class Ping(Protocol):
    """A dead-man's switch."""

    def start(self) -> None:
        """Say that a check has begun, so that one which never ends is noticed.

        Raises:
            DeliveryError: The switch did not answer as it should.
        """

    def ping(self, report: HealthReport) -> None:
        """Say that a check has run, and whether it saw everything.

        Raises:
            DeliveryError: The switch did not answer as it should.
        """
