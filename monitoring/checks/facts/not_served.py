"""Runs that nothing served: they were cancelled after they were due and before they started, whoever cancelled them.

An automation that cancels what is late, as Prefect's own guide shows it, leaves no run that waits. What kept such runs
from starting is known as long as it lasts: a work pool or queue that starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import NamedTuple

from monitoring.checks.facts.causes import Causes
from monitoring.checks.facts.waiting import Waiting, runs_wait
from monitoring.checks.findings import runs_text
from monitoring.model.finding import Cause, CauseKind
from monitoring.model.ledger import CancelledRuns, Ledger
from monitoring.model.observation import Observation
from monitoring.model.policy import Policies, policy_key
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized

#: Without an active schedule, no run will show that it is over: what was cancelled counts for this long.
_EXPIRE_AFTER = timedelta(hours=24)
#: Without an active schedule, a single cancelled run may be somebody's change of mind.
_MIN_UNSCHEDULED = 2


class NotServed(NamedTuple):
    """The runs of a deployment that nothing served, and why."""

    deployment: Deployment
    runs: CancelledRuns
    cause: Cause


class HeldUp(NamedTuple):
    """All work that a work pool or queue keeps from starting: the runs that wait, and those that nothing served."""

    waiting: Sequence[Waiting]
    not_served: Sequence[NotServed]

    @property
    def due(self) -> datetime:
        """When the first of the runs was due."""
        return min([*(wait.due for wait in self.waiting[:1]), *(entry.runs.since for entry in self.not_served[:1])])

    @property
    def run_count(self) -> int:
        """The number of runs."""
        return len(self.waiting) + sum(entry.runs.count for entry in self.not_served)

    @property
    def run_ids(self) -> list[str]:
        """The ids of the runs, as far as they are kept."""
        cancelled = (run_id for entry in self.not_served for run_id in entry.runs.run_ids)
        return [*(wait.run.id for wait in self.waiting), *cancelled]

    @property
    def cause(self) -> Cause | None:
        """What keeps them from starting."""
        return self.waiting[0].cause if self.waiting else self.not_served[0].cause

    @property
    def deployments(self) -> Iterator[Deployment]:
        """The deployment of each run."""
        cancelled = (repeat(entry.deployment, entry.runs.count) for entry in self.not_served)
        return chain((wait.deployment for wait in self.waiting), *cancelled)

    @property
    def what(self) -> str:
        """``2 runs wait``; ``29 runs were cancelled before starting``; or both."""
        cancelled = self.run_count - len(self.waiting)
        said = [runs_wait(len(self.waiting))] if self.waiting else []
        if cancelled:
            said.append(f"{runs_text(cancelled)} {'was' if cancelled == 1 else 'were'} cancelled before starting")
        return " and ".join(said)

    def since_when(self, now: datetime) -> str:
        """``2 runs wait, the oldest for 3 h``; ``29 runs were cancelled before starting, the first due 9 h ago``."""
        passed = humanized(now - self.due)
        return f"{self.what}, " + (f"the first due {passed} ago" if self.not_served else f"the oldest for {passed}")


def not_served(observation: Observation, ledger: Ledger, policies: Policies, causes: Causes) -> Iterator[NotServed]:
    """The runs that nothing served where the cause still lasts, by watched deployment."""
    for deployment in observation.deployments.values():
        runs = ledger.record(deployment.key).not_served
        if runs is None or deployment.paused or not policies.of(*policy_key(deployment)).watch:
            continue
        cause = causes.closed(deployment)
        if cause and _counts(deployment, runs, observation.at) and _missed(observation, deployment, runs, cause):
            yield NotServed(deployment, runs, cause)


def by_place(found: Sequence[NotServed]) -> Mapping[tuple[CauseKind, str], Sequence[NotServed]]:
    """Group runs that nothing served by the work pool or queue, the earliest due first."""
    groups: dict[tuple[CauseKind, str], list[NotServed]] = {}
    for entry in sorted(found, key=lambda entry: (entry.runs.since, entry.deployment.id)):
        groups.setdefault((entry.cause.kind, entry.cause.name), []).append(entry)
    return groups


def _counts(deployment: Deployment, runs: CancelledRuns, now: datetime) -> bool:
    return deployment.scheduled or (runs.count >= _MIN_UNSCHEDULED and now - runs.until < _EXPIRE_AFTER)


def _missed(observation: Observation, deployment: Deployment, runs: CancelledRuns, cause: Cause) -> bool:
    """Whether the runs missed the worker that is missing now: none was alive after the last of them."""
    pool = observation.pools.work_pools.get(deployment.work_pool or "")
    heard = pool.last_heartbeat if pool else None
    return cause.reason != "no-live-worker" or heard is None or heard < runs.until
