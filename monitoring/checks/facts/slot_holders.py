"""The holders of a limit's slots, in words, and the holders that will not release them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from monitoring.checks.facts.heartbeats import HeartbeatSettings, heard_until, is_silent
from monitoring.checks.facts.stays import StaySettings, too_long
from monitoring.failures.error_names import one_line
from monitoring.model.observation import Holder, Observation
from monitoring.model.policy import Policies, policy_key
from monitoring.model.prefect import FlowRun
from monitoring.text.durations import humanized

#: The most holders of slots that a finding names.
_MAX_NAMED = 5
#: The longest run name shown; some names contain all parameters.
_MAX_NAME = 80


class Holders:
    """The holders of slots at the time of a check."""

    def __init__(self, observation: Observation, policies: Policies) -> None:
        """Index the active runs by id, once."""
        self._observation = observation
        self._policies = policies
        self._now = observation.at
        self._heard_until = heard_until(observation)
        self._active = {run.id: run for run in observation.runs.active}
        self._of_deleted = {run.id for run in observation.runs.of_deleted}

    def dead_since(self, holder: Holder) -> datetime | None:
        """Since when a holder will not release its slot: its run has ended, or its heartbeats have stopped."""
        if holder.ended:
            return holder.since
        run = self._active.get(holder.flow_run_id)
        return self._silent_since(run) if run else None

    def run_lines(self, runs: Iterable[FlowRun]) -> list[str]:
        """Describe the state of runs and for how long they have been in it, the oldest first."""
        return _listed([(run.name, self._state_of_run(run)) for run in sorted(runs, key=_began)])

    def lines(self, holders: Iterable[Holder]) -> list[str]:
        """Describe the state of the holders' runs and for how long they have been in it."""
        return _listed([(holder.name, self._state_of(holder)) for holder in holders])

    def _silent_since(self, run: FlowRun) -> datetime | None:
        deployment = self._observation.deployments.get(run.key)
        beats = self._observation.runs.heartbeats.get(run.id)
        if run.state_type != "RUNNING" or not deployment or not beats:
            return None
        settings = self._policies.of(*policy_key(deployment)).section("zombie", HeartbeatSettings)
        return beats.heard if is_silent(run, beats, settings, self._heard_until) else None

    def _state_of_run(self, run: FlowRun) -> str:
        deployment = self._observation.deployments.get(run.key)
        if silent := self._silent_since(run):
            return f"{run.state_name}, but without a heartbeat for {humanized(self._now - silent)}"
        if deployment:
            settings = self._policies.of(*policy_key(deployment)).section("stuck", StaySettings)
            if stay := too_long(self._observation, run, settings):
                return f"stuck in {run.state_name} {stay.observed}"
        deleted = "; its deployment was deleted" if run.id in self._of_deleted else ""
        return f"{run.state_name} for {humanized(self._now - _began(run))}{deleted}"

    def _state_of(self, holder: Holder) -> str:
        run = self._active.get(holder.flow_run_id)
        slots = "" if holder.slots == 1 else f", with {holder.slots:,} slots"
        if run:
            return self._state_of_run(run) + slots
        passed = humanized(self._now - holder.since)
        return (f"{holder.state_name} {passed} ago" if holder.ended else f"{holder.state_name} for {passed}") + slots


def _listed(states: Sequence[tuple[str, str]]) -> list[str]:
    lines = [f"{one_line(name, _MAX_NAME)}: {state}" for name, state in states[:_MAX_NAMED]]
    more = len(states) - _MAX_NAMED
    return [*lines, f"and {more:,} more"] if more > 0 else lines


def _began(run: FlowRun) -> datetime:
    return (run.start_time if run.state_type == "RUNNING" else None) or run.state_timestamp
