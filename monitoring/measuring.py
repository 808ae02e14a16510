"""The use case behind every check's metrics: measure, hand the numbers over, keep them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from monitoring.alerting.values import Trouble
from monitoring.errors import DeliveryError, ServerProblem
from monitoring.logs import get_logger
from monitoring.metrics.measure import Effort
from monitoring.metrics.values import Snapshot
from monitoring.ports import MetricsOutlet, MetricsStore

_log = get_logger(__name__)


@dataclass(frozen=True)
class Measuring:
    """With what a check measures."""

    #: What the check has cost by the time of the call.
    effort: Callable[[], Effort]
    store: MetricsStore
    #: By the setting that names each: ``metrics.pushgateway``.
    outlets: Mapping[str, MetricsOutlet]


def hand_over(
    snapshot: Snapshot, measuring: Measuring, troubles: Mapping[str, Trouble], now: datetime
) -> dict[str, Trouble]:
    """Hand the numbers of a check to every way out, and keep them; no way out is in another's way, or the check's.

    Args:
        snapshot: The numbers.
        measuring: Where they go.
        troubles: What went wrong before, by way out.
        now: The time of the check.

    Returns:
        What goes wrong now.
    """
    try:
        before = measuring.store.load()
    except ServerProblem as problem:
        _log.warning("numbers not read", problem=str(problem))
        before = None
    _log.debug("numbers measured", series=sum(map(len, snapshot.samples.values())))
    failing: dict[str, Trouble] = {}
    for name, outlet in measuring.outlets.items():
        try:
            outlet.publish(snapshot, before)
        except DeliveryError as error:
            _log.warning("numbers not taken", way_out=name, problem=str(error))
            since = troubles[name].since if name in troubles else now
            failing[name] = Trouble(since=since, problem=str(error), permanent=error.permanent)
    try:
        measuring.store.save(snapshot)
    except ServerProblem as problem:
        _log.warning("numbers not kept", problem=str(problem))
    return failing
