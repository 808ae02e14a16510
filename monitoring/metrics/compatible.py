"""The metrics of Prefect's own exporter, by the same names and with the same labels: see docs/metrics-compatibility.md.

Source of names, labels and meanings: https://github.com/PrefectHQ/prometheus-prefect-exporter, ``metrics/metrics.py``.
All are gauges there, even the names that end in ``_total``, and so they are here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sized
from datetime import datetime, timedelta
from itertools import chain
from typing import NamedTuple

from monitoring.config.metric_settings import Compatibility
from monitoring.metrics.catalog import SERIES_DROPPED
from monitoring.metrics.measure import capped
from monitoring.metrics.snapshot import Metric, Sample, Snapshot
from monitoring.model.exporter_facts import (
    DEPLOYMENTS,
    ENDED,
    FAILED,
    FLOWS,
    LATE,
    ONGOING,
    POOLS,
    QUEUES,
    STARTED,
    ExporterFacts,
    Queue,
)
from monitoring.model.prefect import FlowRun

#: When a work queue is healthy: the same for all work queues (prefect/server/models/work_queues.py,
#: ``read_work_queue_status``), and how that is decided (prefect/server/schemas/core.py, ``WorkQueueHealthPolicy``).
MAX_LATE_RUNS = 0
MAX_SINCE_POLLED = timedelta(seconds=60)

#: The value of a label if the named object is unknown, and if Prefect leaves a field empty.
_NOTHING, _EMPTY = "null", "None"

_Row = tuple[tuple[str, ...], float]


def compatible(facts: ExporterFacts, settings: Compatibility, now: datetime) -> Mapping[str, tuple[Sample, ...]]:
    """Measure everything that was read completely, by the metric's name; other metrics are left out.

    Samples with the same labels are merged into their sum. The number of dropped series is in the watchdog's own
    metric.
    """
    known = _Known(facts, settings, now)
    samples = {}
    for metric, queries, rows in _MEASURED:
        if facts.coverage.has(*queries):
            sums: dict[tuple[str, ...], float] = {}
            for labels, value in rows(known):
                sums[labels] = sums.get(labels, 0.0) + value
            samples[metric.name] = [Sample(labels=labels, value=value) for labels, value in sums.items()]
    return capped({name: found for name, found in samples.items() if found}, settings.most_series, SERIES_DROPPED)


def added(snapshot: Snapshot, facts: ExporterFacts, settings: Compatibility) -> Snapshot:
    """Add these metrics to the snapshot of a check; the arguments are those of ``compatible``."""
    found = dict(compatible(facts, settings, snapshot.at))
    dropped = (*snapshot.samples.get(SERIES_DROPPED.name, ()), *found.pop(SERIES_DROPPED.name, ()))
    both = {**snapshot.samples, **found, **({SERIES_DROPPED.name: dropped} if dropped else {})}
    return snapshot.model_copy(update={"samples": both})


class _Known:
    """Facts, with the names that labels need."""

    def __init__(self, facts: ExporterFacts, settings: Compatibility, now: datetime) -> None:
        self.facts = facts
        self.settings = settings
        self.now = now
        self._deployments = {deployment.id: deployment.name for deployment in facts.deployments}

    def flow(self, flow_id: str) -> str:
        return self.facts.flows.get(flow_id, _NOTHING)

    def names(self, run: FlowRun) -> tuple[str, str]:
        """The names of a run's deployment and of its flow."""
        return self._deployments.get(run.deployment_id or "", _NOTHING), self.flow(run.flow_id)


def _deployments(known: _Known) -> Iterator[_Row]:
    for deployment in known.facts.deployments:
        yield (
            (
                known.flow(deployment.flow_id),
                str(not deployment.paused),
                deployment.name,
                _text(deployment.path),
                str(deployment.paused),
                _text(deployment.work_pool),
                _text(deployment.work_queue),
                _text(deployment.status),
                ",".join(sorted(deployment.tags)),
            ),
            1,
        )


def _flows(known: _Known) -> Iterator[_Row]:
    return (((name,), 1) for name in known.facts.flows.values())


def _run_times(known: _Known) -> Iterator[_Row]:
    return (((known.flow(run.flow_id),), run.total_run_time.total_seconds()) for run in known.facts.ended)


def _ongoing(known: _Known) -> Iterator[_Row]:
    for run in known.facts.ongoing:
        if run.start_time:
            # Another machine's clock may be ahead of ours.
            seconds = max(0.0, (known.now - run.start_time).total_seconds())
            yield (*known.names(run), run.state_name, run.id), seconds


def _flow_runs(known: _Known) -> Iterator[_Row]:
    return (((*known.names(run), run.state_name, _text(run.work_queue)), 1) for run in known.facts.started)


def _failed(known: _Known) -> Iterator[_Row]:
    named: Counter[tuple[str | None, str]] = Counter()
    for run in sorted(known.facts.failed, key=lambda run: (_begun(run), run.id), reverse=True):
        of = run.deployment_id, run.state_name
        named[of] += 1
        if named[of] <= known.settings.failed_runs:
            yield (*known.names(run), run.id, run.state_name), 1


def _begun(run: FlowRun) -> datetime:
    """When a run began, or should have."""
    return run.start_time or run.expected_start_time or run.created


def _pools(known: _Known) -> Iterator[_Row]:
    for pool in known.facts.pools:
        yield (str(pool.paused), pool.name, pool.type, _text(pool.status)), 0 if pool.paused else 1


def _queues(known: _Known) -> Iterator[_Row]:
    return ((_queue(known, queue), 0 if queue.paused else 1) for queue in known.facts.queues)


def _late(known: _Known) -> Iterator[_Row]:
    return ((_queue(known, queue), queue.late) for queue in known.facts.queues)


def _queue(known: _Known, queue: Queue) -> tuple[str, ...]:
    polled = queue.last_polled is not None and known.now - queue.last_polled <= MAX_SINCE_POLLED
    return (
        str(queue.paused),
        queue.name,
        str(queue.priority),
        # A work queue has no type; the label exists only for compatibility.
        _NOTHING,
        _text(queue.work_pool),
        _text(queue.status),
        str(polled and queue.late <= MAX_LATE_RUNS),
        str(MAX_LATE_RUNS),
        str(int(MAX_SINCE_POLLED.total_seconds())),
    )


def _text(field: str | None) -> str:
    """The text of a field that may be missing; an empty text is not missing."""
    return _EMPTY if field is None else field


def _count(what: Callable[[ExporterFacts], Sized]) -> Callable[[_Known], Iterator[_Row]]:
    return lambda known: iter([((), len(what(known.facts)))])


class _Measured(NamedTuple):
    """A metric, the queries that it needs, and the function that makes its rows."""

    metric: Metric
    queries: tuple[str, ...]
    rows: Callable[[_Known], Iterator[_Row]]


def _measured(
    name: str, help_: str, queries: tuple[str, ...], rows: Callable[[_Known], Iterator[_Row]], labels: str = ""
) -> _Measured:
    return _Measured(Metric(name=name, kind="gauge", help=help_, labels=tuple(labels.split())), queries, rows)


_NAMES = (FLOWS, DEPLOYMENTS)
_QUEUE_LABELS = (
    "is_paused work_queue_name priority type work_pool_name status healthy health_check_policy_maximum_late_runs "
    "health_check_policy_maximum_seconds_since_last_polled"
)
_MEASURED: tuple[_Measured, ...] = (
    _measured(
        "prefect_deployments_total", "Number of deployments.", (DEPLOYMENTS,), _count(lambda facts: facts.deployments)
    ),
    _measured(
        "prefect_info_deployment",
        "1 for each deployment.",
        _NAMES,
        _deployments,
        "flow_name is_schedule_active deployment_name path paused work_pool_name work_queue_name status tags",
    ),
    _measured("prefect_flows_total", "Number of flows.", (FLOWS,), _count(lambda facts: facts.flows)),
    _measured("prefect_info_flows", "1 for each flow.", (FLOWS,), _flows, "flow_name"),
    _measured(
        "prefect_flow_runs_total",
        "Number of flow runs that ended in the window.",
        (ENDED,),
        _count(lambda facts: facts.ended),
    ),
    _measured(
        "prefect_flow_runs_total_run_time",
        "Run time, in seconds, of a flow's runs that ended in the window.",
        (FLOWS, ENDED),
        _run_times,
        "flow_name",
    ),
    _measured(
        "prefect_flow_runs_ongoing_run_time",
        "Seconds since the start of a flow run that has not ended.",
        (*_NAMES, ONGOING),
        _ongoing,
        "deployment_name flow_name state_name flow_run_id",
    ),
    _measured(
        "prefect_info_flow_runs",
        "Number of flow runs that began in the window or are planned for later.",
        (*_NAMES, STARTED),
        _flow_runs,
        "deployment_name flow_name state_name work_queue_name",
    ),
    _measured(
        "prefect_deployment_failed_flow_runs",
        "1 for each of the newest flow runs of a deployment that failed or crashed.",
        (*_NAMES, FAILED),
        _failed,
        "deployment_name flow_name last_failed_run_id state_name",
    ),
    _measured("prefect_work_pools_total", "Number of work pools.", (POOLS,), _count(lambda facts: facts.pools)),
    _measured(
        "prefect_info_work_pools",
        "1 for each work pool, 0 if it is paused.",
        (POOLS,),
        _pools,
        "is_paused work_pool_name type status",
    ),
    _measured("prefect_work_queues_total", "Number of work queues.", (QUEUES,), _count(lambda facts: facts.queues)),
    _measured(
        "prefect_info_work_queues",
        "1 for each work queue, 0 if it is paused.",
        (QUEUES, LATE),
        _queues,
        _QUEUE_LABELS,
    ),
    _measured(
        "prefect_work_queues_late_runs_count",
        "Number of late flow runs of a work queue.",
        (QUEUES, LATE),
        _late,
        _QUEUE_LABELS,
    ),
)
METRICS: tuple[Metric, ...] = tuple(measured.metric for measured in _MEASURED)
#: Every query that a metric needs.
QUERIES: frozenset[str] = frozenset(chain.from_iterable(measured.queries for measured in _MEASURED))
