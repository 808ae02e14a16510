"""Sends metrics to a Datadog agent or another DogStatsD receiver, over UDP or a Unix datagram socket.

UDP silently loses datagrams that the receiver does not read in time; on a Unix socket, the sender waits
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
            timeout: The longest wait until a datagram is accepted.
            definitions: The metrics to send.
        """
        self._address = address
        self._timeout = timeout
        self._definitions = definitions

    def publish(self, snapshot: Snapshot) -> None:
        """Send a snapshot.

        Raises:
            DeliveryError: No receiver listens there, or it reads too slowly.
        """
        size = UNIX_SIZE if self._address.startswith(_UNIX) else UDP_SIZE
        messages = datagrams(snapshot, self._definitions, size)
        try:
            self._send(messages)
        except TimeoutError:
            raise self._failed(
                f"accepted nothing within {format_duration(self._timeout)}: check the agent, or raise metrics.timeout"
            ) from None
        except (OSError, ValueError, OverflowError) as error:
            # An invalid address raises ValueError or OverflowError.
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
            # Over UDP, a rejected datagram is reported with the next one at the earliest; for the last, query it.
            rejected = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if rejected:
                raise OSError(rejected, os.strerror(rejected))

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

    def _failed(self, problem: str) -> DeliveryError:
        return DeliveryError(f"metrics.dogstatsd: {self._address} {problem}", permanent=False)
