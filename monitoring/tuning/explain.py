"""Explains how the checks see one deployment: what each saw, by which limits, and why it found something or did not.

Whether a check fired is taken from the checks themselves; what it saw comes from the very functions that it decides by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise

from monitoring.checks import ended_badly, late, slow, stale, stuck, zombie
from monitoring.checks.findings import policy_of, runs_text
from monitoring.config.policy import Policies, written
from monitoring.config.settings import Policy
from monitoring.history.baselines import typical, without_run
from monitoring.model.base import Value
from monitoring.model.finding import CheckName, Finding
from monitoring.model.ledger import Ledger, Record
from monitoring.model.observation import Observation
from monitoring.model.prefect import Deployment, FlowRun, WorkPool
from monitoring.text.durations import spoken
from monitoring.tuning.deciding import deciding_settings

#: Runs of which more than a number is said.
_MOST_RUNS = 5
_MOST_BARS = 8
_GENERAL = ("watch", "owner", "severity", "expect")


class Limit(Value):
    """A setting that decides, as it is written, and where it was set."""

    name: str
    value: str
    source: str


class Seen(Value):
    """What one check saw.

    Args:
        lines: What it compared, with units.
        fires: Whether that makes a finding, by the check's own rules; None where those are not about one deployment.
        why_not: Why it makes none; empty where it does.
    """

    lines: tuple[str, ...]
    fires: bool | None
    why_not: str = ""


class Explained(Value):
    """One check of one deployment. ``findings`` is what it found, correlated: empty where it did not fire."""

    check: CheckName
    seen: Seen
    findings: tuple[Finding, ...]
    limits: tuple[Limit, ...]


class Bar(Value):
    """How many runs took from ``start`` to ``end``; ``marks`` says what else lies there."""

    start: timedelta
    end: timedelta
    count: int
    marks: tuple[str, ...] = ()


class Explanation(Value):
    """How the checks see a deployment at a moment."""

    deployment: Deployment
    at: datetime
    #: What holds for all its checks: whether it is watched, whose it is.
    general: tuple[Limit, ...]
    checks: tuple[Explained, ...]
    #: How long its newest completed runs took, shortest first; empty without any.
    run_times: tuple[Bar, ...] = ()
    #: Findings elsewhere that bear on it: its work pool, the server.
    around: tuple[Finding, ...] = ()


Explainer = Callable[[Observation, Ledger, Policy, Deployment, Record], Seen]


def explain(
    observation: Observation, ledger: Ledger, policies: Policies, findings: Sequence[Finding], key: str
) -> Explanation:
    """Explain one deployment.

    Args:
        observation: What was seen.
        ledger: What is remembered, the observation folded in.
        policies: Every layer of the configuration.
        findings: What the checks found in it, correlated.
        key: The deployment's key in the observation.
    """
    deployment = observation.deployments[key]
    policy = policy_of(deployment, policies)
    record = ledger.records.get(key, Record())
    settings = policies.explain(deployment.name, deployment.tags, deployment.work_pool)
    mine = [finding for finding in findings if finding.subject.id == deployment.id]

    def limits(*fields: str) -> Iterator[Limit]:
        for field in fields:
            yield Limit(name=field, value=written(settings[field].value), source=settings[field].source)

    checks = []
    for name, see in EXPLAINERS.items():
        checks.append(
            Explained(
                check=name,
                seen=_switched(policy, name) or see(observation, ledger, policy, deployment, record),
                findings=tuple(finding for finding in mine if finding.check == name),
                limits=tuple(limits(f"{name}.enabled", *deciding_settings(name, policy))),
            )
        )
    return Explanation(
        deployment=deployment,
        at=observation.at,
        general=tuple(limits(*_GENERAL)),
        checks=tuple(checks),
        run_times=tuple(bars(record, policy)),
        around=tuple(_around(findings, observation, deployment, mine)),
    )


def _switched(policy: Policy, name: CheckName) -> Seen | None:
    if not policy.watch:
        return Seen(lines=(), fires=False, why_not="the deployment is not watched")
    if not getattr(policy, name).enabled:
        return Seen(lines=(), fires=False, why_not="the check is turned off")
    return None


def _ended_badly(name: CheckName) -> Explainer:
    kind = "failed" if name == "failed" else "crashed"

    def see(observation: Observation, ledger: Ledger, policy: Policy, deployment: Deployment, record: Record) -> Seen:
        section = policy.failed if kind == "failed" else policy.crashed
        last, streak = record.last_ended, record.streak
        if last is None:
            return _no("no run has ended in what was read", "there is nothing to judge")
        lines = [f"last ended run: {last.name}, {last.state_name} at {_at(last.ended)}"]
        if streak is None or last.state_type != kind.upper():
            return _no(*lines, f"the last ended run has not {kind}")
        count = ended_badly.unwanted(kind, streak, policy)  # type: ignore[arg-type]
        lines.append(f"{streak.failed:,} failed and {streak.crashed:,} crashed in a row since {_at(streak.since)}")
        if deployment.paused:
            return _no(*lines, "the deployment is paused")
        if ended_badly.expired(deployment, last, section, observation.at):
            return _no(
                *lines, f"nothing runs by itself, and it was {spoken(observation.at - last.ended)} ago: forgiven"
            )
        if count <= section.tolerate:
            return _no(*lines, f"{count:,} in a row are tolerated")
        return _yes(lines)

    return see


def _zombie(observation: Observation, ledger: Ledger, policy: Policy, deployment: Deployment, record: Record) -> Seen:
    now = observation.at
    running = _running(observation, deployment)
    beats = observation.runs.heartbeats
    lines = []
    for run in running[:_MOST_RUNS]:
        known = beats.get(run.id)
        said = f"{known.count:,} known, the last {spoken(now - known.last)} ago" if known else "none known"
        lines.append(f"{run.name}: heartbeats: {said}; {spoken(zombie.allowance(known, policy.zombie))} may pass")
    dead = [run for run in running if run.id in beats and zombie.is_silent(run, beats[run.id], policy.zombie, now)]
    allowed = zombie.allowance(None, policy.zombie)
    mute = [run for run in running if run.id not in beats and now - run.state_timestamp > allowed]
    if dead or (mute and observation.coverage.has("heartbeats")):
        return _yes(lines)
    if not running:
        return _no("no run is RUNNING", "there is nothing to judge")
    return _no(*lines, "every run that sent a heartbeat has sent another in time")


def _stuck(observation: Observation, ledger: Ledger, policy: Policy, deployment: Deployment, record: Record) -> Seen:
    limits = stuck.limits(policy.stuck)
    waiting = [run for run in _active(observation, deployment) if run.state_type in limits]
    stays = {run.id: stuck.too_long(observation, run, policy.stuck) for run in waiting}
    lines = []
    for run in waiting[:_MOST_RUNS]:
        if stay := stays[run.id]:
            lines.append(f"{run.name}: {run.state_name} {stay.observed}; expected: {stay.expected}")
        else:
            been = observation.at - observation.runs.pending_since.get(run.id, run.state_timestamp)
            lines.append(
                f"{run.name}: {run.state_name} for {spoken(been)}, {spoken(limits[run.state_type])} are allowed"
            )
    if any(stays.values()):
        return _yes(lines)
    if not waiting:
        return _no("no run is Pending, Cancelling or Paused", "there is nothing to judge")
    return _no(*lines, "none has been so for too long")


def _late(observation: Observation, ledger: Ledger, policy: Policy, deployment: Deployment, record: Record) -> Seen:
    scheduled = [run for run in _active(observation, deployment) if run.state_type == "SCHEDULED"]
    due = sorted((moment, run.name) for run in scheduled if (moment := late.due_time(observation, run)))
    lines = [
        f"{name}: due for {spoken(observation.at - moment)}, since {_at(moment)}" for moment, name in due[:_MOST_RUNS]
    ]
    if not due:
        return _no("no run is due and waits", "there is nothing to judge")
    if observation.at - due[0][0] > policy.late.after:
        return _yes([f"{len(due):,} due, the oldest first:", *lines])
    return _no(*lines, f"{spoken(policy.late.after)} are allowed")


def _slow(observation: Observation, ledger: Ledger, policy: Policy, deployment: Deployment, record: Record) -> Seen:
    section = policy.slow
    lines: list[str] = []
    fires = False
    may = slow.bound(record.run_times, section)
    for run in _running(observation, deployment):
        took = slow.run_time(run, observation.at)
        fires = fires or (may is not None and took > may.limit)
        if len(lines) < _MOST_RUNS:
            lines.append(f"{run.name}: running for {spoken(took)}; {_allowed(may)}")
    last = record.last_ended
    if last:
        may = slow.bound(without_run(record.run_times, last), section)
        lines.append(f"{last.name}, the last ended run: took {spoken(last.run_time)}; {_allowed(may)}")
        judged = may is not None and (may.usual is None or last.state_type == "COMPLETED")
        if slow.forgiven(deployment, last.ended, section, observation.at):
            lines.append("the last ended run is forgiven: nothing runs by itself to show that it is over")
        elif may and judged and last.run_time > may.limit:
            fires = True
    usual = typical(record.run_times)
    if usual:
        lines.append(
            f"median of its newest completed runs: {spoken(usual)}, of {runs_text(len(record.run_times.recent))}"
        )
    if fires:
        return _yes(lines)
    if may is None:
        known = len(record.run_times.recent)
        few = f"a baseline needs {runs_text(section.min_samples)} that completed; known: {known}"
        return _no(*lines, few if section.baseline else "no limit is given, and the baseline is turned off")
    return _no(*lines, "no run that is judged takes longer than it may")


def _allowed(may: slow.Bound | None) -> str:
    if may is None:
        return "no limit is known"
    learned = f", learned from {may.usual.samples} runs, median {spoken(may.usual.median)}" if may.usual else ""
    return f"{spoken(may.limit)} are allowed{learned}"


def _stale(observation: Observation, ledger: Ledger, policy: Policy, deployment: Deployment, record: Record) -> Seen:
    section = policy.stale
    since = stale.success_due_since(deployment, section, observation.at)
    last = stale.last_fresh(record, policy.expect)
    lines = [f"last success: {last.name} at {_at(last.ended)}" if last else "no success is known"]
    if deployment.due:
        lines.append(f"fires that should have led to one by now: {', '.join(map(_at, deployment.due[-_MOST_RUNS:]))}")
    if deployment.next_due:
        lines.append(f"next fire: {_at(deployment.next_due)}")
    if deployment.paused:
        return _no(*lines, "the deployment is paused")
    if since is None:
        return _rhythm(policy, deployment, record, observation.at, lines)
    lines.append(f"a success is due since {_at(since)}")
    if section.within is None and record.scheduled_since and since < record.scheduled_since:
        return _no(*lines, f"it has these schedules since {_at(record.scheduled_since)} only")
    if last:
        return _yes(lines) if last.ended < since else _no(*lines, "the last success is newer")
    if not record.success_searched:
        return _no(*lines, "the history before what was read was not searched")
    if deployment.created > since:
        return _no(*lines, f"it was made later, at {_at(deployment.created)}")
    if (observation.history.oldest_success and observation.history.oldest_success <= since) or observation.coverage.has(
        "oldest-run"
    ):
        return _yes(lines)
    return _no(*lines, "how far back the server has runs is not known")


def _rhythm(policy: Policy, deployment: Deployment, record: Record, now: datetime, lines: list[str]) -> Seen:
    beat = stale.rhythm_of(deployment, record) if policy.stale.rhythm else None
    last = record.last_success
    if beat is None or last is None:
        scheduled = "too few fires of its schedules have passed" if deployment.scheduled else "nothing says how often"
        return _no(*lines, f"{scheduled} it should succeed" if not deployment.scheduled else scheduled)
    lines.append(f"its last {beat.runs} runs came every {spoken(beat.gap)}, {spoken(beat.longest)} may pass")
    silence = now - last.ended
    if beat.longest < silence <= beat.lasted:
        return _yes(lines)
    return _no(*lines, "it is in its rhythm" if silence <= beat.longest else "the rhythm is over")


def _unscheduled(
    observation: Observation, ledger: Ledger, policy: Policy, deployment: Deployment, record: Record
) -> Seen:
    if deployment.id in observation.schedules.nothing_ahead:
        return _yes(["nothing is scheduled ahead, though its schedule is active"])
    if not deployment.scheduled:
        return _no("no schedule is active", "there is nothing to judge")
    return _no("its schedule is active", "runs are scheduled ahead, or it is too soon to expect any")


def _paused(observation: Observation, ledger: Ledger, policy: Policy, deployment: Deployment, record: Record) -> Seen:
    since = record.inactive_since
    if since is None:
        return _no("neither paused, nor all its schedules inactive", "there is nothing to judge")
    line = f"{'paused' if deployment.paused else 'all its schedules inactive'} since {_at(since)}, or longer"
    if observation.at - since > policy.paused.after:
        return _yes([line])
    return _no(line, f"{spoken(policy.paused.after)} are allowed")


def _place(observation: Observation, ledger: Ledger, policy: Policy, deployment: Deployment, record: Record) -> Seen:
    pool = observation.pools.work_pools.get(deployment.work_pool or "")
    lines = [_pool(pool), *_queue(pool, deployment)] if pool else [f"work pool: {deployment.work_pool or 'none'}"]
    return Seen(lines=tuple(lines), fires=None)


def _concurrency(
    observation: Observation, ledger: Ledger, policy: Policy, deployment: Deployment, record: Record
) -> Seen:
    limit = deployment.concurrency_limit
    own = "no limit of its own" if limit is None else f"{deployment.slots_taken or 0:,} of {limit:,} own slots taken"
    return Seen(lines=(own, *_place(observation, ledger, policy, deployment, record).lines), fires=None)


#: The checks that look at one deployment, in the order in which they are shown.
EXPLAINERS: dict[CheckName, Explainer] = {
    "failed": _ended_badly("failed"),
    "crashed": _ended_badly("crashed"),
    "late": _late,
    "stuck": _stuck,
    "zombie": _zombie,
    "slow": _slow,
    "stale": _stale,
    "unscheduled": _unscheduled,
    "paused": _paused,
    "concurrency": _concurrency,
}


def bars(record: Record, policy: Policy) -> Iterator[Bar]:
    """Count the newest completed runs by how long they took, on a scale of factors, and mark median and limit.

    Args:
        record: What is remembered of the deployment.
        policy: Its policy.
    """
    took = sorted(seconds for _, seconds in record.run_times.recent)
    if not took:
        return
    usual, may = typical(record.run_times), slow.bound(record.run_times, policy.slow)
    marked = {"median": usual.total_seconds() if usual else 0.0}
    if may:
        marked["limit"] = may.limit.total_seconds()
    low, high = min(took[0], *marked.values()), max(took[-1], *marked.values())
    count = min(_MOST_BARS, max(1, math.ceil(math.log2(high / low))))
    # The last edge is a little beyond the highest value, so that it lies within.
    ratio = (high / low * 1.001) ** (1 / count)
    edges = [low * ratio**n for n in range(count + 1)]
    for start, end in pairwise(edges):
        within = [name for name, value in marked.items() if start <= value < end]
        yield Bar(
            start=timedelta(seconds=start),
            end=timedelta(seconds=end),
            count=sum(start <= seconds < end for seconds in took),
            marks=tuple(f"{name} {spoken(timedelta(seconds=marked[name]))}" for name in within),
        )


def _around(
    findings: Iterable[Finding], observation: Observation, deployment: Deployment, mine: Sequence[Finding]
) -> Iterator[Finding]:
    """Findings about the server, its pool and queue, and what its own findings are symptoms of."""
    heads = {finding.symptom_of for finding in mine}
    places = {deployment.work_pool, f"{deployment.work_pool}/{deployment.work_queue}"}
    for finding in findings:
        kind = finding.subject.kind
        is_place = kind in ("work-pool", "work-queue") and finding.subject.name in places
        if finding.fingerprint in heads or is_place or kind in ("server", "scheduler"):
            yield finding


def _pool(pool: WorkPool) -> str:
    workers = "" if pool.live_workers is None else f", {pool.live_workers:,} live workers"
    limit = "" if pool.concurrency_limit is None else f", limit {pool.concurrency_limit:,}"
    return f"work pool {pool.name}: {'paused' if pool.paused else 'not paused'}{workers}{limit}"


def _queue(pool: WorkPool, deployment: Deployment) -> Iterator[str]:
    for queue in pool.queues:
        if queue.name == deployment.work_queue:
            limit = "" if queue.concurrency_limit is None else f", limit {queue.concurrency_limit:,}"
            yield f"work queue {pool.name}/{queue.name}: {'paused' if queue.paused else 'not paused'}{limit}"


def _active(observation: Observation, deployment: Deployment) -> list[FlowRun]:
    mine = [run for run in observation.runs.active if run.key == deployment.key]
    return sorted(mine, key=lambda run: (run.state_timestamp, run.id))


def _running(observation: Observation, deployment: Deployment) -> list[FlowRun]:
    return [run for run in _active(observation, deployment) if run.state_type == "RUNNING"]


def _yes(lines: Iterable[str]) -> Seen:
    return Seen(lines=tuple(lines), fires=True)


def _no(*words: str) -> Seen:
    *lines, why = words
    return Seen(lines=tuple(lines), fires=False, why_not=why)


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
