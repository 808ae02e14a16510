"""The metrics of the last check, kept on the server in a document of their own, ``metrics``.

Nothing else depends on it, so it has no migrations: the next check writes it anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.state import pack, unpack
from monitoring.errors import StateError
from monitoring.metrics.snapshot import Snapshot

NAME = "metrics"


@dataclass
class Measured:
    """The last snapshot of one server, as ``ports.MetricsStore``."""

    documents: Documents

    def load(self) -> Snapshot | None:
        """Read the snapshot; None if there is none.

        Raises:
            StateError: It cannot be read.
            ServerProblem: The server cannot be used.
            CredentialsRefused: The server rejects the key.
        """
        body = self.documents.read(NAME)
        try:
            return None if body is None else Snapshot.model_validate(unpack(body))
        except ValueError:
            raise StateError(
                "the numbers on the server cannot be read, as after a check by another version of the watchdog: have "
                "the same version here and there; the next check writes them anew"
            ) from None

    def save(self, snapshot: Snapshot) -> None:
        """Replace the snapshot. Errors are those of the server, as in ``load``."""
        self.documents.write(NAME, pack(snapshot))
