"""work-queue: work is due at a work queue that is paused.

The runs wait for the same cause as in `late`: one finding for the queue lists all runs that wait there.
"""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.checks.base import Case, Check, Compared, Verdict, found, nothing
from monitoring.checks.facts.causes import Queue, full_name
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.waiting import WaitSettings, runs_wait
from monitoring.checks.findings import place_finding, whose_runs
from monitoring.model.finding import Subject
from monitoring.model.policy import PolicyKey
from monitoring.text.durations import humanized
from monitoring.text.links import work_queue_url


def cases(situation: Situation) -> Iterator[Case[Queue]]:
    """Every work queue."""
    for pool in situation.observation.pools.work_pools.values():
        for queue in pool.queues:
            yield Case(_subject(Queue(pool, queue)), Queue(pool, queue), PolicyKey(pool=pool.name))


def judge(situation: Situation, place: Queue, settings: WaitSettings) -> Verdict:
    """Judge the runs that wait at a paused work queue."""
    subject = _subject(place)
    paused = Compared("queue:", "paused" if place.queue.paused else "not paused")
    waiting = situation.waiting_by_place.get(("work-queue", subject.name), ())
    if not waiting:
        return nothing("no work waits for it", paused)
    first = waiting[0].due
    compared = (
        paused,
        Compared(f"{runs_wait(len(waiting))} for it, for", situation.now - first, settings.after, first),
    )
    if situation.now - first <= settings.after:
        return nothing("no work has waited for it for too long", *compared)
    finding = place_finding(
        situation.observation,
        "work-queue",
        subject,
        severity="warning",
        summary=f"{subject.name}: paused, and {runs_wait(len(waiting))}",
        observed=f"paused; {runs_wait(len(waiting))}, the oldest for {humanized(situation.now - first)}",
        expected=f"due work starts within {humanized(settings.after)}",
        since=first,
        url=work_queue_url(situation.observation.server.state.ui_url, place.pool.name, place.queue.name),
        run_ids=[wait.run.id for wait in waiting],
        cause=waiting[0].cause,
        evidence=whose_runs(wait.deployment.name for wait in waiting),
    )
    return found(finding, *compared)


def _subject(place: Queue) -> Subject:
    return Subject(kind="work-queue", id=place.queue.id, name=full_name(place.pool, place.queue))


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
