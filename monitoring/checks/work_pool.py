"""work-pool: work is due at a work pool that cannot start it, or piles up there.

The runs wait for the same cause as in `late`: one finding for the pool lists all runs that wait there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

from pydantic import Field

from monitoring.checks.base import Check
from monitoring.checks.facts.cases import Case, place_case
from monitoring.checks.facts.not_served import HeldUp
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.waiting import WaitSettings, last_heartbeat, whose_runs
from monitoring.checks.findings import Compared, Found, Verdict, nothing, runs_text
from monitoring.model.fields import Count, Span
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
    workers = "not counted" if pool.live_workers is None else f"{pool.live_workers:,}"
    compared = Compared("live workers:", f"{workers}{', paused' if pool.paused else ''}")
    if held_up := situation.held_up("work-pool", pool.name):
        return _judge_held_up(compared, situation, pool, held_up, settings)
    return _judge_backlog(compared, situation, pool, settings)


def _judge_held_up(
    workers: Compared, situation: Situation, pool: WorkPool, held_up: HeldUp, settings: WorkPoolSettings
) -> Verdict:
    """Judge the work that waits for the pool itself; while a worker was alive, it waited for something else."""
    now, due = situation.now, held_up.due
    since = due if pool.paused else max(due, pool.last_heartbeat or due)
    compared = (workers, Compared(f"{held_up.what} for it, for", now - since, settings.after, since))
    if now - since <= settings.after:
        return nothing("no work has waited for it for too long", *compared)
    what, seen = ("paused", "paused") if pool.paused else ("no live worker", last_heartbeat(pool, now))
    return Found(
        compared,
        severity="warning" if pool.paused else "critical",
        summary=f"{pool.name}: {what}, and {held_up.what}",
        observed=f"{seen}; {held_up.since_when(now)}",
        expected=f"due work starts within {humanized(settings.after)}",
        since=since,
        run_ids=held_up.run_ids,
        run_count=held_up.run_count,
        cause=held_up.cause,
        evidence=whose_runs(held_up.deployments),
    )


def _judge_backlog(workers: Compared, situation: Situation, pool: WorkPool, settings: WorkPoolSettings) -> Verdict:
    """Judge whether runs without another known cause pile up."""
    waiting = situation.waiting_by_place.get((None, pool.name), ())
    compared = [workers, Compared("runs that wait without a known cause:", len(waiting), settings.growing_min)]
    backlog = situation.observation.pools.backlogs.get(pool.name)
    if backlog is None or not waiting:
        return nothing("no work waits for it", *compared)
    counts, first = [count for _, count in backlog.samples], backlog.samples[0][0]
    grown_for, sizes = situation.now - first, ", ".join(f"{count:,}" for count in counts)
    compared.append(Compared(f"backlog {sizes}, over", grown_for, settings.growing_for, first))
    large = len(waiting) >= settings.growing_min and counts[-1] >= settings.growing_min
    grows = grown_for >= settings.growing_for and all(before < after for before, after in pairwise(counts))
    if not large or not grows:
        return nothing("the backlog has not grown for long enough, or is small", *compared)
    live = "" if pool.live_workers is None else f"; live workers: {pool.live_workers:,}"
    growth = f"from {counts[0]:,} to {runs_text(counts[-1])}"
    return Found(
        compared,
        severity="warning",
        summary=f"{pool.name}: the backlog has grown for {humanized(grown_for)}, {growth}",
        observed=f"runs waiting, over {humanized(grown_for)}: {sizes}{live}",
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
