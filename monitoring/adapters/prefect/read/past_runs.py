"""Reads the history for a backtest: when runs were due, started and ended, a day at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read import runs
from monitoring.adapters.prefect.read import work_pools as places
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.rows import Row
from monitoring.adapters.prefect.read.schedules import due_between, newest_due
from monitoring.checks.stale import CHECK as STALE
from monitoring.checks.stale import Stale
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.errors import BadAnswer
from monitoring.history.baselines import coarse
from monitoring.model.ledger import Ledger
from monitoring.model.observation import ServerState
from monitoring.model.policy import policy_key
from monitoring.model.prefect import Deployment, FlowRun
from monitoring.tuning.backtest import WARM_UP, History, PastRun, past_run

#: This many runs, of about 1 KB each, fit into the memory of a laptop; older runs are not read, and a gap is reported.
MAX_RUNS = 500_000
_DAY = timedelta(days=1)
#: A run may take its usual time before it is missed; of longer runs, due times from before the replay are ignored.
_MAX_RUN_TIME = 7 * _DAY
_CANDIDATES = 1_000
#: Without these queries nothing can be replayed.
_NEEDED = ("flows", "deployments", "active-runs", "due-runs")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class DaysRead:
    """How much has been read."""

    days: int
    of: int
    runs: int


def read_history(
    api: Api,
    config: Config,
    redact: Callable[[str], str],
    configurations: Sequence[Policies],
    now: datetime,
    days: int,
    report: Callable[[DaysRead], None] = lambda progress: None,
) -> History:
    """Read the runs of the last days that the server still has; one more day is read, as by a first check.

    The configurations that will judge the history name what matters before it. ``report`` is called before and after
    each day that is read.

    Raises:
        ServerProblem: Something that every replay needs could not be read.
        CredentialsRefused: The server rejects the key.
    """
    collection = Collection(api, config, redact, now, configurations[0])
    own = places.own_flows(collection)
    deployed = places.deployments(collection, Ledger())
    kept = _Kept(own, now)
    kept.add([*runs.active(collection), *runs.overdue(collection)])
    for query in collection.coverage.missing:
        if query.name in _NEEDED:
            raise BadAnswer(f"nothing can be replayed without all {query.name.replace('-', ' ')}: {query.detail}")
    since, gaps = _read_ended(collection, kept, days, report)
    deployments = {key: found for key, found in deployed.deployments.items() if found.flow_id not in own}
    if config.target.runs_without_deployment:
        deployments |= places.flows_without_deployment(collection, kept.loose, Ledger(), deployed.names)
    scheduled, unread = _scheduled_times(deployments, deployed.schedules, kept.by_key, configurations, since, now)
    successes, unasked = _last_successes(collection, deployments, kept.by_key, scheduled, configurations, since)
    oldest = runs.oldest_success(collection)
    if oldest and oldest > since:
        gaps = (
            *gaps,
            f"the server has no success from before {oldest:%Y-%m-%d %H:%M} UTC: earlier days show too little",
        )
    return History(
        target=config.target.name,
        server=ServerState(api_url=api.url, ui_url=api.ui_url),
        since=since,
        until=now,
        deployments=deployments,
        runs={key: found for key, found in kept.by_key.items() if key in deployments},
        scheduled_times=scheduled,
        last_success=successes,
        oldest=oldest,
        gaps=(*gaps, *unread, *unasked),
    )


@dataclass
class _Kept:
    """The runs that can be replayed, by key."""

    own_flows: frozenset[str]
    now: datetime
    by_key: dict[str, list[PastRun]] = field(default_factory=dict)
    #: For each flow, a run without a deployment.
    loose: list[FlowRun] = field(default_factory=list)

    def add(self, found: Iterable[FlowRun]) -> None:
        """Keep runs, without the watchdog's own."""
        for run in found:
            if run.flow_id in self.own_flows:
                continue
            if run.deployment_id is None and run.key not in self.by_key:
                self.loose.append(run)
            self.by_key.setdefault(run.key, []).append(past_run(run, self.now))


def _read_ended(
    collection: Collection, kept: _Kept, days: int, report: Callable[[DaysRead], None]
) -> tuple[datetime, tuple[str, ...]]:
    """Keep the runs that ended, a day at a time, newest first, up to the first day that cannot be read completely.

    Returns:
        The first time that can be judged, and what is missing, in words.
    """
    wanted = days + WARM_UP // _DAY
    now = known = end = kept.now
    count = 0
    gaps: tuple[str, ...] = ()
    for day in range(wanted):
        report(DaysRead(day, wanted, count))
        if count > MAX_RUNS:
            gaps = (f"more than {MAX_RUNS:,} runs ended in the last {day} days: nothing before that was read",)
            break
        start = now - (day + 1) * _DAY
        found = runs.ended(collection, start, end)
        if not collection.coverage.has("ended-runs"):
            detail = next(query.detail for query in collection.coverage.missing if query.name == "ended-runs")
            gaps = (f"runs that ended before {known:%Y-%m-%d %H:%M} UTC could not be read whole: {detail}",)
            break
        kept.add(found)
        known, end, count = start, start - _MICROSECOND, count + len(found)
    since = known + WARM_UP
    if since >= now:
        raise BadAnswer("; ".join(gaps) + ": there is no whole day to replay")
    report(DaysRead(wanted, wanted, count))
    return since, gaps


def _scheduled_times(
    deployments: Mapping[str, Deployment],
    schedules: Mapping[str, Sequence[Row]],
    by_key: Mapping[str, Sequence[PastRun]],
    configurations: Sequence[Policies],
    since: datetime,
    until: datetime,
) -> tuple[dict[str, tuple[datetime, ...]], tuple[str, ...]]:
    """The due times of each deployment, from as long before ``since`` as its freshness at that time needs."""
    found: dict[str, tuple[datetime, ...]] = {}
    unread = []
    for key, rows in schedules.items():
        stale = [_stale(policies, deployments[key]) for policies in configurations] if key in deployments else []
        judged = [policy for policy in stale if policy.enabled and policy.within is None]
        if not judged or not rows:
            continue
        # In whole days: deployments that share a schedule then share its dates.
        longest = max((run.run_time for run in by_key.get(key, ())), default=timedelta(0))
        usual = min(_MAX_RUN_TIME, -(-coarse(longest) // _DAY) * _DAY)
        try:
            before = (
                newest_due(rows, until=since - usual - policy.grace, count=policy.missed_fires)[:1] or (since,)
                for policy in judged
            )
            found[key] = _all_due(rows, min(first for (first,) in before) - _MICROSECOND, until)
        except ValueError as problem:
            unread.append(f"{deployments[key].name}: {problem}; its freshness was not judged")
    return found, tuple(unread)


def _all_due(rows: Sequence[Row], after: datetime, until: datetime) -> tuple[datetime, ...]:
    dates: list[datetime] = []
    while batch := due_between(rows, after=after, until=until, limit=_CANDIDATES):
        dates += batch
        if len(batch) < _CANDIDATES:
            break
        after = batch[-1]
    return tuple(dates)


def _last_successes(
    collection: Collection,
    deployments: Mapping[str, Deployment],
    by_key: Mapping[str, Sequence[PastRun]],
    scheduled: Mapping[str, Sequence[datetime]],
    configurations: Sequence[Policies],
    since: datetime,
) -> tuple[dict[str, FlowRun | None], tuple[str, ...]]:
    """The newest success before the runs that were read, for deployments whose freshness at ``since`` depends on it."""
    wanted = []
    for key, deployment in deployments.items():
        stale = [_stale(policies, deployment) for policies in configurations]
        judged = any(policy.enabled and (policy.within or key in scheduled) for policy in stale)
        known = any(run.state_type == "COMPLETED" and run.ended and run.ended <= since for run in by_key.get(key, ()))
        if judged and not known and deployment.kind == "deployment" and not deployment.paused:
            wanted.append(deployment)
    found = runs.newest_successes(collection, wanted, since - WARM_UP)
    unknown = len(wanted) - len(found)
    gaps = (f"the last success before {since:%Y-%m-%d %H:%M} UTC of {unknown:,} deployments was not asked for",)
    return found, gaps if unknown else ()


def _stale(policies: Policies, deployment: Deployment) -> Stale:
    return STALE.settings(policies.of(*policy_key(deployment)))
