"""concurrency: a full limit holds runs up, or its slots are held by runs that will not give them back.

A full limit by itself is as it should be. Limits of deployments, work queues and work pools keep runs from starting; a
tag's keeps task runs of RUNNING flows waiting; who waits for a global limit shows nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from shlex import quote
from typing import NamedTuple

from monitoring.checks.facts.causes import REFUSED, Causes, Full, full_name, was_refused
from monitoring.checks.facts.slot_holders import Holders
from monitoring.checks.facts.slot_waits import held_up, slots_cause
from monitoring.checks.findings import by_deployment, deployment_finding, place_finding, policy_of, runs_text
from monitoring.checks.late import due_time
from monitoring.config.policy import Policies
from monitoring.config.settings import Concurrency
from monitoring.model.finding import CauseKind, CauseReason, Finding, Subject
from monitoring.model.ledger import Ledger
from monitoring.model.observation import ConcurrencyLimit, Observation
from monitoring.model.prefect import Deployment, FlowRun
from monitoring.text.durations import spoken
from monitoring.text.links import concurrency_limits_url, work_pool_url, work_queue_url


class _Waiting(NamedTuple):
    """A run that waits for a slot, and since when."""

    run: FlowRun
    due: datetime


#: The runs that wait by what they wait for (``Cause.what``); longest wait first.
_Waits = Mapping[tuple[CauseKind, str, CauseReason], Sequence[_Waiting]]


class _Lost(NamedTuple):
    """Slots that no live run holds: how many, since when, and the runs that were cancelled for want of one."""

    slots: int
    since: datetime
    refused: Sequence[FlowRun]


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find full limits that hold runs up, and slots that nobody will give back."""
    causes = Causes(observation)
    waiting = _waiting(observation, policies, causes)
    holders = Holders(observation, policies)
    yield from _deployments(observation, ledger, policies, causes, waiting, holders)
    yield from _places(observation, policies, causes, waiting, holders)
    policy = policies.config.concurrency
    for limit in observation.limits.full if policy.enabled else ():
        found = (_tag if limit.kind == "tag" else _global)(observation, limit, policy, holders)
        if found:
            yield found


def _waiting(observation: Observation, policies: Policies, causes: Causes) -> _Waits:
    """The runs of watched deployments that wait for a slot, by whose limit is full; longest wait first."""
    found: dict[tuple[CauseKind, str, CauseReason], list[_Waiting]] = {}
    scheduled = (run for run in observation.runs.active if run.state_type == "SCHEDULED")
    for deployment, policy, runs in by_deployment(observation, policies, scheduled):
        for run in runs if policy.watch else ():
            cause, due = causes.of_run(deployment, run), due_time(observation, run)
            if due and cause and cause.reason == "limit-reached":
                found.setdefault(cause.what, []).append(_Waiting(run, due))
    return {what: sorted(waiting, key=lambda one: one.due) for what, waiting in found.items()}


def _deployments(
    observation: Observation,
    ledger: Ledger,
    policies: Policies,
    causes: Causes,
    waiting: _Waits,
    words: Holders,
) -> Iterator[Finding]:
    now = observation.at
    retrying: dict[str, list[FlowRun]] = {}
    for run in observation.runs.active:
        if run.retries_in_process and run.state_type == "SCHEDULED":
            # It keeps its slot over the wait for its retry.
            retrying.setdefault(run.key, []).append(run)
    ended: dict[str, list[FlowRun]] = {}
    for run in observation.runs.ended:
        ended.setdefault(run.key, []).append(run)
    for deployment in observation.deployments.values():
        full, policy = causes.slots.of_deployment(deployment), policy_of(deployment, policies).concurrency
        if full is None or not policy.enabled:
            continue
        limit, holding = full.limit, [*full.holders, *retrying.get(deployment.id, ())]
        held = waiting.get(full.cause.what, ())
        record = ledger.records.get(deployment.id)
        before = record.last_ended.ended if record and record.last_ended else None
        lost = _lost(observation, deployment, holding, ended.get(deployment.id, ()), held, before)
        if lost and now - lost.since <= policy.after:
            lost = None
        if lost:
            since = held[0].due if held else lost.since
        elif held and now - held[0].due > policy.after and len(holding) >= limit:
            since = held[0].due
        else:
            continue
        yield deployment_finding(
            observation,
            "concurrency",
            deployment,
            severity="warning",
            run_ids=[one.run.id for one in held],
            run_count=len(held),
            summary=f"{deployment.name}: {_what(limit, lost)}{_and_who(held, lost)}",
            observed=f"{_taken(max(len(holding), deployment.slots_taken or 0), limit)}{_wait(held, now)}",
            expected=_expected(limit, policy, lost),
            since=since,
            cause=full.cause,
            evidence=[*words.run_lines(holding), *(_lost_lines(deployment, lost, len(holding)) if lost else ())],
        )


def _lost(
    observation: Observation,
    deployment: Deployment,
    holding: Sequence[FlowRun],
    ended: Sequence[FlowRun],
    held: Sequence[_Waiting],
    before: datetime | None,
) -> _Lost | None:
    """The slots of a full limit that no live run holds, if all who may hold one are known.

    They are lost since the last run ended that may have held one, as far as is known.
    """
    taken, limit = deployment.slots_taken or 0, deployment.concurrency_limit or 0
    count = taken - len(holding)
    if deployment.id in observation.limits.moving:
        return None
    if count <= 0 or taken < limit or not observation.coverage.has("active-runs", "due-runs", "limit-holders"):
        return None
    refused = [run for run in ended if was_refused(run)]
    ids = {run.id for run in refused}
    ends = [run.ended_at for run in ended if run.id not in ids]
    last = max([*ends, *([before] if before else [])], default=None)
    shown = [*(one.due for one in held), *(run.ended_at for run in refused)]
    since = last or min(shown, default=None)
    return _Lost(count, since, refused) if since else None


def _lost_lines(deployment: Deployment, lost: _Lost, live: int) -> Iterator[str]:
    held = "1 slot is" if lost.slots == 1 else f"{lost.slots:,} slots are"
    yield f"{held} held by no live run since {lost.since:%Y-%m-%d %H:%M} UTC: did the server restart in between?"
    if lost.refused:
        first = lost.refused[0].ended_at
        yield f"{runs_text(len(lost.refused))} cancelled since {first:%Y-%m-%d %H:%M} UTC: {REFUSED}"
    yield f"to free what is lost: {_to_free(f'deployment:{deployment.id}', live)}"


def _places(
    observation: Observation,
    policies: Policies,
    causes: Causes,
    waiting: _Waits,
    words: Holders,
) -> Iterator[Finding]:
    ui = observation.server.state.ui_url
    for pool in observation.pools.work_pools.values():
        policy = policies.of_pool(pool.name).concurrency
        places: list[tuple[Subject, Full | None, str | None]] = [
            (
                Subject(kind="work-pool", id=pool.id, name=pool.name),
                causes.slots.of_pool(pool),
                work_pool_url(ui, pool.name),
            )
        ]
        places += (
            (
                Subject(kind="work-queue", id=queue.id, name=full_name(pool, queue)),
                causes.slots.of_queue(pool, queue),
                work_queue_url(ui, pool.name, queue.name),
            )
            for queue in pool.queues
        )
        for subject, full, url in places:
            held = waiting.get(full.cause.what, ()) if full and policy.enabled else ()
            # Fewer holders than slots: somebody got one while we looked.
            if not full or not held or observation.at - held[0].due <= policy.after or len(full.holders) < full.limit:
                continue
            yield place_finding(
                observation,
                "concurrency",
                subject,
                severity="warning",
                summary=f"{subject.name}: {_what(full.limit)}{_and_who(held)}",
                observed=f"{_taken(len(full.holders), full.limit)}{_wait(held, observation.at)}",
                expected=_expected(full.limit, policy),
                since=held[0].due,
                url=url,
                run_ids=[one.run.id for one in held],
                cause=full.cause,
                evidence=words.run_lines(full.holders),
            )


def _tag(observation: Observation, limit: ConcurrencyLimit, policy: Concurrency, words: Holders) -> Finding | None:
    waiting = sorted((since, run_id) for run_id, since in held_up(limit).items())
    longest = observation.at - waiting[0][0] if waiting else timedelta(0)
    if longest <= policy.after:
        return None
    evidence = words.lines(limit.holders)
    unknown = limit.taken - sum(holder.slots for holder in limit.holders)
    if limit.more_holders and unknown > 0:
        evidence.append(f"slots of which the server does not know who holds them: {unknown:,}")
    if any(holder.ended for holder in limit.holders) or unknown > 0:
        evidence.append(f"to free all its slots: prefect concurrency-limit reset {quote(limit.name)}")
    waits = "1 running run waits" if len(waiting) == 1 else f"{len(waiting):,} running runs wait"
    return place_finding(
        observation,
        "concurrency",
        Subject(kind="tag", id=limit.name, name=limit.name),
        severity="warning",
        summary=f"{limit.name}: {_what(limit.limit)} for task runs, and {waits}",
        observed=f"{_taken(limit.taken, limit.limit)}; {waits}, the longest for {spoken(longest)}",
        expected=_expected(limit.limit, policy),
        since=waiting[0][0],
        url=concurrency_limits_url(observation.server.state.ui_url),
        run_ids=[run_id for _, run_id in waiting],
        cause=slots_cause(limit),
        evidence=evidence,
    )


def _global(observation: Observation, limit: ConcurrencyLimit, policy: Concurrency, words: Holders) -> Finding | None:
    """A full global limit is a finding where slots of it are known to be held by runs that are over, and by no others.

    What a killed run held, the server takes back within minutes, unless it was stopped itself.
    """
    dead = {holder.flow_run_id: since for holder in limit.holders if (since := words.dead_since(holder))}
    gone = [
        holder
        for holder in limit.holders
        if holder.flow_run_id in dead and observation.at - dead[holder.flow_run_id] > policy.after
    ]
    live = sum(holder.slots for holder in limit.holders if holder not in gone)
    lost = min(limit.taken - live, sum(holder.slots for holder in gone))
    if limit.more_holders or lost <= 0:
        return None
    free = _to_free(limit.name, limit.taken - lost)
    return place_finding(
        observation,
        "concurrency",
        Subject(kind="global-concurrency-limit", id=limit.id, name=limit.name),
        severity="warning",
        summary=f"{limit.name}: full, and slots are held by runs that are over: {lost:,} of {limit.limit:,}",
        observed=f"{_taken(limit.taken, limit.limit)}, {lost:,} by runs that are over",
        expected="slots given back when a run is over",
        since=min(dead[holder.flow_run_id] for holder in gone),
        url=concurrency_limits_url(observation.server.state.ui_url),
        run_ids=[holder.flow_run_id for holder in gone],
        cause=slots_cause(limit),
        evidence=[*words.lines(gone), "who waits for it, Prefect does not show", f"to free what is lost: {free}"],
    )


def _to_free(name: str, live: int) -> str:
    return f"prefect global-concurrency-limit update {quote(name)} --active-slots {live}"


def _what(limit: int, lost: _Lost | None = None) -> str:
    if lost:
        return f"{lost.slots:,} of {limit:,} {'slot' if limit == 1 else 'slots'} held by no live run"
    return f"limit of {limit:,} reached" if limit else "its limit is 0, which lets nothing start"


def _and_who(held: Sequence[_Waiting], lost: _Lost | None = None) -> str:
    if held:
        return f", and {_runs_wait(held)}"
    return f", and {runs_text(len(lost.refused))} cancelled for it" if lost and lost.refused else ""


def _runs_wait(held: Sequence[_Waiting]) -> str:
    return "1 run waits" if len(held) == 1 else f"{len(held):,} runs wait"


def _wait(held: Sequence[_Waiting], now: datetime) -> str:
    return f"; {_runs_wait(held)}, the longest for {spoken(now - held[0].due)}" if held else ""


def _taken(taken: int, limit: int) -> str:
    return f"{taken:,} of {limit:,} {'slot' if limit == 1 else 'slots'} taken"


def _expected(limit: int, policy: Concurrency, lost: _Lost | None = None) -> str:
    if lost:
        return "slots given back when a run is over"
    return f"a slot within {spoken(policy.after)}" if limit else "a limit of at least 1"
