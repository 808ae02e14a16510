"""The input of all checks, with the facts that several checks need, each derived once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property

from monitoring.checks.facts.cases import Case, deployment_case
from monitoring.checks.facts.causes import Causes
from monitoring.checks.facts.heartbeats import heard_until
from monitoring.checks.facts.not_served import HeldUp, NotServed, not_served
from monitoring.checks.facts.not_served import by_place as not_served_by_place
from monitoring.checks.facts.scheduler import scheduler_is_dead
from monitoring.checks.facts.slot_holders import Holders
from monitoring.checks.facts.waiting import ByCause, ByPlace, Waiting, by_cause, by_place, waiting_runs
from monitoring.model.finding import Cause, CauseKind
from monitoring.model.ledger import Ledger, Record
from monitoring.model.observation import Observation
from monitoring.model.policy import BasePolicy, Policies, policy_key
from monitoring.model.prefect import Deployment, FlowRun, by_key


class Situation:
    """The input of the checks at one time; the ledger has the observation folded in."""

    def __init__(self, observation: Observation, ledger: Ledger, policies: Policies) -> None:
        """Keep the values; facts are derived from them when a check first needs them."""
        self.observation = observation
        self.ledger = ledger
        self.policies = policies

    @property
    def now(self) -> datetime:
        """The time of the check."""
        return self.observation.at

    def policy(self, deployment: Deployment) -> BasePolicy:
        """The policy of a deployment."""
        return self.policies.of(*policy_key(deployment))

    def record(self, deployment: Deployment) -> Record:
        """The ledger's record of a deployment; empty if there is none."""
        return self.ledger.record(deployment.key)

    def active(self, deployment: Deployment, state_type: str) -> Sequence[FlowRun]:
        """The active runs of a deployment in a state, by its type."""
        return [run for run in self._active.get(deployment.key, ()) if run.state_type == state_type]

    def active_runs(self, deployment: Deployment) -> Sequence[FlowRun]:
        """The active runs of a deployment."""
        return self._active.get(deployment.key, ())

    def ended_runs(self, deployment: Deployment) -> Sequence[FlowRun]:
        """The runs of a deployment that ended in the window, oldest first."""
        return self._ended.get(deployment.key, ())

    @cached_property
    def _active(self) -> Mapping[str, Sequence[FlowRun]]:
        return by_key(self.observation.runs.active)

    @cached_property
    def _ended(self) -> Mapping[str, Sequence[FlowRun]]:
        return by_key(self.observation.runs.ended)

    @cached_property
    def deployment_cases(self) -> Sequence[Case[Deployment]]:
        """Every deployment, and every flow that is watched in place of one, as a case."""
        return [deployment_case(deployment, deployment) for deployment in self.observation.deployments.values()]

    @cached_property
    def causes(self) -> Causes:
        """Why runs wait or are missing."""
        return Causes(self.observation)

    @cached_property
    def heard_until(self) -> datetime:
        """Until when the silence of a run proves something."""
        return heard_until(self.observation)

    @cached_property
    def scheduler_is_dead(self) -> bool:
        """Whether the server's scheduler creates no runs."""
        return scheduler_is_dead(self.observation)

    @cached_property
    def holders(self) -> Holders:
        """Who holds the slots of limits."""
        return Holders(self.observation, self.policies)

    @cached_property
    def waiting(self) -> Sequence[Waiting]:
        """The runs that are due and wait, longest wait first."""
        return waiting_runs(self.observation, self.policies, self.causes)

    @cached_property
    def waiting_by_cause(self) -> ByCause:
        """The waiting runs by the cause of their wait."""
        return by_cause(self.waiting)

    @cached_property
    def waiting_by_place(self) -> ByPlace:
        """The runs that are overdue by the work pool or queue that holds them up."""
        return by_place(self.waiting, self.now)

    @cached_property
    def not_served(self) -> Mapping[str, NotServed]:
        """The runs that nothing served, by the key of their deployment."""
        found = not_served(self.observation, self.ledger, self.policies, self.causes)
        return {entry.deployment.key: entry for entry in found}

    def held_up(self, kind: CauseKind, name: str) -> HeldUp | None:
        """What a work pool or queue keeps from starting, or did until it was cancelled; None if that is nothing."""
        found = HeldUp(self.waiting_by_place.get((kind, name), ()), self._not_served_by_place.get((kind, name), ()))
        return found if found.waiting or found.not_served else None

    @cached_property
    def _not_served_by_place(self) -> Mapping[tuple[CauseKind, str], Sequence[NotServed]]:
        return not_served_by_place(tuple(self.not_served.values()))

    def stale_cause(self, deployment: Deployment) -> Cause | None:
        """Why a deployment does not succeed, also if the runs that would wait have been cancelled."""
        entry = self.not_served.get(deployment.key)
        return self.causes.stale(deployment) or (entry.cause if entry else None)
