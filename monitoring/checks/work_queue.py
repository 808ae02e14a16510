"""work-queue: work is due at a work queue that is paused.

The runs wait for the same cause as in `late`: one finding for the queue lists all runs that wait there.
"""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.checks.base import Check
from monitoring.checks.facts.cases import Case, Queue, full_name, place_case
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.waiting import WaitSettings, runs_wait, whose_runs
from monitoring.checks.findings import Compared, Found, Verdict, nothing
from monitoring.text.durations import humanized


def cases(situation: Situation) -> Iterator[Case[Queue]]:
    """Every work queue."""
    for pool in situation.observation.pools.work_pools.values():
        for queue in pool.queues:
            place = Queue(pool, queue)
            yield place_case(place, place)


def judge(situation: Situation, place: Queue, settings: WaitSettings) -> Verdict:
    """Judge the runs that wait at a paused work queue."""
    name = full_name(*place)
    paused = Compared("queue:", "paused" if place.queue.paused else "not paused")
    waiting = situation.waiting_by_place.get(("work-queue", name), ())
    if not waiting:
        return nothing("no work waits for it", paused)
    first = waiting[0].due
    compared = (
        paused,
        Compared(f"{runs_wait(len(waiting))} for it, for", situation.now - first, settings.after, first),
    )
    if situation.now - first <= settings.after:
        return nothing("no work has waited for it for too long", *compared)
    return Found(
        compared,
        severity="warning",
        summary=f"{name}: paused, and {runs_wait(len(waiting))}",
        observed=f"paused; {runs_wait(len(waiting))}, the oldest for {humanized(situation.now - first)}",
        expected=f"due work starts within {humanized(settings.after)}",
        since=first,
        run_ids=[wait.run.id for wait in waiting],
        cause=waiting[0].cause,
        evidence=whose_runs(wait.deployment for wait in waiting),
    )


CHECK = Check(
    name="work-queue",
    section=WaitSettings,
    about="Work queues where work is due and cannot start. Rules match by pool only.",
    heading="Work queues that do not work",
    predicate="do not work",
    cases=cases,
    judge=judge,
    deciding=lambda settings: ("after",),
    role="cause",
    not_replayed="no history of pauses is kept",
)
