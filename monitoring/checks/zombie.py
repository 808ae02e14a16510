"""zombie: a run reads RUNNING, and its heartbeats have stopped.

A run that never sent one (an older client, heartbeats turned off) cannot be judged, nor can any while the server's
events do not arrive: that is information, and no zombie.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from monitoring.checks.findings import by_deployment, deployment_finding, runs_text
from monitoring.config.policy import Policies
from monitoring.config.settings import Zombie
from monitoring.model.finding import Finding
from monitoring.model.ledger import Ledger
from monitoring.model.observation import EVENTS_DELAY, Heartbeats, Observation
from monitoring.model.prefect import Deployment, FlowRun
from monitoring.text.durations import spoken


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find deployments with runs whose heartbeats have stopped, and those whose runs cannot be judged."""
    running = [run for run in observation.runs.active if run.state_type == "RUNNING"]
    heard = heard_until(observation)
    for deployment, policy, runs in by_deployment(observation, policies, running):
        zombie = policy.zombie
        if not zombie.enabled:
            continue
        beats = observation.runs.heartbeats
        silent = [run for run in runs if run.id in beats and is_silent(run, beats[run.id], zombie, observation.at)]
        dead = [run for run in silent if is_silent(run, beats[run.id], zombie, heard)]
        mute = [
            run
            for run in runs
            if run.id not in beats and observation.at - run.state_timestamp > allowance(None, zombie)
        ]
        if dead:
            yield _finding(observation, deployment, dead, zombie)
        elif silent:
            yield _unheard(observation, deployment, silent, zombie, heard)
        elif mute and observation.coverage.has("heartbeats"):
            yield _unknown(observation, deployment, mute, zombie)


def heard_until(observation: Observation) -> datetime:
    """Until when silence proves something: a heartbeat that the server lost was never missed.

    That is the moment of the check, as long as nothing speaks against it: on a quiet server the dead run's last beat
    may be the newest event. Where a run has changed its state since the newest event, and no event has told of it,
    events do not arrive, and nothing is known from the newest one on. A check that runs on the server is such a run
    itself; one by hand is none.
    """
    vitals, own = observation.server.vitals, observation.own
    beats = (known.last for known in observation.runs.heartbeats.values())
    newest = max(filter(None, (vitals.newest_event, *beats)), default=None)
    runs = (*observation.runs.active, *observation.runs.ended, *own.active, *own.ended, vitals.unheard)
    # The scheduler makes runs without an event.
    changes = (run.state_timestamp for run in runs if run and run.state_type != "SCHEDULED")
    if newest and any(changed > newest + EVENTS_DELAY for changed in changes):
        return newest
    return observation.at


def is_silent(run: FlowRun, beats: Heartbeats, policy: Zombie, until: datetime) -> bool:
    """Whether a RUNNING run's heartbeats had stopped by some moment.

    Silence counts from the last beat, or from when the run last went to RUNNING if that is later: it
    sends none while it waits for a retry.
    """
    return until - max(beats.last, run.state_timestamp) > allowance(beats, policy)


def allowance(beats: Heartbeats | None, policy: Zombie) -> timedelta:
    """How long a RUNNING run may send no heartbeat."""
    interval = beats.interval(policy.default_interval) if beats else policy.default_interval
    return policy.missed_heartbeats * interval


def _finding(observation: Observation, deployment: Deployment, dead: list[FlowRun], policy: Zombie) -> Finding:
    last = {run.id: observation.runs.heartbeats[run.id].last for run in dead}
    dead = sorted(dead, key=lambda run: last[run.id])
    oldest = observation.runs.heartbeats[dead[0].id]
    return deployment_finding(
        observation,
        "zombie",
        deployment,
        severity="critical",
        run_ids=[run.id for run in dead],
        run_count=len(dead),
        summary=f"{deployment.name}: {runs_text(len(dead))} marked RUNNING, but without a sign of life",
        observed=f"{dead[0].name}: no heartbeat for {spoken(observation.at - oldest.last)}",
        expected=f"a heartbeat every {spoken(oldest.interval(policy.default_interval))}",
        since=oldest.last,
    )


def _unheard(
    observation: Observation,
    deployment: Deployment,
    silent: list[FlowRun],
    policy: Zombie,
    heard: datetime,
) -> Finding:
    silent = sorted(silent, key=lambda run: observation.runs.heartbeats[run.id].last)
    oldest = observation.runs.heartbeats[silent[0].id]
    return deployment_finding(
        observation,
        "zombie",
        deployment,
        severity="info",
        run_ids=[run.id for run in silent],
        run_count=len(silent),
        summary=f"{deployment.name}: {runs_text(len(silent))} cannot be told from a dead one: no events arrive",
        observed=f"{silent[0].name}: no heartbeat for {spoken(observation.at - oldest.last)}, nor any other event "
        f"since {heard:%Y-%m-%d %H:%M} UTC, though runs have changed their states",
        expected=f"a heartbeat every {spoken(oldest.interval(policy.default_interval))}",
        since=oldest.last,
        unknown=True,
    )


def _unknown(observation: Observation, deployment: Deployment, mute: list[FlowRun], policy: Zombie) -> Finding:
    mute = sorted(mute, key=lambda run: run.state_timestamp)
    return deployment_finding(
        observation,
        "zombie",
        deployment,
        severity="info",
        run_ids=[run.id for run in mute],
        run_count=len(mute),
        summary=f"{deployment.name}: {runs_text(len(mute))} cannot be told from a dead one: no heartbeat is known",
        observed=f"{mute[0].name}: RUNNING for {spoken(observation.at - mute[0].state_timestamp)}, "
        "no heartbeat in what is kept",
        expected=f"a heartbeat every {spoken(policy.default_interval)} (Prefect 3.6.22 or newer sends them)",
        since=mute[0].state_timestamp,
        unknown=True,
    )
