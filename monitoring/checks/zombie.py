"""zombie: a run is marked RUNNING, and its heartbeats have stopped.

A run that never sent a heartbeat (an older client, heartbeats turned off) cannot be judged, nor can any run while the
server's events do not arrive. Both findings are information.
"""

from __future__ import annotations

from collections.abc import Sequence

from monitoring.checks.base import MAX_COMPARED, Check, Compared, Verdict, deployments, found, more, nothing
from monitoring.checks.facts.heartbeats import HeartbeatSettings, allowance, is_silent
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import deployment_finding, runs_text
from monitoring.model.finding import Finding
from monitoring.model.prefect import Deployment, FlowRun
from monitoring.text.durations import humanized


def judge(situation: Situation, deployment: Deployment, settings: HeartbeatSettings) -> Verdict:
    """Judge the heartbeats of a deployment's RUNNING runs."""
    observation, now = situation.observation, situation.now
    running = situation.active(deployment, "RUNNING")
    if not running:
        return nothing("no run is RUNNING")
    beats = observation.runs.heartbeats
    compared = [_compared(run, situation, settings) for run in running[:MAX_COMPARED]]
    compared += more(len(running))
    silent = [run for run in running if run.id in beats and is_silent(run, beats[run.id], settings, now)]
    dead = [run for run in silent if is_silent(run, beats[run.id], settings, situation.heard_until)]
    mute = [run for run in running if run.id not in beats and now - run.state_timestamp > allowance(None, settings)]
    if dead:
        return found(_dead(situation, deployment, dead, settings), *compared)
    if silent:
        return found(_unheard(situation, deployment, silent, settings), *compared)
    if mute and observation.coverage.has("heartbeats"):
        return found(_mute(situation, deployment, mute, settings), *compared)
    return nothing("no run has been silent for too long", *compared)


def _compared(run: FlowRun, situation: Situation, settings: HeartbeatSettings) -> Compared:
    beats = situation.observation.runs.heartbeats.get(run.id)
    limit = allowance(beats, settings)
    if beats is None:
        return Compared(
            f"{run.name}: no heartbeat, RUNNING for", situation.now - run.state_timestamp, limit, run.state_timestamp
        )
    return Compared(
        f"{run.name}: no heartbeat, after {beats.count:,}, for", situation.now - beats.last, limit, beats.last
    )


def _dead(
    situation: Situation, deployment: Deployment, dead: Sequence[FlowRun], settings: HeartbeatSettings
) -> Finding:
    beats = situation.observation.runs.heartbeats
    dead = sorted(dead, key=lambda run: beats[run.id].last)
    oldest = beats[dead[0].id]
    return deployment_finding(
        situation.observation,
        "zombie",
        deployment,
        severity="critical",
        run_ids=[run.id for run in dead],
        run_count=len(dead),
        summary=f"{deployment.name}: {runs_text(len(dead))} marked RUNNING, but without heartbeats",
        observed=f"{dead[0].name}: no heartbeat for {humanized(situation.now - oldest.last)}",
        expected=f"a heartbeat every {humanized(oldest.interval(settings.default_interval))}",
        since=oldest.last,
    )


def _unheard(
    situation: Situation, deployment: Deployment, silent: Sequence[FlowRun], settings: HeartbeatSettings
) -> Finding:
    beats = situation.observation.runs.heartbeats
    silent = sorted(silent, key=lambda run: beats[run.id].last)
    oldest = beats[silent[0].id]
    return deployment_finding(
        situation.observation,
        "zombie",
        deployment,
        severity="info",
        run_ids=[run.id for run in silent],
        run_count=len(silent),
        summary=f"{deployment.name}: {runs_text(len(silent))} may be dead: no events arrive, so heartbeats are unknown",
        observed=f"{silent[0].name}: no heartbeat for {humanized(situation.now - oldest.last)}, nor any other event "
        f"since {situation.heard_until:%Y-%m-%d %H:%M} UTC, though runs have changed state",
        expected=f"a heartbeat every {humanized(oldest.interval(settings.default_interval))}",
        since=oldest.last,
        unknown=True,
    )


def _mute(
    situation: Situation, deployment: Deployment, mute: Sequence[FlowRun], settings: HeartbeatSettings
) -> Finding:
    mute = sorted(mute, key=lambda run: run.state_timestamp)
    since = mute[0].state_timestamp
    return deployment_finding(
        situation.observation,
        "zombie",
        deployment,
        severity="info",
        run_ids=[run.id for run in mute],
        run_count=len(mute),
        summary=f"{deployment.name}: {runs_text(len(mute))} may be dead: no heartbeat was ever received",
        observed=f"{mute[0].name}: RUNNING for {humanized(situation.now - since)}, no heartbeat among the kept events",
        expected=f"a heartbeat every {humanized(settings.default_interval)} (Prefect 3.6.22 or newer sends them)",
        since=since,
        unknown=True,
    )


CHECK = Check(
    name="zombie",
    section=HeartbeatSettings,
    about="Runs that are marked RUNNING and whose heartbeats have stopped.",
    heading="Zombies: running without heartbeats",
    predicate="run without heartbeats",
    cases=deployments,
    judge=judge,
    deciding=lambda settings: ("missed_heartbeats", "default_interval"),
    not_replayed="heartbeats are events, which the server keeps for 7 days by default",
)
