"""Writes a file for the textfile collector of Prometheus' node exporter.

The collector reads every ``*.prom`` in its folder whenever it is scraped, so that the file must be there whole or not
at all (https://github.com/prometheus/node_exporter#textfile-collector).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from monitoring.errors import DeliveryError
from monitoring.metrics.catalog import METRICS
from monitoring.metrics.openmetrics import text
from monitoring.metrics.snapshot import Metric, Snapshot

#: The node exporter is another user.
_MODE = 0o644


class Textfile:
    """A file."""

    def __init__(self, path: str, definitions: Iterable[Metric] = METRICS) -> None:
        """Prepare to write; nothing is written yet.

        Args:
            path: Where, in a folder that exists.
            definitions: The metrics that are written.
        """
        self._path = Path(path)
        self._definitions = definitions

    def publish(self, snapshot: Snapshot) -> None:
        """Put the numbers in the place of those of the check before.

        Raises:
            DeliveryError: They cannot be written; what was there is there still.
        """
        try:
            self._replace(text(snapshot, self._definitions))
        except (OSError, ValueError) as error:
            # A path that no file can have is a ValueError.
            reason = error.strerror if isinstance(error, OSError) else error
            raise DeliveryError(
                f"metrics.textfile: {self._path} cannot be written ({reason}): make the folder on the "
                "worker, let the worker's user write there, and see that the disk has room",
                permanent=isinstance(
                    error, (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValueError)
                ),
            ) from None

    def _replace(self, content: bytes) -> None:
        # In the same folder, as only there a rename happens at once; its name does not end as the collector wants it.
        # Always the same name, so that a check that was killed leaves one file, and the next takes it away.
        beside = self._path.with_name(f".{self._path.name}.tmp")
        beside.unlink(missing_ok=True)
        try:
            # A new file, never one that somebody has put there: it could be a link.
            with open(beside, "xb") as file:
                file.write(content)
                os.fchmod(file.fileno(), _MODE)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
