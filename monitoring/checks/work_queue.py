"""work-queue: work is due at a work queue that is paused, or that no worker polls.

The runs wait for the same cause as in `late`: one finding for the queue lists all runs that wait there.
"""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.checks.base import Check
from monitoring.checks.facts.cases import Case, Queue, full_name, place_case
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.waiting import WaitSettings, whose_runs
from monitoring.checks.findings import Compared, Found, Verdict, nothing
from monitoring.text.durations import humanized


def cases(situation: Situation) -> Iterator[Case[Queue]]:
    """Every work queue."""
    for pool in situation.observation.pools.work_pools.values():
        for queue in pool.queues:
            place = Queue(pool, queue)
            yield place_case(place, place)


def judge(situation: Situation, place: Queue, settings: WaitSettings) -> Verdict:
    """Judge the runs that wait at a work queue that is paused, or that no worker polls."""
    name = full_name(*place)
    paused = Compared("queue:", "paused" if place.queue.paused else "not paused")
    held_up = situation.held_up("work-queue", name)
    if held_up is None:
        return nothing("no work waits for it", paused)
    due, polled = held_up.due, place.queue.last_polled
    since = due if place.queue.paused else max(due, polled or due)
    compared = (paused, Compared(f"{held_up.what} for it, for", situation.now - since, settings.after, since))
    if situation.now - since <= settings.after:
        return nothing("no work has waited for it for too long", *compared)
    what = "paused" if place.queue.paused else "no worker polls it"
    last = f", last polled {polled:%Y-%m-%d %H:%M} UTC" if polled and not place.queue.paused else ""
    return Found(
        compared,
        severity="warning",
        summary=f"{name}: {what}, and {held_up.what}",
        observed=f"{what}{last}; {held_up.since_when(situation.now)}",
        expected=f"due work starts within {humanized(settings.after)}",
        since=since,
        run_ids=held_up.run_ids,
        run_count=held_up.run_count,
        cause=held_up.cause,
        evidence=whose_runs(held_up.deployments),
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
