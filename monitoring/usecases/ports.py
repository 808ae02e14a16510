"""The ports of the use cases, as protocols. ``adapters/`` implements them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from monitoring.config.policy import Policies
from monitoring.metrics.snapshot import Snapshot
from monitoring.model.coverage import Coverage, Query
from monitoring.model.incident import Incident
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.prefect import FlowRun
from monitoring.model.report import DigestReport, HealthReport, Totals
from monitoring.model.saved_state import PublishedArtifact, SavedState


class Reader(Protocol):
    """Reads the monitored server. It never changes anything there, and never raises for a part it cannot read."""

    def observe(self, now: datetime, ledger: Ledger, policies: Policies) -> Observation:
        """Read what is active now, and what ended since the ledger's cursor (or in the configured window)."""

    def failures(self, start: datetime, now: datetime, policies: Policies) -> tuple[tuple[FlowRun, ...], Query]:
        """Read the newest runs that failed or crashed since ``start``, and the coverage of the query."""

    def totals(
        self, periods: Sequence[tuple[datetime, datetime]], now: datetime, policies: Policies
    ) -> tuple[tuple[Totals | None, ...], Query]:
        """Count how runs ended in each period; None for a period that cannot be counted."""


class State(Protocol):
    """Keeps the saved state."""

    def load(self) -> tuple[SavedState, Coverage]:
        """Read everything, requests included. An unreadable document counts as empty, and the coverage names it.

        Raises:
            ServerProblem: The server that keeps it cannot be used.
        """

    def save(self, before: SavedState, after: SavedState) -> None:
        """Write the documents that differ.

        Raises:
            LockLost: Another check took over; nothing more was written.
            ServerProblem: The server that keeps it cannot be used.
        """

    def all_closed(self) -> tuple[Incident, ...]:
        """Read every closed incident that is kept, newest first; ``load`` returns only recent ones.

        Raises:
            StateError: A newer watchdog wrote them.
            ServerProblem: The server that keeps them cannot be used.
        """

    def names_set_aside(self) -> tuple[str, ...]:
        """Name the documents that could not be read and were set aside.

        Raises:
            ServerProblem: The server that keeps them cannot be used.
        """


class Lock(Protocol):
    """Lets only one check write at a time."""

    def hold(self, timeout: timedelta = ...) -> AbstractContextManager[bool]:
        """Take the lock for the body of a ``with``; the value is False if another run holds it until the timeout."""

    def keep(self) -> None:
        """Renew the lock if it is due; cheap otherwise. Raises LockLost if another run took it over."""


class Artifacts(Protocol):
    """Publishes reports where people read them, in the Prefect UI."""

    def publish_health(
        self, report: HealthReport, published: Mapping[str, PublishedArtifact]
    ) -> Mapping[str, PublishedArtifact]:
        """Publish the health summary and the table of findings; in place if only the time changed."""

    def publish_digest(
        self, report: DigestReport, published: Mapping[str, PublishedArtifact]
    ) -> Mapping[str, PublishedArtifact]:
        """Publish the digest."""


class Housekeeping(Protocol):
    """Removes old runs and artifacts of the watchdog itself."""

    def tidy(self, now: datetime, published: Mapping[str, PublishedArtifact]) -> Mapping[str, PublishedArtifact]:
        """Delete old runs of the check and old versions of its artifacts; return what is still published."""


class MetricsStore(Protocol):
    """Keeps the metrics of the last check."""

    def save(self, snapshot: Snapshot) -> None:
        """Replace the saved metrics.

        Raises:
            ServerProblem: The server that keeps them cannot be used.
            CredentialsRefused: It rejects the API key.
        """


class Exporter(Protocol):
    """Publishes the metrics of a check outside the Prefect server."""

    def publish(self, snapshot: Snapshot) -> None:
        """Publish the metrics.

        Raises:
            DeliveryError: They were not accepted; the message says what to do.
        """


class Ping(Protocol):
    """A dead-man's switch."""

    def start(self) -> None:
        """Report that a check has begun, so that the switch notices a check that never ends.

        Raises:
            DeliveryError: The switch did not accept the ping.
        """

    def ping(self, report: HealthReport) -> None:
        """Report that a check has run, and whether it saw everything.

        Raises:
            DeliveryError: The switch did not accept the ping.
        """
