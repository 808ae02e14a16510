"""All checks, and one way to run them. A new check is a module and a line here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from monitoring.checks import (
    ahead,
    concurrency,
    crashed,
    failed,
    ghost,
    late,
    paused,
    server,
    slow,
    stale,
    stuck,
    suspicious,
    unscheduled,
    watchdog,
    work_pool,
    work_queue,
    zombie,
)
from monitoring.checks.base import Check, Judged
from monitoring.checks.facts.situation import Situation
from monitoring.model.finding import Finding
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.policy import Policies

#: All checks, in the order of the configuration and the documentation.
CHECKS: tuple[Check[Any, Any], ...] = (
    failed.CHECK,
    crashed.CHECK,
    late.CHECK,
    stuck.CHECK,
    zombie.CHECK,
    ghost.CHECK,
    slow.CHECK,
    suspicious.CHECK,
    stale.CHECK,
    unscheduled.CHECK,
    paused.CHECK,
    work_pool.CHECK,
    work_queue.CHECK,
    ahead.CHECK,
    concurrency.CHECK,
    server.CHECK,
    watchdog.CHECK,
)

#: The checks by the name that findings, silences and routes have.
BY_NAME: Mapping[str, Check[Any, Any]] = {check.name: check for check in CHECKS}


def verdicts(
    observation: Observation, ledger: Ledger, policies: Policies, checks: Iterable[Check[Any, Any]] = CHECKS
) -> Iterator[Judged]:
    """Judge every subject of every check; the ledger has the observation folded in."""
    situation = Situation(observation, ledger, policies)
    for check in checks:
        yield from check.verdicts(situation)


def run_checks(
    observation: Observation, ledger: Ledger, policies: Policies, checks: Iterable[Check[Any, Any]] = CHECKS
) -> tuple[Finding, ...]:
    """Run the checks and keep the findings. Arguments as for ``verdicts``."""
    return findings_of(verdicts(observation, ledger, policies, checks))


def findings_of(judged: Iterable[Judged]) -> tuple[Finding, ...]:
    """The findings among verdicts."""
    return tuple(judgement.finding for judgement in judged if judgement.finding)
