"""concurrency: a full limit holds runs up, or its slots are held by runs that will not release them.

A full limit alone is no problem. Limits of deployments, work queues and work pools keep runs from starting; tag limits
keep task runs of RUNNING flow runs waiting. Prefect does not show which runs wait for a global limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from shlex import quote
from typing import NamedTuple

from pydantic import Field

from monitoring.checks.base import Check
from monitoring.checks.facts.cases import Case, Queue, deployment_case, place_case, subject_of
from monitoring.checks.facts.causes import Full, skips, slots_cause
from monitoring.checks.facts.run_times import RunTimeSettings, longest_usual
from monitoring.checks.facts.situation import Situation
from monitoring.checks.facts.stays import StaySettings, in_state_since, limits
from monitoring.checks.facts.waiting import Waiting, WaitSettings, runs_wait
from monitoring.checks.findings import Compared, Found, Verdict, nothing, runs_text
from monitoring.history.baselines import typical
from monitoring.model.fields import Span
from monitoring.model.finding import Cause, Severity
from monitoring.model.ledger import CancelledRuns
from monitoring.model.observation import ConcurrencyLimit
from monitoring.model.prefect import SLOT_REJECTED, Deployment, FlowRun, WorkPool
from monitoring.text.durations import humanized

#: What has a limit.
Limited = Deployment | WorkPool | Queue | ConcurrencyLimit


class Concurrency(WaitSettings):
    """When a full concurrency limit holds runs up."""

    after: Span = Field(timedelta(minutes=15), description="How long runs may wait at a full limit.")
    critical_after: Span = Field(
        timedelta(hours=2),
        description=(
            "How long runs may be cancelled for lack of a slot that is not released until the finding is critical."
        ),
    )


class _Lost(NamedTuple):
    """Slots that no live run holds: how many, since when, and the runs that were cancelled for lack of a slot."""

    slots: int
    since: datetime
    cancelled: CancelledRuns | None


def cases(situation: Situation) -> Iterator[Case[Limited]]:
    """Every deployment, work pool and queue with a limit, and every tag and global limit that is full."""
    observation = situation.observation
    for deployment in observation.deployments.values():
        if deployment.concurrency_limit is not None:
            yield deployment_case(deployment, deployment)
    for pool in observation.pools.work_pools.values():
        if pool.concurrency_limit is not None:
            yield place_case(pool, pool)
        for queue in (Queue(pool, queue) for queue in pool.queues if queue.concurrency_limit is not None):
            yield place_case(queue, queue)
    for limit in observation.limits.full:
        yield Case(subject_of(limit), limit)


def judge(situation: Situation, limited: Limited, settings: Concurrency) -> Verdict:
    """Judge one limit: who waits for its slots, and who holds them."""
    if not isinstance(limited, ConcurrencyLimit):
        return _judge_starts(situation, limited, settings)
    return (_judge_tag if limited.kind == "tag" else _judge_global)(situation, limited, settings)


def _judge_starts(situation: Situation, limited: Deployment | WorkPool | Queue, settings: Concurrency) -> Verdict:
    """Judge a limit that keeps runs from starting."""
    now, deployment = situation.now, limited if isinstance(limited, Deployment) else None
    place = limited.queue if isinstance(limited, Queue) else limited
    what = "own slots taken:" if deployment else "slots taken:"
    full = situation.causes.slots.of(limited)
    if full is None:
        return nothing("a slot is free", Compared(what, place.slots_taken or 0, place.concurrency_limit))
    if deployment and skips(deployment, full) and (since := _kept_since(situation, deployment, full, settings)):
        return _kept(situation, deployment, full, since, settings)
    held = situation.waiting_by_cause.get(full.cause.what, ())
    holding, lost = list(full.holders), None
    if deployment:
        # A run keeps its slot while it waits for its retry.
        holding += [run for run in situation.active(deployment, "SCHEDULED") if run.retries_in_process]
        lost = _lost(situation, deployment, holding, held, settings)
    first = held[0].due if held else lost.since if lost else now
    taken = len(holding) if place.slots_taken is None else place.slots_taken
    compared = [Compared(what, taken, full.limit)]
    cancelled = lost.cancelled if lost else None
    who = f", and {runs_text(cancelled.count)} cancelled for lack of a slot" if cancelled else ""
    wait = ""
    if held:
        count = runs_wait(len(held))
        who, wait = f", and {count}", f"; {count}, the longest for {humanized(now - first)}"
        compared.append(Compared(f"{count} for a slot, the longest for", now - first, settings.after, first))
    # Fewer holders than slots: a run took a slot while the server was read.
    if not lost and (now - first <= settings.after or len(holding) < full.limit):
        return nothing("the limit is full, and no run has waited for a slot for too long", *compared)
    return Found(
        compared,
        severity=_severity(now - first, cancelled, settings),
        run_ids=[wait.run.id for wait in held],
        summary=f"{subject_of(limited).name}: {_what(full.limit, lost)}{who}",
        observed=f"{_taken(taken, full.limit)}{wait}",
        expected=_expected(full.limit, settings, lost),
        since=first,
        cause=full.cause,
        evidence=[
            *situation.holders.run_lines(holding),
            *(_lost_lines(deployment, lost, len(holding)) if deployment and lost else ()),
        ],
    )


def _lost(
    situation: Situation,
    deployment: Deployment,
    holding: Sequence[FlowRun],
    held: Sequence[Waiting],
    settings: Concurrency,
) -> _Lost | None:
    """The slots of a full limit that no live run holds, and for too long, if all possible holders are known.

    They count as lost since the last run ended that may have held a slot, as far as is known.
    """
    observation = situation.observation
    taken, limit = deployment.slots_taken or 0, deployment.concurrency_limit or 0
    count = taken - len(holding)
    if deployment.id in observation.limits.moving:
        return None
    if count <= 0 or taken < limit or not observation.coverage.has("active-runs", "due-runs", "limit-holders"):
        return None
    record = situation.record(deployment)
    cancelled, before = record.rejected, record.last_ended
    ends = [run.ended_at for run in situation.ended_runs(deployment) if not run.cancelled_for_slot]
    last = max([*ends, *([before.ended] if before else [])], default=None)
    shown = [*(wait.due for wait in held), *([cancelled.since] if cancelled else [])]
    since = last or min(shown, default=None)
    return _Lost(count, since, cancelled) if since and situation.now - since > settings.after else None


def _lost_lines(deployment: Deployment, lost: _Lost, live: int) -> Iterator[str]:
    held = "1 slot is" if lost.slots == 1 else f"{lost.slots:,} slots are"
    yield f"{held} held by no live run since {lost.since:%Y-%m-%d %H:%M} UTC: has the server restarted since?"
    if lost.cancelled:
        yield _cancelled_line(lost.cancelled)
    yield f"to free the lost slots: {_to_free(f'deployment:{deployment.id}', live)}"


def _kept_since(situation: Situation, deployment: Deployment, full: Full, settings: Concurrency) -> datetime | None:
    """Since when runs have been cancelled because others keep all slots for far longer than usual; None if none have.

    Runs that are skipped while others run as usual are what the owner wants.
    """
    rejected, ends = situation.record(deployment).rejected, []
    for run in full.holders:
        end = _usual_end(situation, deployment, run)
        if end is None:
            return None
        ends.append(end)
    if rejected is None or len(ends) < full.limit:
        return None
    last = max(ends)
    return max(last, rejected.since) if rejected.until > last and situation.now - last > settings.after else None


def _usual_end(situation: Situation, deployment: Deployment, run: FlowRun) -> datetime | None:
    """When a run should have released its slot at the latest; None if nothing shows that."""
    policy = situation.policy(deployment)
    if run.state_type != "RUNNING":
        stay = limits(policy.section("stuck", StaySettings)).get(run.state_type)
        return in_state_since(situation.observation, run) + stay if stay else None
    longest = longest_usual(situation.record(deployment).run_times, policy.section("slow", RunTimeSettings))
    return run.state_timestamp - run.total_run_time + longest if longest else None


def _kept(situation: Situation, deployment: Deployment, full: Full, since: datetime, settings: Concurrency) -> Verdict:
    """The verdict on runs that keep all slots of a deployment, while others are cancelled."""
    record, now = situation.record(deployment), situation.now
    oldest = min(full.holders, key=lambda run: run.start_time or run.state_timestamp)
    rejected = record.rejected or CancelledRuns(since=since, until=now)
    held = f"{oldest.name} has held for {humanized(now - (oldest.start_time or oldest.state_timestamp))}"
    usual = typical(record.run_times)
    usually = f", usually {humanized(usual)}" if usual else ""
    cancelled = f"{runs_text(rejected.count)} cancelled in a row for lack of a slot"
    return Found(
        (
            Compared("own slots taken:", full.limit, full.limit),
            Compared("kept beyond the usual time for", now - since, settings.after, since),
        ),
        severity=_severity(now - since, rejected, settings),
        run_ids=rejected.run_ids,
        run_count=rejected.count,
        summary=f"{deployment.name}: {cancelled}, which {held}{usually}",
        observed=f"{_taken(full.limit, full.limit)}; {cancelled}; {held}{usually}",
        expected="slots released within the usual run time",
        since=since,
        cause=Cause(kind="flow-run", name=oldest.name, reason="previous-run-running", flow_run_ids=(oldest.id,)),
        evidence=[
            *situation.holders.run_lines(full.holders),
            _cancelled_line(rejected),
            f"to release its slot: prefect flow-run cancel {oldest.id}",
        ],
    )


def _cancelled_line(cancelled: CancelledRuns) -> str:
    return f"{runs_text(cancelled.count)} cancelled since {cancelled.since:%Y-%m-%d %H:%M} UTC: {SLOT_REJECTED}"


def _severity(lasted: timedelta, cancelled: CancelledRuns | None, settings: Concurrency) -> Severity:
    """Waiting runs become late, and critical as such; cancelled runs show nowhere else."""
    return "critical" if cancelled and lasted > settings.critical_after else "warning"


def _judge_tag(situation: Situation, limit: ConcurrencyLimit, settings: Concurrency) -> Verdict:
    now = situation.now
    waiting = sorted((since, run_id) for run_id, since in limit.held_up.items())
    taken = Compared("slots taken:", limit.taken, limit.limit)
    if not waiting:
        return nothing("no run waits for a slot", taken)
    first = waiting[0][0]
    compared = (taken, Compared("longest wait of a running run:", now - first, settings.after, first))
    if now - first <= settings.after:
        return nothing("no run has waited for a slot for too long", *compared)
    evidence = situation.holders.lines(limit.holders)
    unknown = limit.taken - sum(holder.slots for holder in limit.holders)
    if limit.more_holders and unknown > 0:
        evidence.append(f"slots whose holders the server does not know: {unknown:,}")
    if any(holder.ended for holder in limit.holders) or unknown > 0:
        evidence.append(f"to free all its slots: prefect concurrency-limit reset {quote(limit.name)}")
    waits = "1 running run waits" if len(waiting) == 1 else f"{len(waiting):,} running runs wait"
    return Found(
        compared,
        severity="warning",
        summary=f"{limit.name}: {_what(limit.limit)} for task runs, and {waits}",
        observed=f"{_taken(limit.taken, limit.limit)}; {waits}, the longest for {humanized(now - first)}",
        expected=_expected(limit.limit, settings),
        since=first,
        run_ids=[run_id for _, run_id in waiting],
        cause=slots_cause(limit),
        evidence=evidence,
    )


def _judge_global(situation: Situation, limit: ConcurrencyLimit, settings: Concurrency) -> Verdict:
    """Judge a full global limit: report only slots known to be held by runs that have ended.

    The server takes back the slots of a killed run within minutes, unless it was stopped itself.
    """
    holders, now = situation.holders, situation.now
    dead = {holder.flow_run_id: since for holder in limit.holders if (since := holders.dead_since(holder))}
    gone = [
        holder
        for holder in limit.holders
        if holder.flow_run_id in dead and now - dead[holder.flow_run_id] > settings.after
    ]
    live = sum(holder.slots for holder in limit.holders if holder not in gone)
    lost = min(limit.taken - live, sum(holder.slots for holder in gone))
    compared = (
        Compared("slots taken:", limit.taken, limit.limit),
        Compared("by runs that have ended:", max(lost, 0), 0),
    )
    if limit.more_holders or lost <= 0:
        return nothing("no slot is known to be held by a run that has ended", *compared)
    free = _to_free(limit.name, limit.taken - lost)
    return Found(
        compared,
        severity="warning",
        summary=f"{limit.name}: full, and slots are held by runs that have ended: {lost:,} of {limit.limit:,}",
        observed=f"{_taken(limit.taken, limit.limit)}, {lost:,} by runs that have ended",
        expected="slots released when a run ends",
        since=min(dead[holder.flow_run_id] for holder in gone),
        run_ids=[holder.flow_run_id for holder in gone],
        cause=slots_cause(limit),
        evidence=[
            *holders.lines(gone),
            "Prefect does not show which runs wait for it",
            f"to free the lost slots: {free}",
        ],
    )


def _to_free(name: str, live: int) -> str:
    return f"prefect global-concurrency-limit update {quote(name)} --active-slots {live}"


def _what(limit: int, lost: _Lost | None = None) -> str:
    if lost:
        return f"{lost.slots:,} of {limit:,} {'slot' if limit == 1 else 'slots'} held by no live run"
    return f"limit of {limit:,} reached" if limit else "its limit is 0, so nothing can start"


def _taken(taken: int, limit: int) -> str:
    return f"{taken:,} of {limit:,} {'slot' if limit == 1 else 'slots'} taken"


def _expected(limit: int, settings: Concurrency, lost: _Lost | None = None) -> str:
    if lost:
        return "slots released when a run ends"
    return f"a slot within {humanized(settings.after)}" if limit else "a limit of at least 1"


CHECK = Check(
    name="concurrency",
    section=Concurrency,
    about="Full concurrency limits that hold runs up.",
    heading="Concurrency limits that hold runs up",
    predicate="hold runs up at a full limit",
    cases=cases,
    judge=judge,
    deciding=lambda settings: ("after", "critical_after"),
    role="cause",
    not_replayed="no history of limits and the holders of their slots is kept",
)
