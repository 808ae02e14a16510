"""ahead: work that is due soon will not be able to start in the present situation.

At a work pool or queue that is paused or has had no live worker for a while, this is all work. At a full limit, it is
the work that would be late: it comes due while all slots are expected to be held, judged by usual run times. Planned
work that has just come due counts until the checks of work pools and limits report its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import NamedTuple

from pydantic import Field

from monitoring.checks.base import Check
from monitoring.checks.facts.cases import Case, Queue, deployment_case, place_case
from monitoring.checks.facts.causes import Full, skips
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.waiting import WaitSettings, by_deployment, last_heartbeat, whose_runs
from monitoring.checks.findings import Compared, Found, Verdict, nothing, page, runs_text, utc
from monitoring.history.baselines import typical
from monitoring.model.fields import CheckSettings, Span
from monitoring.model.finding import Cause, CauseKind, CauseReason, Subject
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.policy import BasePolicy, policy_key
from monitoring.model.prefect import Deployment, FlowRun, WorkPool
from monitoring.text.durations import humanized

_FOREVER = datetime.max.replace(tzinfo=timezone.utc)


class Ahead(CheckSettings):
    """When work that is due soon will not be able to start."""

    within: Span = Field(timedelta(hours=12), description="How far ahead to look.")


class _Due(NamedTuple):
    """A run that is due soon, and the reason why it will wait: its place is closed, or a limit is full until a time."""

    run: FlowRun
    at: datetime
    deployment: Deployment
    cause: Cause
    limit: Full | None = None
    until: datetime | None = None

    @property
    def pool(self) -> str:
        """The name of the work pool in which it will wait."""
        return self.run.work_pool or self.deployment.work_pool or ""


class Place(NamedTuple):
    """Where work may be held up, and the runs that will be, soonest first."""

    subject: Subject
    held_up: Sequence[_Due]


def cases(situation: Situation) -> Iterator[Case[Place]]:
    """Every work pool and queue, and every deployment with a limit."""
    observation, held_up = situation.observation, _held_up(situation)
    for case in _places(observation):
        runs = held_up.get((case.subject.kind, case.subject.name), ())
        policy = policy_key(runs[0].deployment) if runs else case.policy
        yield Case(case.subject, Place(case.subject, runs), policy, deployment=case.deployment)


def _places(observation: Observation) -> Iterator[Case[None]]:
    for pool in observation.pools.work_pools.values():
        yield place_case(pool, None)
        yield from (place_case(Queue(pool, queue), None) for queue in pool.queues)
    for deployment in observation.deployments.values():
        if deployment.concurrency_limit is not None:
            yield deployment_case(deployment, None)


def judge(situation: Situation, place: Place, settings: Ahead) -> Verdict:
    """Judge whether work that is due soon at a place will be able to start."""
    count = Compared("runs that are due soon and held up:", len(place.held_up), 0)
    if not place.held_up:
        return nothing(f"no run that is due within {humanized(settings.within)} is held up there", count)
    first = place.held_up[0]
    due = Compared(f"{first.run.name}, the first run: due at", first.at, situation.now + settings.within)
    return _found([count, due], situation, place)


def _held_up(situation: Situation) -> Mapping[tuple[str, str], Sequence[_Due]]:
    """The runs that will be held up, by kind and name of the place, soonest first."""
    places: dict[tuple[str, str], list[_Due]] = {}
    for due in _due_soon(situation):
        places.setdefault((due.cause.kind, due.cause.name), []).append(due)
    return {place: sorted(held_up, key=lambda due: (due.at, due.run.id)) for place, held_up in places.items()}


def _due_soon(situation: Situation) -> Iterator[_Due]:
    observation, now, causes = situation.observation, situation.now, situation.causes
    due_now = [run for run in observation.runs.active if run.state_type == "SCHEDULED" and not run.retries_in_process]
    reported = _reported(situation)

    def counts(run: FlowRun, at: datetime, cause: Cause, tolerance: timedelta) -> bool:
        """Whether a run is due later, or was due after the previous check and no other check reports its place yet."""
        planned = at >= now - tolerance and run.created <= at - tolerance
        return at > now or (planned and cause.what not in reported)

    runs_ahead = (*observation.pools.upcoming, *due_now)
    for deployment, policy, runs in by_deployment(observation, situation.policies, runs_ahead):
        settings, late = CHECK.settings(policy), policy.section("late", WaitSettings)
        for run in runs if settings.enabled else ():
            at, pool = run.expected_start_time, run.work_pool or deployment.work_pool or ""
            if at is None or at > now + settings.within:
                continue
            pool_policy = situation.policies.of(pool=pool)
            if closed := causes.closed(deployment, run):
                tolerance = _tolerance(closed, policy, pool_policy)
                left = _just_left(observation.pools.work_pools.get(pool), closed, now - tolerance)
                if not left and counts(run, at, closed, tolerance):
                    yield _Due(run, at, deployment, closed)
                continue
            for limit in causes.full(deployment, run):
                tolerance = _tolerance(limit.cause, policy, pool_policy)
                until = _full_until(limit, situation.ledger)
                if skips(deployment, limit) or not counts(run, at, limit.cause, tolerance):
                    continue
                if until and until - late.after > at:
                    yield _Due(run, at, deployment, limit.cause, limit, until)
                    break


def _reported(situation: Situation) -> set[tuple[CauseKind, str, CauseReason]]:
    """The causes for which runs have waited so long that the checks of work pools, queues and limits report them."""
    reported = set()
    for wait in situation.waiting:
        pool = situation.policies.of(pool=wait.run.work_pool or wait.deployment.work_pool or "")
        tolerance = _tolerance(wait.cause, situation.policy(wait.deployment), pool) if wait.cause else None
        if wait.cause and tolerance is not None and situation.now - wait.due > tolerance:
            reported.add(wait.cause.what)
    return reported


def _tolerance(cause: Cause, deployment: BasePolicy, pool: BasePolicy) -> timedelta:
    """How long work may wait until another check reports the cause, by the policies of deployment and pool."""
    place = deployment if cause.kind == "deployment" else pool
    if cause.reason == "limit-reached":
        return place.section("concurrency", WaitSettings).after
    return place.section("work_queue" if cause.kind == "work-queue" else "work_pool", WaitSettings).after


def _just_left(pool: WorkPool | None, cause: Cause, since: datetime) -> bool:
    """Whether the pool had a live worker shortly before: a worker that is restarted is soon back."""
    heard = pool.last_heartbeat if pool else None
    return cause.reason == "no-live-worker" and heard is not None and heard > since


def _full_until(limit: Full, ledger: Ledger) -> datetime | None:
    """Until when a limit is expected to be full; None where its holders do not show it."""
    if limit.limit < 1:
        return _FOREVER
    ends = sorted(filter(None, (_expected_end(run, ledger) for run in limit.holders)), reverse=True)
    return ends[limit.limit - 1] if len(ends) >= limit.limit else None


def _expected_end(run: FlowRun, ledger: Ledger) -> datetime | None:
    usual = typical(ledger.record(run.key).run_times)
    # What it took before, in attempts or until a pause, is part of what it usually takes.
    return run.state_timestamp + usual - run.total_run_time if usual and run.state_type == "RUNNING" else None


def _found(compared: Sequence[Compared], situation: Situation, place: Place) -> Found:
    observation, subject, held_up = situation.observation, place.subject, place.held_up
    first = held_up[0]
    what, seen, since = _trouble(situation, first)
    cut = not observation.pools.upcoming_cut.isdisjoint({subject.name, first.pool})
    later = _later(situation, held_up)
    number = len(held_up) + len(later)
    count = f"{'at least ' if cut else ''}{runs_text(number)} {'is' if number == 1 else 'are'} due"
    alone = first.at == held_up[-1].at and not later
    when = f"{'at' if alone else 'from'} {utc(first.at)}{'' if alone else ' on'}"
    return Found(
        compared,
        severity="warning",
        summary=f"{subject.name}: {count} {when}, and {what}",
        observed=f"{seen}; {count}, the first at {utc(first.at)}",
        expected=f"able to start at {utc(first.at)}",
        since=since,
        url=page(observation.server.state.ui_url, subject),
        run_ids=[due.run.id for due in held_up],
        run_count=number,
        cause=first.cause,
        evidence=whose_runs(chain((due.deployment for due in held_up), later)),
    )


def _later(situation: Situation, held_up: Sequence[_Due]) -> list[Deployment]:
    """The deployment of each run that schedules will make in time for a place that is closed."""
    own = (due for due in held_up if due.limit is None and due.pool == due.deployment.work_pool)
    more = situation.observation.pools.upcoming_later
    closed = {due.deployment.key: due.deployment for due in own}
    return [deployment for key, deployment in closed.items() for _ in range(more.get(key, 0))]


def _trouble(situation: Situation, due: _Due) -> tuple[str, str, datetime]:
    """The problem of the place that will hold a run up, the observation, and since when both hold."""
    planned = due.run.created
    if due.limit and due.until:
        filled = max((run.state_timestamp for run in due.limit.holders), default=planned)
        what = f"its limit of {due.limit.limit:,} will still be full"
        holders = f", and its holders are expected to run until {utc(due.until)}" if due.until < _FOREVER else ""
        return what, f"limit of {due.limit.limit:,} full{holders}", max(planned, filled)
    pool = situation.observation.pools.work_pools[due.pool]
    if due.cause.reason == "paused":
        return "it is paused", "paused", planned
    if due.cause.reason == "not-polled":
        return "no worker polls it", "no worker polls it", planned
    return "it has no live worker", last_heartbeat(pool, situation.now), max(planned, pool.last_heartbeat or planned)


CHECK = Check(
    name="ahead",
    section=Ahead,
    about="Work that is due soon and will not be able to start.",
    heading="Ahead: due soon, and cannot start",
    predicate="cannot start work that is due soon",
    cases=cases,
    judge=judge,
    deciding=lambda settings: ("within",),
    role="waits",
    not_replayed="no history of live workers and of runs scheduled ahead is kept",
)
