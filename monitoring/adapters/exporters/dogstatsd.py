"""Sends to a Datadog agent, or whatever else listens for DogStatsD, over UDP or a Unix datagram socket.

UDP loses what the receiver does not read in time, and nobody notices; on a Unix socket the sender waits
(https://docs.datadoghq.com/extend/dogstatsd/unix_socket).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from monitoring.errors import DeliveryError
from monitoring.metrics.catalog import METRICS
from monitoring.metrics.dogstatsd import UDP_SIZE, UNIX_SIZE, datagrams
from monitoring.metrics.snapshot import Metric, Snapshot
from monitoring.text.durations import format_duration

_UNIX = "unix://"


class DogStatsD:
    """A receiver of DogStatsD."""

    def __init__(self, address: str, timeout: timedelta, definitions: Iterable[Metric] = METRICS) -> None:
        """Prepare to send; nothing is sent yet.

        Args:
            address: ``host:port``, or ``unix://`` and a path.
            timeout: The longest wait until a datagram is taken.
            definitions: The metrics that are sent.
        """
        self._address = address
        self._timeout = timeout
        self._definitions = definitions

    def publish(self, snapshot: Snapshot) -> None:
        """Send what is measured.

        Raises:
            DeliveryError: Nobody listens there, or too slowly.
        """
        size = UNIX_SIZE if self._address.startswith(_UNIX) else UDP_SIZE
        messages = datagrams(snapshot, self._definitions, size)
        try:
            self._send(messages)
        except TimeoutError:
            raise self._failed(
                f"takes nothing within {format_duration(self._timeout)}: look at the agent, or raise metrics.timeout"
            ) from None
        except (OSError, ValueError, OverflowError) as error:
            # What cannot be an address is one of the latter.
            reason = (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
            raise self._failed(
                f"cannot be sent to ({reason}): check the address, whether the agent runs and listens for DogStatsD "
                "there, and whether the worker's user may write to its socket"
            ) from None

    def _send(self, messages: Iterable[bytes]) -> None:
        with self._connected() as connection:
            connection.settimeout(self._timeout.total_seconds())
            for message in messages:
                connection.send(message)
            # Over UDP, that nobody takes a datagram is told with the next one at the earliest; for the last, ask.
            refused = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if refused:
                raise OSError(refused, os.strerror(refused))

    def _connected(self) -> socket.socket:
        family, address = self._resolved()
        connection = socket.socket(family, socket.SOCK_DGRAM)
        try:
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    def _resolved(self) -> tuple[int, Any]:
        if self._address.startswith(_UNIX):
            return socket.AF_UNIX, self._address.removeprefix(_UNIX)
        host, _, port = self._address.rpartition(":")
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        family, _, _, _, address = found[0]
        return family, address

    def _failed(self, what: str) -> DeliveryError:
        return DeliveryError(f"metrics.dogstatsd: {self._address} {what}", permanent=False)
