"""zombie: a run is marked RUNNING, and its heartbeats have stopped.

The server deletes heartbeats after some days. A run without any that runs far longer than any before it, and of which
nothing else has been heard for as long, is dead, too. Any other run that never sent a heartbeat (an older client,
heartbeats turned off) cannot be judged, nor can any run while the server's events do not arrive. Both findings are
information.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.heartbeats import HeartbeatSettings, allowance, is_silent, outlived
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import MAX_COMPARED, Compared, Found, Verdict, more, nothing, runs_text
from monitoring.history.baselines import longest
from monitoring.model.prefect import Deployment, FlowRun
from monitoring.text.durations import humanized


def judge(situation: Situation, deployment: Deployment, settings: HeartbeatSettings) -> Verdict:
    """Judge the heartbeats of a deployment's RUNNING runs."""
    now, beats = situation.now, situation.observation.runs.heartbeats
    running = situation.active(deployment, "RUNNING")
    if not running:
        return nothing("no run is RUNNING")
    compared = [_compared(run, situation, settings) for run in running[:MAX_COMPARED]]
    compared += more(len(running))
    silent = [run for run in running if run.id in beats and is_silent(run, beats[run.id], settings, now)]
    dead = [run for run in silent if is_silent(run, beats[run.id], settings, situation.heard_until)]
    mute = [run for run in running if run.id not in beats and now - run.state_timestamp > allowance(None, settings)]
    longest_run = longest(situation.record(deployment).run_times)
    signs = situation.observation.runs.signs_of_life
    lifeless = [run for run in mute if run.id in signs and outlived(now - signs[run.id], longest_run)]
    if lifeless and longest_run and not dead and situation.observation.coverage.has("heartbeats"):
        return _lifeless(compared, situation, deployment, lifeless, longest_run)
    if silent:
        return _silent(compared, situation, deployment, dead or silent, settings, known_dead=bool(dead))
    if mute and situation.observation.coverage.has("heartbeats"):
        return _mute(compared, situation, deployment, mute, settings)
    return nothing("no run has been silent for too long", *compared)


def _compared(run: FlowRun, situation: Situation, settings: HeartbeatSettings) -> Compared:
    beats = situation.observation.runs.heartbeats.get(run.id)
    limit = allowance(beats, settings)
    if beats is None:
        return Compared(
            f"{run.name}: no heartbeat, RUNNING for", situation.now - run.state_timestamp, limit, run.state_timestamp
        )
    return Compared(
        f"{run.name}: no heartbeat, after {beats.count:,}, for", situation.now - beats.heard, limit, beats.heard
    )


def _silent(
    compared: Sequence[Compared],
    situation: Situation,
    deployment: Deployment,
    silent: Sequence[FlowRun],
    settings: HeartbeatSettings,
    known_dead: bool,
) -> Found:
    """Runs whose heartbeats have stopped; they may be alive if the server's events do not arrive."""
    beats = situation.observation.runs.heartbeats
    silent = sorted(silent, key=lambda run: beats[run.id].heard)
    oldest = beats[silent[0].id]
    what, seen = "marked RUNNING, but without heartbeats", ""
    if not known_dead:
        what = "may be dead: no events arrive, so heartbeats are unknown"
        heard = f"{situation.heard_until:%Y-%m-%d %H:%M} UTC"
        seen = f", nor any other event since {heard}, though runs have changed state"
    return Found(
        compared,
        severity="critical" if known_dead else "info",
        run_ids=[run.id for run in silent],
        summary=f"{deployment.name}: {runs_text(len(silent))} {what}",
        observed=f"{silent[0].name}: no heartbeat for {humanized(situation.now - oldest.heard)}{seen}",
        expected=f"a heartbeat every {humanized(oldest.interval(settings.default_interval))}",
        since=oldest.heard,
        unknown=not known_dead,
    )


def _lifeless(
    compared: Sequence[Compared],
    situation: Situation,
    deployment: Deployment,
    lifeless: Sequence[FlowRun],
    longest_run: timedelta,
) -> Found:
    """Runs whose heartbeats, if they sent any, the server has deleted."""
    signs = situation.observation.runs.signs_of_life
    lifeless = sorted(lifeless, key=lambda run: signs[run.id])
    first, since = lifeless[0], signs[lifeless[0].id]
    running, silence = humanized(situation.now - first.state_timestamp), humanized(situation.now - since)
    return Found(
        compared,
        severity="critical",
        run_ids=[run.id for run in lifeless],
        summary=f"{deployment.name}: {runs_text(len(lifeless))} marked RUNNING, but without any sign of life",
        observed=f"{first.name}: RUNNING for {running}, no heartbeat, log, task run or event for {silence}",
        expected=f"the end of the run: its deployment's last completed runs took {humanized(longest_run)} at most",
        since=since,
    )


def _mute(
    compared: Sequence[Compared],
    situation: Situation,
    deployment: Deployment,
    mute: Sequence[FlowRun],
    settings: HeartbeatSettings,
) -> Found:
    """Runs that never sent a heartbeat."""
    mute = sorted(mute, key=lambda run: run.state_timestamp)
    since = mute[0].state_timestamp
    return Found(
        compared,
        severity="info",
        run_ids=[run.id for run in mute],
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
