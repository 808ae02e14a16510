"""zombie: a run reads RUNNING, and its heartbeats have stopped.

A run that never sent one (an older client, heartbeats turned off) cannot be judged: that is information,
and no zombie.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from monitoring.checks.findings import by_deployment, deployment_finding, runs_text
from monitoring.config import Zombie
from monitoring.durations import spoken
from monitoring.model import Deployment, Finding, FlowRun, Heartbeats, Ledger, Observation
from monitoring.policy import Policies


def check(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> Iterable[Finding]:
    """Find deployments with runs whose heartbeats have stopped, and those whose runs cannot be judged."""
    running = [run for run in observation.active if run.state_type == "RUNNING"]
    for deployment, policy, runs in by_deployment(observation, policies, running):
        zombie = policy.zombie
        if not zombie.enabled:
            continue
        beats = observation.heartbeats
        dead = [run for run in runs if run.id in beats and is_silent(run, beats[run.id], zombie, now)]
        mute = [run for run in runs if run.id not in beats and now - run.state_timestamp > allowance(None, zombie)]
        if dead:
            yield _finding(observation, deployment, dead, zombie, now)
        elif mute and observation.coverage.has("heartbeats"):
            yield _unknown(observation, deployment, mute, zombie, now)


def is_silent(run: FlowRun, beats: Heartbeats, policy: Zombie, now: datetime) -> bool:
    """Whether a RUNNING run's heartbeats have stopped.

    Silence counts from the last beat, or from when the run last went to RUNNING if that is later: it
    sends none while it waits for a retry.
    """
    return now - max(beats.last, run.state_timestamp) > allowance(beats, policy)


def allowance(beats: Heartbeats | None, policy: Zombie) -> timedelta:
    """How long a RUNNING run may send no heartbeat."""
    interval = beats.interval(policy.default_interval) if beats else policy.default_interval
    return policy.missed_heartbeats * interval


def _finding(
    observation: Observation, deployment: Deployment, dead: list[FlowRun], policy: Zombie, now: datetime
) -> Finding:
    last = {run.id: observation.heartbeats[run.id].last for run in dead}
    dead = sorted(dead, key=lambda run: last[run.id])
    oldest = observation.heartbeats[dead[0].id]
    return deployment_finding(
        observation,
        "zombie",
        deployment,
        severity="critical",
        run_ids=[run.id for run in dead],
        run_count=len(dead),
        summary=f"{deployment.name}: {runs_text(len(dead))} marked RUNNING, but without a sign of life",
        observed=f"{dead[0].name}: no heartbeat for {spoken(now - oldest.last)}",
        expected=f"a heartbeat every {spoken(oldest.interval(policy.default_interval))}",
        since=oldest.last,
    )


def _unknown(
    observation: Observation, deployment: Deployment, mute: list[FlowRun], policy: Zombie, now: datetime
) -> Finding:
    mute = sorted(mute, key=lambda run: run.state_timestamp)
    return deployment_finding(
        observation,
        "zombie",
        deployment,
        severity="info",
        run_ids=[run.id for run in mute],
        run_count=len(mute),
        summary=f"{deployment.name}: {runs_text(len(mute))} cannot be told from a dead one: no heartbeat is known",
        observed=f"{mute[0].name}: RUNNING for {spoken(now - mute[0].state_timestamp)}, no heartbeat in what is kept",
        expected=f"a heartbeat every {spoken(policy.default_interval)} (Prefect 3.6.22 or newer sends them)",
        since=mute[0].state_timestamp,
        unknown=True,
    )
