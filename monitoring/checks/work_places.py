"""work-pool and work-queue."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from monitoring.model import Finding, Ledger, Observation
from monitoring.policy import Policies


def check_pools(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> Iterable[Finding]:
    """To come."""
    return ()


def check_queues(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> Iterable[Finding]:
    """To come."""
    return ()
