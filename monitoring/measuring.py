"""The use case behind every check's metrics: measure, hand the numbers over, keep them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from monitoring.alerting.values import Trouble
from monitoring.errors import DeliveryError, ServerProblem
from monitoring.logs import get_logger
from monitoring.metrics.compatible import Facts, added
from monitoring.metrics.measure import Effort, Measurable, measure
from monitoring.metrics.values import Snapshot
from monitoring.policy import Policies
from monitoring.ports import MetricsOutlet, MetricsStore

_log = get_logger(__name__)


@dataclass(frozen=True)
class Measuring:
    """With what a check measures."""

    #: What the check has cost by the time of the call.
    effort: Callable[[], Effort]
    #: Collects what the metrics of Prefect's own exporter are made of; None where nobody wants them.
    facts: Callable[[], Facts] | None
    store: MetricsStore
    #: By the setting that names each: ``metrics.pushgateway``.
    outlets: Mapping[str, MetricsOutlet]


def take(known: Measurable, measuring: Measuring, policies: Policies) -> Snapshot:
    """Measure everything that is wanted.

    Args:
        known: What the check knows.
        measuring: With what it measures.
        policies: How many series there may be, and what is usual for each deployment.
    """
    snapshot = measure(known, policies)
    if measuring.facts:
        snapshot = added(snapshot, measuring.facts(), policies.config.metrics.compatibility)
    return snapshot


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
