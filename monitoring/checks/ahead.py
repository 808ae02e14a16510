"""ahead: work that is due soon will not be able to start, as things are now.

At a place that is paused or has had no live worker for a while that is all work. At a full limit it is what would be
late: what comes due while as many runs as the limit allows are expected to hold its slots, by how long such runs take.
Work that was planned and has just come due counts until the checks of work pools and limits speak of its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from monitoring.checks.facts.causes import Causes, Full, full_name, skips
from monitoring.checks.findings import by_deployment, place_finding, runs_text, whose_runs
from monitoring.checks.late import due_time
from monitoring.checks.work_places import last_heartbeat
from monitoring.config.policy import Policies
from monitoring.config.settings import Policy
from monitoring.history.baselines import typical
from monitoring.model.finding import Cause, CauseKind, CauseReason, Finding, Subject
from monitoring.model.ledger import Ledger, Record
from monitoring.model.observation import Observation
from monitoring.model.prefect import Deployment, FlowRun, WorkPool
from monitoring.text.durations import spoken
from monitoring.text.links import deployment_url, work_pool_url, work_queue_url

_FOR_EVER = datetime.max.replace(tzinfo=timezone.utc)


class _Due(NamedTuple):
    """A run that is due soon, and what will hold it up: its place is closed, or a limit full until a time."""

    run: FlowRun
    at: datetime
    deployment: Deployment
    cause: Cause
    limit: Full | None = None
    until: datetime | None = None


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find places where work is due soon that will not be able to start."""
    places: dict[tuple[str, str], list[_Due]] = {}
    for due in _held_up(observation, ledger, policies):
        places.setdefault((due.cause.kind, due.cause.name), []).append(due)
    for held_up in places.values():
        yield _finding(observation, sorted(held_up, key=lambda due: (due.at, due.run.id)))


def _held_up(observation: Observation, ledger: Ledger, policies: Policies) -> Iterator[_Due]:
    now = observation.at
    causes = Causes(observation)
    due_now = [run for run in observation.runs.active if run.state_type == "SCHEDULED" and not run.retries_in_process]
    told = _told(observation, policies, causes, due_now)

    def counts(run: FlowRun, at: datetime, cause: Cause, patience: timedelta) -> bool:
        """Whether a run is to come; or was, when last we looked, and nothing else speaks of its place yet."""
        planned = at >= now - patience and run.created <= at - patience
        return at > now or (planned and cause.what not in told)

    for deployment, policy, runs in by_deployment(observation, policies, (*observation.pools.upcoming, *due_now)):
        for run in runs if policy.watch and policy.ahead.enabled else ():
            at, pool = run.expected_start_time, run.work_pool or deployment.work_pool or ""
            if at is None or at > now + policy.ahead.within:
                continue
            if closed := causes.closed(deployment, run):
                patience = _patience(closed, policy, policies.of_pool(pool))
                left = _just_left(observation.pools.work_pools.get(pool), closed, now - patience)
                if not left and counts(run, at, closed, patience):
                    yield _Due(run, at, deployment, closed)
                continue
            for limit in causes.full(deployment, run):
                patience = _patience(limit.cause, policy, policies.of_pool(pool))
                until = _full_until(limit, ledger)
                if skips(deployment, limit) or not counts(run, at, limit.cause, patience):
                    continue
                if until and until - policy.late.after > at:
                    yield _Due(run, at, deployment, limit.cause, limit, until)
                    break


def _told(
    observation: Observation, policies: Policies, causes: Causes, due_now: Iterable[FlowRun]
) -> set[tuple[CauseKind, str, CauseReason]]:
    """What work has waited for so long that the checks of work pools, queues and limits speak of it."""
    told = set()
    for deployment, policy, runs in by_deployment(observation, policies, due_now):
        for run in runs if policy.watch else ():
            cause, due = causes.of_run(deployment, run), due_time(observation, run)
            pool = policies.of_pool(run.work_pool or deployment.work_pool or "")
            if cause and due and observation.at - due > _patience(cause, policy, pool):
                told.add(cause.what)
    return told


def _patience(cause: Cause, deployment: Policy, pool: Policy) -> timedelta:
    """For how long the check that speaks of a cause lets work wait, by the policies of deployment and pool."""
    place = deployment if cause.kind == "deployment" else pool
    if cause.reason == "limit-reached":
        return place.concurrency.after
    return place.work_queue.after if cause.kind == "work-queue" else place.work_pool.after


def _just_left(pool: WorkPool | None, why: Cause, since: datetime) -> bool:
    """Whether the pool had a live worker a moment ago: one that is restarted is soon back."""
    heard = pool.last_heartbeat if pool else None
    return why.reason == "no-live-worker" and heard is not None and heard > since


def _full_until(limit: Full, ledger: Ledger) -> datetime | None:
    """Until when a limit is expected to be full; None where its holders do not tell."""
    if limit.limit < 1:
        return _FOR_EVER
    ends = sorted(filter(None, (_expected_end(run, ledger) for run in limit.holders)), reverse=True)
    return ends[limit.limit - 1] if len(ends) >= limit.limit else None


def _expected_end(run: FlowRun, ledger: Ledger) -> datetime | None:
    usual = typical(ledger.records.get(run.key, Record()).run_times)
    # What it took before, in attempts or until a pause, is part of what it usually takes.
    return run.state_timestamp + usual - run.total_run_time if usual and run.state_type == "RUNNING" else None


def _finding(observation: Observation, held_up: Sequence[_Due]) -> Finding:
    first = held_up[0]
    subject, url = _subject(observation, first)
    what, seen, since = _trouble(observation, first)
    cut = not observation.pools.upcoming_cut.isdisjoint({subject.name, _pool_name(first)})
    count = f"{'at least ' if cut else ''}{runs_text(len(held_up))} {'is' if len(held_up) == 1 else 'are'} due"
    when = f"at {first.at:%H:%M} UTC" if first.at == held_up[-1].at else f"from {first.at:%H:%M} UTC on"
    away = f"in {spoken(first.at - observation.at)}" if first.at > observation.at else "now"
    finding = place_finding(
        observation,
        "ahead",
        subject,
        severity="warning",
        summary=f"{subject.name}: {count} {when}, {away}, and {what}",
        observed=f"{seen}; {count}, the first at {_text(first.at)}",
        expected=f"able to start at {_text(first.at)}",
        since=since,
        url=url,
        run_ids=[due.run.id for due in held_up],
        cause=first.cause,
        evidence=whose_runs(due.deployment.name for due in held_up),
    )
    if subject.kind != "deployment":
        return finding
    return finding.model_copy(update={"flow": first.deployment.flow_name, "deployment": first.deployment.name})


def _subject(observation: Observation, due: _Due) -> tuple[Subject, str | None]:
    """The place, and its page."""
    ui_url, deployment = observation.server.state.ui_url, due.deployment
    pool = observation.pools.work_pools.get(_pool_name(due))
    if pool is None or due.cause.kind == "deployment":
        return Subject(kind="deployment", id=deployment.id, name=deployment.name), deployment_url(ui_url, deployment.id)
    if due.cause.kind == "work-pool":
        return Subject(kind="work-pool", id=pool.id, name=pool.name), work_pool_url(ui_url, pool.name)
    queue = next(queue for queue in pool.queues if full_name(pool, queue) == due.cause.name)
    return Subject(kind="work-queue", id=queue.id, name=due.cause.name), work_queue_url(ui_url, pool.name, queue.name)


def _trouble(observation: Observation, due: _Due) -> tuple[str, str, datetime]:
    """What will hold a run up, of the place in a sentence; what was seen of it; and since when both hold."""
    planned = due.run.created
    if due.limit and due.until:
        filled = max((run.state_timestamp for run in due.limit.holders), default=planned)
        what = f"its limit of {due.limit.limit:,} will still be full"
        holders = f", and what holds it is expected to run until {_text(due.until)}" if due.until < _FOR_EVER else ""
        return what, f"limit of {due.limit.limit:,} full{holders}", max(planned, filled)
    pool = observation.pools.work_pools[_pool_name(due)]
    if due.cause.reason == "paused":
        return "it is paused", "paused", planned
    return "it has no live worker", last_heartbeat(pool, observation.at), max(planned, pool.last_heartbeat or planned)


def _pool_name(due: _Due) -> str:
    return due.run.work_pool or due.deployment.work_pool or ""


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
