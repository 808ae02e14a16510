"""The metrics of a check: measure, save, and publish them to every exporter."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from threading import Thread

from monitoring.config.policy import Policies
from monitoring.errors import CredentialsRefused, DeliveryError, ServerProblem
from monitoring.logs import get_logger
from monitoring.metrics.compatible import added
from monitoring.metrics.measure import Effort, Measurable, measure
from monitoring.metrics.snapshot import Snapshot
from monitoring.model.coverage import Coverage
from monitoring.model.outbox import Trouble
from monitoring.text.durations import format_duration
from monitoring.usecases.ports import Exporter, MetricsStore

_log = get_logger(__name__)


@dataclass(frozen=True)
class Measuring:
    """Where the metrics of a check go."""

    store: MetricsStore
    #: By setting: ``metrics.pushgateway``.
    exporters: Mapping[str, Exporter]
    #: How long a check waits for all of them together.
    timeout: timedelta


def take(known: Measurable, effort: Effort, policies: Policies) -> Snapshot:
    """Measure everything that is configured."""
    facts = known.observation.exporter
    if facts is None:
        return measure(known, effort, policies)
    for query in facts.coverage.missing:
        _log.warning("answer incomplete", query=query.name, outcome=query.outcome, problem=query.detail)
    coverage = Coverage(queries=(*known.coverage.queries, *facts.coverage.queries))
    snapshot = measure(known.model_copy(update={"coverage": coverage}), effort, policies)
    return added(snapshot, facts, policies.config.metrics.compatibility)


def publish(
    snapshot: Snapshot, measuring: Measuring, troubles: Mapping[str, Trouble], now: datetime
) -> dict[str, Trouble]:
    """Save the metrics of a check, and publish them to every exporter. A failing exporter affects nothing else.

    Args:
        snapshot: The metrics.
        measuring: Where they go.
        troubles: The problems of the previous check, by exporter.
        now: The time of the check.

    Returns:
        The problems of this check, by exporter.
    """
    _log.debug("numbers measured", series=sum(map(len, snapshot.samples.values())))
    try:
        measuring.store.save(snapshot)
    except (ServerProblem, CredentialsRefused) as problem:
        _log.warning("numbers not kept", problem=str(problem))
    failing: dict[str, Trouble] = {}
    for name, error in _errors(snapshot, measuring).items():
        _log.warning("numbers not taken", way_out=name, problem=str(error))
        since = troubles[name].since if name in troubles else now
        failing[name] = Trouble(since=since, problem=str(error), permanent=error.permanent)
    return failing


def _errors(snapshot: Snapshot, measuring: Measuring) -> dict[str, DeliveryError]:
    """Publish the metrics to all exporters at once, and return the error of each that fails.

    Our timeouts do not cover an answer that arrives byte by byte, a slow name lookup or a disk that hangs: such an
    exporter is left to a thread that ends with the process.
    """
    attempts = [_Attempt(name, exporter, snapshot) for name, exporter in measuring.exporters.items()]
    for attempt in attempts:
        attempt.start()
    until = time.monotonic() + measuring.timeout.total_seconds()
    for attempt in attempts:
        attempt.join(max(0.0, until - time.monotonic()))
    late = f"did not accept the metrics within {format_duration(measuring.timeout)}: check that it works"
    return {
        attempt.exporter: attempt.error or DeliveryError(f"{attempt.exporter}: {late}", permanent=False)
        for attempt in attempts
        if attempt.error or attempt.is_alive()
    }


class _Attempt(Thread):
    """Publishes the metrics to one exporter."""

    def __init__(self, name: str, exporter: Exporter, snapshot: Snapshot) -> None:
        super().__init__(daemon=True)
        self.exporter = name
        self.error: DeliveryError | None = None
        self._publish = partial(exporter.publish, snapshot)

    def run(self) -> None:
        try:
            self._publish()
        except DeliveryError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a bug here must not pass for a success, or end the check
            fault = f"{self.exporter}: a fault of the watchdog ({type(error).__name__}): please report it"
            self.error = DeliveryError(fault, permanent=False)
