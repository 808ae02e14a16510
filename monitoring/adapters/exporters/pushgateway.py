"""Pushes to a Prometheus Pushgateway (https://github.com/prometheus/pushgateway#put-method).

A push replaces all that was pushed for the same ``job`` and ``target``: what is not measured any more is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from http.client import HTTPException
from urllib.error import HTTPError

from prometheus_client import push_to_gateway

from monitoring.errors import DeliveryError
from monitoring.metrics.catalog import METRICS, TARGET
from monitoring.metrics.openmetrics import Families
from monitoring.metrics.snapshot import Metric, Snapshot
from monitoring.text.durations import format_duration
from monitoring.text.escaping import clean

JOB = "prefect_watchdog"

#: Refusals that pass: too slow, too many requests.
_PASSING = {408, 429}


class Pushgateway:
    """A Pushgateway behind an address."""

    def __init__(self, address: str, timeout: timedelta, definitions: Iterable[Metric] = METRICS) -> None:
        """Prepare to push; nothing is sent yet.

        Args:
            address: The gateway's address, without ``/metrics``. Errors show it.
            timeout: The longest wait for an answer.
            definitions: The metrics that are pushed.
        """
        self._address = address
        self._timeout = timeout
        self._definitions = definitions

    def publish(self, snapshot: Snapshot) -> None:
        """Push, once: the next check pushes again.

        Raises:
            DeliveryError: The gateway did not take them.
        """
        try:
            push_to_gateway(
                self._address,
                JOB,
                Families(snapshot, self._definitions),
                grouping_key={TARGET: snapshot.target},
                timeout=self._timeout.total_seconds(),
            )
        except HTTPError as error:
            with error:
                raise self._refused(error) from None
        except (OSError, HTTPException, ValueError, OverflowError) as error:
            # What cannot be an address is one of the latter two, and what goes wrong before the answer comes wrapped.
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise self._failed(
                    f"does not answer within {format_duration(self._timeout)}: check the address and the network, look "
                    "at the gateway, or raise metrics.timeout"
                ) from None
            raise self._failed(
                f"cannot be reached ({_said(reason)}): check the address, and whether the gateway runs"
            ) from None

    def _refused(self, error: HTTPError) -> DeliveryError:
        try:
            answer = clean(error.read(2_000).decode(errors="replace"), 300)
        except (OSError, HTTPException):
            answer = ""
        passing = error.code >= 500 or error.code in _PASSING
        return self._failed(
            f"refuses (status {error.code}{f': {answer}' if answer else ''}): check that a Pushgateway is there, "
            "and look at its log",
            permanent=not passing,
        )

    def _failed(self, what: str, *, permanent: bool = False) -> DeliveryError:
        return DeliveryError(f"metrics.pushgateway: {self._address} {what}", permanent=permanent)


def _said(reason: object) -> str:
    said = getattr(reason, "strerror", None) or type(reason).__name__
    return clean(str(said), 100)
