"""The checks: each one module with one function, ``(observation, ledger, policies, now) -> findings``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from monitoring.checks import ended_badly, late, server, slow, stale, stuck, zombie
from monitoring.model import Finding, Ledger, Observation
from monitoring.policy import Policies

Check = Callable[[Observation, Ledger, Policies, datetime], Iterable[Finding]]

#: All checks, in the order in which they run.
CHECKS: tuple[Check, ...] = (
    server.check,
    ended_badly.check_failed,
    ended_badly.check_crashed,
    zombie.check,
    stuck.check,
    late.check,
    slow.check,
    stale.check,
)


def run_checks(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> tuple[Finding, ...]:
    """Run every check.

    Args:
        observation: What was seen.
        ledger: What is remembered, with the observation folded in.
        policies: The effective policy of each deployment.
        now: The moment that ages are measured against.
    """
    return tuple(finding for check in CHECKS for finding in check(observation, ledger, policies, now))
