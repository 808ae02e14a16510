"""work-pool: work is due at a work pool that cannot start it, or piles up there.

The runs wait for the same cause as in `late`: one finding for the pool lists all runs that wait there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from pydantic import Field

from monitoring.checks.base import Check
from monitoring.checks.facts.cases import Case, place_case
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.waiting import Waiting, WaitSettings, last_heartbeat, runs_wait, whose_runs
from monitoring.checks.findings import Compared, Found, Verdict, nothing, runs_text
from monitoring.model.fields import Count, Span
from monitoring.model.observation import Backlog
from monitoring.model.prefect import WorkPool
from monitoring.text.durations import humanized


class WorkPoolSettings(WaitSettings):
    """When work is due at a work pool and cannot start, or piles up."""

    growing_for: Span = Field(
        timedelta(minutes=30), description="A backlog that has grown this long, with live workers, is a finding."
    )
    growing_min: Count = Field(10, ge=1, description="Waiting runs below which a backlog is no finding.")


def cases(situation: Situation) -> Iterator[Case[WorkPool]]:
    """Every work pool."""
    for pool in situation.observation.pools.work_pools.values():
        yield place_case(pool, pool)


def judge(situation: Situation, pool: WorkPool, settings: WorkPoolSettings) -> Verdict:
    """Judge the runs that wait at a work pool: it has no live worker, it is paused, or work piles up."""
    waiting = situation.waiting_by_place.get(("work-pool", pool.name), ())
    unexplained = situation.waiting_by_place.get((None, pool.name), ())
    workers = "not counted" if pool.live_workers is None else f"{pool.live_workers:,}"
    compared = [Compared("live workers:", f"{workers}{', paused' if pool.paused else ''}")]
    if waiting:
        since = _since(pool, waiting)
        compared.append(
            Compared(f"{runs_wait(len(waiting))} for it, for", situation.now - since, settings.after, since)
        )
        if situation.now - since > settings.after:
            return _held_up(compared, situation, pool, waiting, settings)
        return nothing("no work has waited for it for too long", *compared)
    backlog = situation.observation.pools.backlogs.get(pool.name)
    compared.append(Compared("runs that wait without a known cause:", len(unexplained), settings.growing_min))
    if backlog is None or not unexplained:
        return nothing("no work waits for it", *compared)
    counts, first = [count for _, count in backlog.samples], backlog.samples[0][0]
    sizes = ", ".join(f"{count:,}" for count in counts)
    compared.append(Compared(f"backlog {sizes}, over", situation.now - first, settings.growing_for, first))
    if _grows(situation, backlog, unexplained, settings):
        return _growing(compared, situation, pool, backlog, unexplained, settings)
    return nothing("the backlog has not grown for long enough, or is small", *compared)


def _since(pool: WorkPool, waiting: Sequence[Waiting]) -> datetime:
    """Since when work waits for the pool itself; while a worker was alive, it waited for something else."""
    first = waiting[0].due
    return first if pool.paused else max(first, pool.last_heartbeat or first)


def _held_up(
    compared: Sequence[Compared],
    situation: Situation,
    pool: WorkPool,
    waiting: Sequence[Waiting],
    settings: WorkPoolSettings,
) -> Found:
    what, seen = ("paused", "paused") if pool.paused else ("no live worker", last_heartbeat(pool, situation.now))
    return Found(
        compared,
        severity="warning" if pool.paused else "critical",
        summary=f"{pool.name}: {what}, and {runs_wait(len(waiting))}",
        observed=f"{seen}; {runs_wait(len(waiting))}, the oldest for {humanized(situation.now - waiting[0].due)}",
        expected=f"due work starts within {humanized(settings.after)}",
        since=_since(pool, waiting),
        run_ids=[wait.run.id for wait in waiting],
        cause=waiting[0].cause,
        evidence=whose_runs(wait.deployment for wait in waiting),
    )


def _grows(situation: Situation, backlog: Backlog, waiting: Sequence[Waiting], settings: WorkPoolSettings) -> bool:
    """Whether runs without another known cause pile up."""
    if len(waiting) < settings.growing_min or situation.now - backlog.samples[0][0] < settings.growing_for:
        return False
    counts = [count for _, count in backlog.samples]
    return all(before < after for before, after in pairwise(counts)) and counts[-1] >= settings.growing_min


def _growing(
    compared: Sequence[Compared],
    situation: Situation,
    pool: WorkPool,
    backlog: Backlog,
    waiting: Sequence[Waiting],
    settings: WorkPoolSettings,
) -> Found:
    counts = [count for _, count in backlog.samples]
    grown_for = humanized(situation.now - backlog.samples[0][0])
    workers = "" if pool.live_workers is None else f"; live workers: {pool.live_workers:,}"
    return Found(
        compared,
        severity="warning",
        summary=f"{pool.name}: the backlog has grown for {grown_for}, from {counts[0]:,} to {runs_text(counts[-1])}",
        observed=f"runs waiting, over {grown_for}: {', '.join(f'{count:,}' for count in counts)}{workers}",
        expected=f"a backlog that does not grow for {humanized(settings.growing_for)}",
        since=waiting[0].due,
        run_ids=[wait.run.id for wait in waiting],
        cause=waiting[0].cause,
        evidence=whose_runs(wait.deployment for wait in waiting),
    )


CHECK = Check(
    name="work-pool",
    section=WorkPoolSettings,
    about="Work pools where work is due and cannot start. Rules match by pool only.",
    heading="Work pools that do not work",
    predicate="do not work",
    cases=cases,
    judge=judge,
    deciding=lambda settings: ("after", "growing_for", "growing_min"),
    role="cause",
    not_replayed="no history of live workers and pauses is kept",
)
