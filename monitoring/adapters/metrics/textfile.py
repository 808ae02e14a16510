"""Writes a file for the textfile collector of Prometheus' node exporter.

The collector reads every ``*.prom`` in its folder whenever it is scraped, so that the file must be there whole or not
at all (https://github.com/prometheus/node_exporter#textfile-collector).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from monitoring.errors import DeliveryError
from monitoring.metrics.catalog import METRICS
from monitoring.metrics.values import Metric, Snapshot
from monitoring.render.openmetrics import text

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

    def publish(self, snapshot: Snapshot, before: Snapshot | None) -> None:
        """Put the numbers in the place of those of the check before.

        Raises:
            DeliveryError: They cannot be written; what was there is there still.
        """
        try:
            self._replace(text(snapshot, definitions=self._definitions))
        except OSError as error:
            raise DeliveryError(
                f"metrics.textfile: {self._path} cannot be written ({error.strerror}): make the folder on the worker, "
                "let the worker's user write there, and see that the disk has room",
                permanent=isinstance(
                    error, (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
                ),
            ) from None

    def _replace(self, content: bytes) -> None:
        # In the same folder, as only there a rename happens at once; its name does not end as the collector wants it.
        descriptor, name = tempfile.mkstemp(prefix=f".{self._path.name}.", suffix=".tmp", dir=self._path.parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), _MODE)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
