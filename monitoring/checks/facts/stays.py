"""How long a run has been in Pending, Cancelling or Paused, and whether that is too long."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import Field

from monitoring.model.fields import CheckSettings, Span
from monitoring.model.observation import Observation
from monitoring.model.prefect import FlowRun
from monitoring.text.durations import humanized


class StaySettings(CheckSettings):
    """When a run stays in a state that should be short."""

    pending_after: Span = Field(timedelta(minutes=30), description="Longest uninterrupted time in Pending.")
    cancelling_after: Span = Field(timedelta(minutes=15), description="Longest time in Cancelling.")
    paused_after: Span = Field(
        timedelta(hours=24),
        description="Longest time in Paused or Suspended, for a pause without a timeout of its own.",
    )
    timeout_grace: Span = Field(
        timedelta(minutes=15), description="How long past its own timeout a run may still be Paused or Suspended."
    )
    retrying_after: Span = Field(timedelta(hours=6), description="Longest time that a run may spend on retries.")


#: A run is also started anew after a pause or a loss of its process, and nobody pauses one so often.
_RETRIED = 5


class Stay(NamedTuple):
    """A stuck run: since when, the observation in words, and the expectation."""

    run: FlowRun
    since: datetime
    observed: str
    expected: str


def in_state_since(observation: Observation, run: FlowRun) -> datetime:
    """Since when a run has been in its state, for Pending without interruption."""
    return observation.runs.pending_since.get(run.id, run.state_timestamp)


def too_long(observation: Observation, run: FlowRun, settings: StaySettings) -> Stay | None:
    """How long a run has been in its state, or has been retried, if that is too long."""
    now, since = observation.at, in_state_since(observation, run)
    limit = limits(settings).get(run.state_type)
    if retries := _retried(run, now, settings):
        return retries
    if run.state_type == "PAUSED" and run.pause_timeout:
        if now - run.pause_timeout <= settings.timeout_grace:
            # Its author wants it to wait for so long.
            return None
        # By default, the server fails such runs within seconds (prefect/server/services/pause_expirations.py), unless
        # that service is dead.
        passed = f"for {humanized(now - since)}, its own timeout passed {humanized(now - run.pause_timeout)} ago"
        return Stay(
            run, run.pause_timeout, passed, f"resumed or failed within {humanized(settings.timeout_grace)} of it"
        )
    if limit is None or now - since <= limit:
        return None
    return Stay(
        run, since, f"for {humanized(now - since)}", f"at most {humanized(limit)} in {run.state_type.capitalize()}"
    )


def retrying(run: FlowRun) -> bool:
    """Whether a run has been started so often that it is being retried, and not resumed or started anew once."""
    return run.run_count >= _RETRIED and run.start_time is not None and run.state_type in ("SCHEDULED", "RUNNING")


def _retried(run: FlowRun, now: datetime, settings: StaySettings) -> Stay | None:
    """For how long a run has been retried, up to its present attempt, if that is too long."""
    if not retrying(run) or run.start_time is None:
        return None
    until = run.state_timestamp if run.state_type == "RUNNING" else now
    if until - run.start_time <= settings.retrying_after:
        return None
    seen = f"attempt {run.run_count:,}, {humanized(now - run.start_time)} after its first start"
    return Stay(run, run.start_time, seen, f"at most {humanized(settings.retrying_after)} of retries")


def limits(settings: StaySettings) -> dict[str, timedelta]:
    """How long a run may be in a state, by its type."""
    return {"PENDING": settings.pending_after, "CANCELLING": settings.cancelling_after, "PAUSED": settings.paused_after}
