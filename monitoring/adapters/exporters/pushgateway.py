"""Pushes to a Prometheus Pushgateway (https://github.com/prometheus/pushgateway#put-method).

A push replaces all earlier metrics of the same ``job`` and ``target``, so series that are no longer measured disappear.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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

#: Temporary rejections: request timeout, too many requests.
_TEMPORARY = {408, 429}


@dataclass
class Pushgateway:
    """A Pushgateway behind an address."""

    #: Without ``/metrics``. Errors contain it.
    address: str
    #: The longest wait for an answer.
    timeout: timedelta
    definitions: Iterable[Metric] = METRICS

    def publish(self, snapshot: Snapshot) -> None:
        """Push once, without retries: the next check pushes again."""
        try:
            push_to_gateway(
                self.address,
                JOB,
                Families(snapshot, self.definitions),
                grouping_key={TARGET: snapshot.target},
                timeout=self.timeout.total_seconds(),
            )
        except HTTPError as error:
            with error:
                raise self._rejected(error) from None
        except (OSError, HTTPException, ValueError, OverflowError) as error:
            # An invalid address raises one of the latter two; errors before the answer are wrapped.
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise self._failed(
                    f"did not answer within {format_duration(self.timeout)}: check the address, the network and the "
                    "gateway, or raise metrics.timeout"
                ) from None
            text = clean(str(getattr(reason, "strerror", None) or type(reason).__name__), 100)
            raise self._failed(f"cannot be reached ({text}): check the address, and whether the gateway runs") from None

    def _rejected(self, error: HTTPError) -> DeliveryError:
        try:
            answer = clean(error.read(2_000).decode(errors="replace"), 300)
        except (OSError, HTTPException):
            answer = ""
        temporary = error.code >= 500 or error.code in _TEMPORARY
        return self._failed(
            f"rejects the metrics (status {error.code}{f': {answer}' if answer else ''}): check that a Pushgateway is "
            "there, and see its log",
            permanent=not temporary,
        )

    def _failed(self, problem: str, *, permanent: bool = False) -> DeliveryError:
        return DeliveryError(f"metrics.pushgateway: {self.address} {problem}", permanent=permanent)
