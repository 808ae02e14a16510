"""Turns the observation and saved state of a check into samples of the metrics in the catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import accumulate

from monitoring.checks.facts.cases import full_name
from monitoring.checks.facts.causes import Causes
from monitoring.checks.facts.run_times import bound
from monitoring.checks.facts.waiting import due_time
from monitoring.checks.slow import CHECK as SLOW
from monitoring.config.alert_settings import DEFAULT_ROUTE, FALLBACK_ROUTE
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.history.baselines import typical
from monitoring.history.counts import buckets_of
from monitoring.metrics import catalog
from monitoring.metrics.snapshot import Distribution, Metric, Sample, Snapshot
from monitoring.model.base import Value
from monitoring.model.coverage import Coverage
from monitoring.model.finding import Finding
from monitoring.model.incident import Incidents
from monitoring.model.ledger import Counts, Ledger
from monitoring.model.observation import Observation
from monitoring.model.outbox import Outbox, Tally
from monitoring.model.policy import policy_key
from monitoring.model.prefect import TERMINAL, FlowRun

_Row = tuple[Metric, tuple[str, ...], float | Distribution]
#: Series of one deployment that are dropped together: a part of its runs would look like all.
_TOGETHER = {catalog.RUNS.name: len(TERMINAL)}


class Effort(Value):
    """The effort of a check so far."""

    #: Requests sent to the Prefect server.
    requests: int
    took: timedelta


class Measurable(Value):
    """The values from which a check measures."""

    observation: Observation
    ledger: Ledger
    incidents: Incidents
    outbox: Outbox
    #: Of the observation and the saved state.
    coverage: Coverage


def measure(known: Measurable, effort: Effort, policies: Policies) -> Snapshot:
    """Measure everything that was observed."""
    seen = known.observation
    rows = [
        *_of_the_watchdog(known, effort, policies.config),
        (catalog.SERVER_UP, (), float(seen.server.state.problem is None)),
    ]
    if seen.server.state.problem is None:
        rows += _of_the_server(seen)
        rows += _of_deployments(seen, known.ledger, policies)
        rows += _of_work_pools(seen)
        rows += _of_limits(seen)
    by_name: dict[str, list[Sample]] = {}
    for metric, labels, value in rows:
        by_name.setdefault(metric.name, []).append(Sample(labels=labels, value=value))
    return Snapshot(
        target=seen.target,
        at=seen.at,
        samples=capped(by_name, policies.config.metrics.most_series, catalog.SERIES_DROPPED),
    )


def capped(samples: Mapping[str, Iterable[Sample]], most: int, dropped: Metric) -> dict[str, tuple[Sample, ...]]:
    """Drop the series of each metric beyond ``most``, always the same ones, and count them in the metric ``dropped``.

    A histogram counts as one series, however many buckets it has.
    """
    kept: dict[str, tuple[Sample, ...]] = {}
    left_out: list[Sample] = []
    for name, found in samples.items():
        ordered = sorted(found, key=lambda sample: sample.labels)
        stay = most - most % _TOGETHER.get(name, 1) if len(ordered) > most else len(ordered)
        kept[name] = tuple(ordered[:stay])
        if len(ordered) > stay:
            left_out.append(Sample(labels=(name,), value=float(len(ordered) - stay)))
    return {**kept, dropped.name: tuple(left_out)} if left_out else kept


def _of_the_watchdog(known: Measurable, effort: Effort, config: Config) -> Iterator[_Row]:
    yield catalog.LAST_CHECK, (), known.observation.at.timestamp()
    if known.ledger.complete_at:
        yield catalog.LAST_COMPLETE_CHECK, (), known.ledger.complete_at.timestamp()
    yield catalog.CHECK_DURATION, (), effort.took.total_seconds()
    yield catalog.CHECK_REQUESTS, (), float(effort.requests)
    outcomes = Counter(query.outcome for query in known.coverage.queries)
    for outcome in ("complete", "partial", "failed"):
        yield catalog.CHECK_QUERIES, (outcome,), float(outcomes[outcome])
    fallback = [FALLBACK_ROUTE] if config.alerts.fallback.kind else []
    # From 0 on, as a series that begins with 1 shows no increase.
    routes = [DEFAULT_ROUTE, *(route.name for route in config.routes), *fallback, *known.outbox.tallies]
    for route in dict.fromkeys(routes):
        tally = known.outbox.tallies.get(route, Tally())
        yield catalog.ALERTS_SENT, (route,), float(tally.sent)
        yield catalog.ALERT_FAILURES, (route,), float(tally.failed)
    firing = Counter(
        (incident.finding.check, incident.finding.severity, _deployment_of(incident.finding))
        for incident in known.incidents.open.values()
        if incident.firing
    )
    for labels, number in firing.items():
        yield catalog.INCIDENTS, labels, float(number)


def _deployment_of(finding: Finding) -> str:
    """The deployment's name, or the flow's name for runs without a deployment, as in the other metrics."""
    return finding.deployment or (finding.subject.name if finding.subject.kind == "flow" else "")


def _of_the_server(seen: Observation) -> Iterator[_Row]:
    if seen.server.vitals.answer_time is not None:
        yield catalog.SERVER_ANSWER, (), seen.server.vitals.answer_time.total_seconds()
    if seen.own.planned_at:
        yield catalog.SCHEDULER_AGE, (), max(0.0, (seen.at - seen.own.planned_at).total_seconds())


def _of_deployments(seen: Observation, ledger: Ledger, policies: Policies) -> Iterator[_Row]:
    due = _oldest_due(seen, lambda run: run.key)
    for key, deployment in seen.deployments.items():
        policy = policies.of(*policy_key(deployment))
        if not policy.watch:
            continue
        record, labels = ledger.record(key), (deployment.name,)
        if record.last_success:
            yield catalog.LAST_SUCCESS, labels, record.last_success.ended.timestamp()
        for state in sorted(TERMINAL):
            yield catalog.RUNS, (deployment.name, state.lower()), float(record.counts.ends.get(state, 0))
        yield catalog.RUN_TIME, labels, distribution(record.counts)
        usual = typical(record.run_times)
        if usual is not None:
            yield catalog.USUAL_RUN_TIME, labels, usual.total_seconds()
        may = bound(record.run_times, SLOW.settings(policy))
        if may:
            yield catalog.RUN_TIME_LIMIT, labels, may.limit.total_seconds()
        if seen.coverage.has("due-runs"):
            yield catalog.LATENESS, labels, (seen.at - due.get(key, seen.at)).total_seconds()


def _of_work_pools(seen: Observation) -> Iterator[_Row]:
    # No worker takes a run that its own process retries.
    waiting = Counter(run.work_pool for run, _ in _overdue(seen) if not run.retries_in_process)
    due = _oldest_due(seen, lambda run: None if run.retries_in_process else run.work_pool)
    for name, pool in seen.pools.work_pools.items():
        if pool.live_workers is not None:
            yield catalog.LIVE_WORKERS, (name,), float(pool.live_workers)
        yield catalog.POOL_PAUSED, (name,), float(pool.paused)
        if seen.coverage.has("due-runs"):
            yield catalog.BACKLOG, (name,), float(waiting[name])
            if name in due:
                yield catalog.OLDEST_DUE, (name,), due[name].timestamp()


def _of_limits(seen: Observation) -> Iterator[_Row]:
    waiting = _waiting(seen)
    slots: dict[tuple[str, str], tuple[int | None, int | None]] = {}
    for known in seen.limits.slots:
        slots[known.kind, known.name] = (known.limit, known.taken)
    for full in seen.limits.full:
        slots[full.kind, full.name] = (full.limit, full.taken)
    for deployment in seen.deployments.values():
        slots["deployment", deployment.name] = (deployment.concurrency_limit, deployment.slots_taken)
    for pool in seen.pools.work_pools.values():
        slots["work-pool", pool.name] = (pool.concurrency_limit, pool.slots_taken)
        for queue in pool.queues:
            slots["work-queue", full_name(pool, queue)] = (queue.concurrency_limit, queue.slots_taken)
    for labels, (limit, taken) in slots.items():
        if limit is None:
            continue
        yield catalog.LIMIT_SLOTS, labels, float(limit)
        if taken is not None:
            yield catalog.LIMIT_SLOTS_USED, labels, float(taken)
        if _shows_who_waits(seen, *labels, full=taken is not None and taken >= limit):
            yield catalog.LIMIT_WAITING, labels, float(waiting[labels])


def _shows_who_waits(seen: Observation, kind: str, name: str, *, full: bool) -> bool:
    """Whether the observation shows which runs wait for a slot of a limit; for a global limit, it never does."""
    if kind == "global-concurrency-limit":
        return False
    if kind != "tag":
        return seen.coverage.has("due-runs")
    looked_into = any((limit.kind, limit.name) == (kind, name) for limit in seen.limits.full)
    return not full or (looked_into and seen.coverage.has("limit-waiters"))


def _waiting(seen: Observation) -> Counter[tuple[str, str]]:
    """How many runs wait for a slot, by the limit's kind and name."""
    causes = Causes(seen)
    waiting: Counter[tuple[str, str]] = Counter()
    for limit in seen.limits.full:
        waiting[limit.kind, limit.name] += len(limit.waiting)
    for run, _ in _overdue(seen):
        deployment = seen.deployments.get(run.key)
        cause = causes.of_run(deployment, run) if deployment else None
        if cause and cause.reason == "limit-reached":
            waiting[cause.kind, cause.name] += 1
    return waiting


def _overdue(seen: Observation) -> Iterator[tuple[FlowRun, datetime]]:
    """The runs that are due and have not started, with their due times."""
    for run in seen.runs.active:
        due = due_time(seen, run) if run.state_type == "SCHEDULED" else None
        if due and due <= seen.at:
            yield run, due


def _oldest_due(seen: Observation, key: Callable[[FlowRun], str | None]) -> dict[str | None, datetime]:
    oldest: dict[str | None, datetime] = {}
    for run, due in _overdue(seen):
        oldest[key(run)] = min(due, oldest.get(key(run), due))
    return oldest


def distribution(counts: Counts) -> Distribution:
    """The run times of all counted completed runs, in seconds."""
    return Distribution(cumulative=tuple(accumulate(buckets_of(counts))), sum=counts.run_time)
