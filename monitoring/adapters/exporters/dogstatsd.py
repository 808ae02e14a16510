"""Sends metrics to a Datadog agent or another DogStatsD receiver, over UDP or a Unix datagram socket.

UDP silently loses datagrams that the receiver does not read in time; on a Unix socket, the sender waits
(https://docs.datadoghq.com/extend/dogstatsd/unix_socket).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from monitoring.errors import DeliveryError
from monitoring.metrics.catalog import METRICS
from monitoring.metrics.dogstatsd import UDP_SIZE, UNIX_SIZE, datagrams
from monitoring.metrics.snapshot import Metric, Snapshot
from monitoring.text.durations import format_duration

_UNIX = "unix://"


@dataclass
class DogStatsD:
    """A receiver of DogStatsD."""

    #: ``host:port``, or ``unix://`` and a path.
    address: str
    #: The longest wait until a datagram is accepted.
    timeout: timedelta
    definitions: Iterable[Metric] = METRICS

    def publish(self, snapshot: Snapshot) -> None:
        """Send a snapshot. It fails if no receiver listens there, or if it reads too slowly."""
        size = UNIX_SIZE if self.address.startswith(_UNIX) else UDP_SIZE
        messages = datagrams(snapshot, self.definitions, size)
        try:
            self._send(messages)
        except TimeoutError:
            raise self._failed(
                f"accepted nothing within {format_duration(self.timeout)}: check the agent, or raise metrics.timeout"
            ) from None
        except (OSError, ValueError, OverflowError) as error:
            # An invalid address raises ValueError or OverflowError.
            reason = (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
            raise self._failed(
                f"cannot be sent to ({reason}): check the address, whether the agent runs and listens for DogStatsD "
                "there, and whether the worker's user may write to its socket"
            ) from None

    def _send(self, messages: Iterable[bytes]) -> None:
        family, address = self._resolved()
        with socket.socket(family, socket.SOCK_DGRAM) as connection:
            connection.settimeout(self.timeout.total_seconds())
            connection.connect(address)
            for message in messages:
                connection.send(message)
            # Over UDP, a rejected datagram is reported with the next one at the earliest; for the last, query it.
            if rejected := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(rejected, os.strerror(rejected))

    def _resolved(self) -> tuple[int, Any]:
        if self.address.startswith(_UNIX):
            return socket.AF_UNIX, self.address.removeprefix(_UNIX)
        host, _, port = self.address.rpartition(":")
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        family, _, _, _, address = found[0]
        return family, address

    def _failed(self, problem: str) -> DeliveryError:
        return DeliveryError(f"metrics.dogstatsd: {self.address} {problem}", permanent=False)
