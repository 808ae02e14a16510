"""How long a run may take: a configured limit, else the baseline of its deployment.

Run time is the time in RUNNING over all attempts, without waits for retries and without pauses.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import Field

from monitoring.history.baselines import Baseline, BaselineSettings, baseline
from monitoring.model.fields import CheckSettings, Span
from monitoring.model.ledger import RunTimes
from monitoring.model.prefect import FlowRun


class RunTimeSettings(BaselineSettings, CheckSettings):
    """How long a run may take."""

    limit: Span | None = Field(
        None, description="Longest run time of all attempts together, without waits and pauses. Null: no limit."
    )
    baseline: bool = Field(
        True, description="Whether the deployment's own completed runs judge the run time if there is no limit."
    )


class Bound(NamedTuple):
    """The longest allowed run time; ``usual`` is the baseline that it comes from, None if it is configured."""

    limit: timedelta
    usual: Baseline | None


def bound(known: RunTimes, settings: RunTimeSettings) -> Bound | None:
    """The longest allowed run time of a deployment; None if none is configured and too little is known."""
    if settings.limit is not None:
        return Bound(settings.limit, None)
    usual = baseline(known, settings) if settings.baseline else None
    return Bound(usual.limit, usual) if usual else None


def longest_usual(known: RunTimes, settings: RunTimeSettings) -> timedelta | None:
    """The run time that no run exceeds unless something is wrong, from however few runs; None if none is known."""
    if may := bound(known, settings):
        return may.limit
    longest = max((seconds for _, seconds in known.recent), default=None)
    return None if longest is None else timedelta(seconds=longest * settings.min_ratio) + settings.floor


def run_time(run: FlowRun, now: datetime) -> timedelta:
    """The run time of a RUNNING run, all attempts, up to now: the total moves only on leaving RUNNING."""
    return run.total_run_time + (now - run.state_timestamp)
