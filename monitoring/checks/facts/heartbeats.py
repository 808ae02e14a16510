"""Whether a RUNNING run still sends heartbeats."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from monitoring.model.fields import CheckSettings, Count, Span
from monitoring.model.observation import EVENTS_DELAY, Heartbeats, Observation
from monitoring.model.prefect import FlowRun

#: A run that is this many times as old as any completed run of its deployment was long, and at least a day, is no
#: ordinary run any more.
_TIMES_LONGEST = 10
_MIN_AGE = timedelta(days=1)


class HeartbeatSettings(CheckSettings):
    """When a run is RUNNING and its heartbeats have stopped."""

    missed_heartbeats: Count = Field(3, ge=2, description="Missed heartbeat intervals.")
    default_interval: Span = Field(
        timedelta(seconds=180),
        description="Interval assumed for a run that has sent only one heartbeat; Prefect's own default.",
    )


def heard_until(observation: Observation) -> datetime:
    """Until when missing heartbeats prove that a run is silent, and not that the server lost events.

    Normally that is the time of the check: on a quiet server, the last heartbeat of a dead run may be the newest event.
    But if a run has changed its state since the newest event without an event of that change, events do not arrive,
    and nothing is known after the newest event. A check that runs on the server is such a run itself; a check by hand
    is not.
    """
    vitals, own = observation.server.vitals, observation.own
    beats = (known.heard for known in observation.runs.heartbeats.values())
    newest = max(filter(None, (vitals.newest_event, *beats)), default=None)
    runs = (*observation.runs.active, *observation.runs.ended, *own.active, *own.ended, vitals.unheard)
    # The scheduler makes runs without an event.
    changes = (run.state_timestamp for run in runs if run and run.state_type != "SCHEDULED")
    if newest and any(changed > newest + EVENTS_DELAY for changed in changes):
        return newest
    return observation.at


def is_silent(run: FlowRun, beats: Heartbeats, settings: HeartbeatSettings, until: datetime) -> bool:
    """Whether a RUNNING run's heartbeats had stopped by some time.

    Silence counts from the last heartbeat, or from the run's last change to RUNNING if that is later: a run sends no
    heartbeats while it waits for a retry.
    """
    return until - max(beats.heard, run.state_timestamp) > allowance(beats, settings)


def outlived(span: timedelta, longest: timedelta | None) -> bool:
    """Whether a span is far beyond the longest known run time of a deployment; never if that is unknown."""
    return longest is not None and span > max(_MIN_AGE, _TIMES_LONGEST * longest)


def allowance(beats: Heartbeats | None, settings: HeartbeatSettings) -> timedelta:
    """How long a RUNNING run may send no heartbeat."""
    interval = beats.interval(settings.default_interval) if beats else settings.default_interval
    return settings.missed_heartbeats * interval
