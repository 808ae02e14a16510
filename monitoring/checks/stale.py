"""stale: a deployment has not succeeded within its freshness window.

The window is given, or comes from the deployment's own schedules: so many fires may pass without a
success. A success that may have been lost to the server's retention makes freshness unknown, not stale.
A deployment without schedules that ran regularly is expected to go on so, as information.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Literal

from monitoring.checks.facts.causes import Causes
from monitoring.checks.findings import deployment_finding, policy_of
from monitoring.config.policy import Policies
from monitoring.config.settings import Policy, Stale
from monitoring.history import cadence as rhythm
from monitoring.model.finding import Cause, Finding
from monitoring.model.ledger import EndedRun, Ledger, Record
from monitoring.model.observation import MAX_MISSED, MissedRuns, Observation
from monitoring.model.prefect import Deployment, StateType
from monitoring.text.durations import spoken

#: How runs should end: ``Policy.expect``.
Expect = Literal["success", "failure"]
_RETENTION = "the server no longer has runs that old"


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find deployments without a recent success."""
    causes = Causes(observation)
    for key, deployment in observation.deployments.items():
        policy = policy_of(deployment, policies)
        stale = policy.stale
        if not stale.enabled or deployment.paused:
            continue
        record = ledger.records.get(key, Record())
        since = success_due_since(deployment, stale, observation.at)
        if since is None:
            if stale.rhythm:
                yield from _out_of_rhythm(observation, deployment, record)
            continue
        if stale.within is None and record.scheduled_since and since < record.scheduled_since:
            continue
        last = last_fresh(record, policy.expect)
        if last:
            if last.ended < since:
                yield _finding(observation, deployment, policy, last, since, causes.stale(deployment))
        elif record.success_searched and deployment.created <= since:
            if observation.history.oldest_success and observation.history.oldest_success <= since:
                yield _finding(observation, deployment, policy, None, since, causes.stale(deployment))
            elif observation.coverage.has("oldest-run"):
                yield _unknown(observation, deployment, policy, since)


def fresh_states(expect: Expect) -> tuple[StateType, ...]:
    """The states in which a run ends that counts as fresh: where failures are expected, a failed one does too."""
    return ("COMPLETED", "FAILED") if expect == "failure" else ("COMPLETED",)


def last_fresh(record: Record, expect: Expect) -> EndedRun | None:
    """The newest remembered run that counts as fresh."""
    remembered = (record.last_success, record.last_failed, record.last_ended)
    known = [run for run in remembered if run and run.state_type in fresh_states(expect)]
    return max(known, key=lambda run: run.ended, default=None)


def success_due_since(deployment: Deployment, policy: Stale, now: datetime) -> datetime | None:
    """The moment after which a deployment should have succeeded; None where nothing says so."""
    if policy.within is not None:
        return now - policy.within if deployment.kind == "deployment" else None
    return deployment.due[0] if len(deployment.due) >= policy.missed_fires else None


def _finding(
    observation: Observation,
    deployment: Deployment,
    policy: Policy,
    last: EndedRun | None,
    since: datetime,
    cause: Cause | None,
) -> Finding:
    wanted = _wanted(policy)
    seen = (
        f"last {wanted} {_at(last.ended)}, {spoken(observation.at - last.ended)} ago" if last else f"no {wanted} ever"
    )
    began = last.ended if last else deployment.created
    missed = observation.schedules.missed.get(deployment.id)
    return deployment_finding(
        observation,
        "stale",
        deployment,
        severity="critical",
        run_ids=[last.id] if last else [],
        run_count=0,
        summary=f"{deployment.name}: no {wanted} for {spoken(observation.at - began)}",
        observed=f"{seen}; {_missed(missed)}" if missed else seen,
        expected=_expected(policy, since),
        since=began,
        cause=cause,
    )


def _unknown(observation: Observation, deployment: Deployment, policy: Policy, since: datetime) -> Finding:
    return deployment_finding(
        observation,
        "stale",
        deployment,
        severity="info",
        run_ids=[],
        run_count=0,
        summary=f"{deployment.name}: freshness cannot be judged, {_RETENTION}",
        observed=f"no {_wanted(policy)} in what the server still has",
        expected=_expected(policy, since),
        since=deployment.created,
        unknown=True,
    )


def _out_of_rhythm(observation: Observation, deployment: Deployment, record: Record) -> Iterable[Finding]:
    now = observation.at
    beat = rhythm_of(deployment, record)
    last = record.last_success
    if beat is None or last is None or not beat.longest < now - last.ended <= beat.lasted:
        return
    yield deployment_finding(
        observation,
        "stale",
        deployment,
        severity="info",
        run_ids=[last.id],
        run_count=0,
        summary=f"{deployment.name}: no success for {spoken(now - last.ended)}, usually one every {spoken(beat.gap)}",
        observed=f"last success {_at(last.ended)}, {spoken(now - last.ended)} ago",
        expected=f"one within {spoken(beat.longest)}, as its last {beat.runs} came, though it has no active schedule",
        since=last.ended,
    )


def rhythm_of(deployment: Deployment, record: Record) -> rhythm.Rhythm | None:
    """The rhythm in which a deployment without schedules ran; None where it has none, or schedules."""
    if deployment.kind != "deployment" or deployment.scheduled or deployment.inactive_since:
        return None
    # Where it had schedules until then, those made the rhythm.
    began = record.scheduled_since.timestamp() if record.scheduled_since else 0
    return rhythm.learned(end for end, _ in record.run_times.recent if end >= began)


def _wanted(policy: Policy) -> str:
    return "success or expected failure" if policy.expect == "failure" else "success"


def _missed(missed: MissedRuns) -> str:
    more = f"at least {missed.count:,}" if missed.count >= MAX_MISSED else f"{missed.count:,}"
    fires = "fire" if missed.count == 1 else "fires"
    return f"first missed fire {_at(missed.first)}, {more} {fires} since then"


def _expected(policy: Policy, since: datetime) -> str:
    stale = policy.stale
    if stale.within is not None:
        return f"a {_wanted(policy)} within {spoken(stale.within)}"
    fires = (
        "1 fire of its schedule has" if stale.missed_fires == 1 else f"{stale.missed_fires} fires of its schedule have"
    )
    return (
        f"a {_wanted(policy)} since {_at(since)}: {fires} passed, its usual run time and {spoken(stale.grace)} of grace"
    )


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
