"""Writes a file for the textfile collector of Prometheus' node exporter.

The collector reads every ``*.prom`` in its directory at each scrape, so the file must be complete or absent
(https://github.com/prometheus/node_exporter#textfile-collector).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from monitoring.errors import DeliveryError
from monitoring.metrics.catalog import METRICS
from monitoring.metrics.openmetrics import text
from monitoring.metrics.snapshot import Metric, Snapshot

#: The node exporter runs as another user.
_MODE = 0o644


@dataclass
class Textfile:
    """A file of metrics."""

    #: In an existing directory.
    path: str
    definitions: Iterable[Metric] = METRICS

    def publish(self, snapshot: Snapshot) -> None:
        """Replace the metrics of the previous check; if the file cannot be written, the previous file remains."""
        try:
            self._replace(text(snapshot, self.definitions))
        except (OSError, ValueError) as error:
            # An invalid path raises ValueError.
            reason = error.strerror if isinstance(error, OSError) else error
            raise DeliveryError(
                f"metrics.textfile: {self.path} cannot be written ({reason}): create the directory on "
                "the worker, let the worker's user write there, and check that the disk has space",
                permanent=isinstance(
                    error, (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValueError)
                ),
            ) from None

    def _replace(self, content: bytes) -> None:
        # In the same directory, as only there a rename is atomic, and with a suffix that the collector ignores. Always
        # the same name, so that the next check removes the file of a killed check.
        path = Path(self.path)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.unlink(missing_ok=True)
        try:
            # A new file, never an existing one, which could be a link.
            with open(temporary, "xb") as file:
                file.write(content)
                os.fchmod(file.fileno(), _MODE)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
