"""Who holds the slots of a limit, in words, and who will not give them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from monitoring.checks.facts.heartbeats import HeartbeatSettings, heard_until, is_silent
from monitoring.checks.facts.stays import StaySettings, too_long
from monitoring.checks.findings import policy_of
from monitoring.model.observation import Holder, Observation
from monitoring.model.policy import Policies
from monitoring.model.prefect import FlowRun
from monitoring.text.durations import spoken

#: A finding names at most so many of those who hold slots.
_MOST_NAMED = 5
#: So much of a run's name is shown: some are named after all their parameters.
_MOST_NAME = 80


class Holders:
    """Those who hold slots at the time of a check.

    Args:
        observation: What was observed.
        policies: They say which runs are dead, or stuck.
    """

    def __init__(self, observation: Observation, policies: Policies) -> None:
        """Sort the active runs by their ids, once for all questions."""
        self._observation = observation
        self._policies = policies
        self._now = observation.at
        self._heard_until = heard_until(observation)
        self._active = {run.id: run for run in observation.runs.active}

    def dead_since(self, holder: Holder) -> datetime | None:
        """Since when a holder will not give its slot back: its run has ended, or shows no sign of life any more."""
        if holder.ended:
            return holder.since
        run = self._active.get(holder.flow_run_id)
        return self._silent_since(run) if run else None

    def run_lines(self, runs: Iterable[FlowRun]) -> list[str]:
        """Say of runs what they do, and for how long; those that began first come first."""
        return _listed([f"{_short(run.name)}: {self._run_does(run)}" for run in sorted(runs, key=_began)])

    def lines(self, holders: Iterable[Holder]) -> list[str]:
        """Say of holders what their runs do, and for how long."""
        return _listed([f"{_short(holder.name)}: {self._does(holder)}" for holder in holders])

    def _silent_since(self, run: FlowRun) -> datetime | None:
        deployment = self._observation.deployments.get(run.key)
        beats = self._observation.runs.heartbeats.get(run.id)
        if run.state_type != "RUNNING" or not deployment or not beats:
            return None
        settings = policy_of(deployment, self._policies).section("zombie", HeartbeatSettings)
        return beats.last if is_silent(run, beats, settings, self._heard_until) else None

    def _run_does(self, run: FlowRun) -> str:
        deployment = self._observation.deployments.get(run.key)
        if silent := self._silent_since(run):
            return f"{run.state_name}, but without a sign of life for {spoken(self._now - silent)}"
        if deployment:
            settings = policy_of(deployment, self._policies).section("stuck", StaySettings)
            if stay := too_long(self._observation, run, settings):
                return f"stuck in {run.state_name} {stay.observed}"
        return f"{run.state_name} for {spoken(self._now - _began(run))}"

    def _does(self, holder: Holder) -> str:
        run = self._active.get(holder.flow_run_id)
        slots = "" if holder.slots == 1 else f", with {holder.slots:,} slots"
        if run:
            return self._run_does(run) + slots
        passed = spoken(self._now - holder.since)
        return (f"{holder.state_name} {passed} ago" if holder.ended else f"{holder.state_name} for {passed}") + slots


def _listed(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST_NAMED
    return [*lines[:_MOST_NAMED], *([f"and {more:,} more"] if more > 0 else [])]


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}…"


def _began(run: FlowRun) -> datetime:
    return (run.start_time if run.state_type == "RUNNING" else None) or run.state_timestamp
