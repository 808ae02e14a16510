"""The use case behind every check's metrics: measure, hand the numbers over, keep them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from monitoring.usecases.ports import MetricsOutlet, MetricsStore

_log = get_logger(__name__)


@dataclass(frozen=True)
class Measuring:
    """With what a check measures."""

    store: MetricsStore
    #: By the setting that names each: ``metrics.pushgateway``.
    outlets: Mapping[str, MetricsOutlet]
    #: The longest that a check waits for all of them.
    patience: timedelta


def take(known: Measurable, effort: Effort, policies: Policies) -> Snapshot:
    """Measure everything that is wanted.

    Args:
        known: What the check knows.
        effort: What the check has cost.
        policies: How many series there may be, and what is usual for each deployment.
    """
    facts = known.observation.exporter
    if facts is None:
        return measure(known, effort, policies)
    for query in facts.coverage.missing:
        _log.warning("answer incomplete", query=query.name, outcome=query.outcome, problem=query.detail)
    asked = Coverage(queries=(*known.coverage.queries, *facts.coverage.queries))
    snapshot = measure(known.model_copy(update={"coverage": asked}), effort, policies)
    return added(snapshot, facts, policies.config.metrics.compatibility)


def hand_over(
    snapshot: Snapshot, measuring: Measuring, troubles: Mapping[str, Trouble], now: datetime
) -> dict[str, Trouble]:
    """Keep the numbers of a check, and hand them to every way out; none is in another's way, or the check's.

    Args:
        snapshot: The numbers.
        measuring: Where they go.
        troubles: What went wrong before, by way out.
        now: The time of the check.

    Returns:
        What goes wrong now.
    """
    _log.debug("numbers measured", series=sum(map(len, snapshot.samples.values())))
    try:
        measuring.store.save(snapshot)
    except (ServerProblem, CredentialsRefused) as problem:
        _log.warning("numbers not kept", problem=str(problem))
    failing: dict[str, Trouble] = {}
    for name, error in _published(snapshot, measuring).items():
        _log.warning("numbers not taken", way_out=name, problem=str(error))
        since = troubles[name].since if name in troubles else now
        failing[name] = Trouble(since=since, problem=str(error), permanent=error.permanent)
    return failing


def _published(snapshot: Snapshot, measuring: Measuring) -> dict[str, DeliveryError]:
    """Hand the numbers to all ways out at once; what each says against it.

    A receiver that sends its answer byte by byte, a name that is not resolved and a disk that hangs know no time-out
    of ours: they are left to a thread that ends with the process.
    """
    tries = [_Try(name, outlet, snapshot) for name, outlet in measuring.outlets.items()]
    for one in tries:
        one.start()
    until = time.monotonic() + measuring.patience.total_seconds()
    for one in tries:
        one.join(max(0.0, until - time.monotonic()))
    late = f"does not take the numbers within {format_duration(measuring.patience)}: look at it"
    return {
        one.way_out: one.error or DeliveryError(f"{one.way_out}: {late}", permanent=False)
        for one in tries
        if one.error or one.is_alive()
    }


class _Try(Thread):
    """Hands the numbers to one way out."""

    def __init__(self, way_out: str, outlet: MetricsOutlet, snapshot: Snapshot) -> None:
        super().__init__(daemon=True)
        self.way_out = way_out
        self.error: DeliveryError | None = None
        self._outlet = outlet
        self._snapshot = snapshot

    def run(self) -> None:
        try:
            self._outlet.publish(self._snapshot)
        except DeliveryError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a fault of ours here must not pass for a success, or end the check
            fault = f"{self.way_out}: a fault of the watchdog ({type(error).__name__}): please report it"
            self.error = DeliveryError(fault, permanent=False)
