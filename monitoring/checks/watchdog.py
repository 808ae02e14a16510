"""watchdog."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from monitoring.model import Finding, Ledger, Observation
from monitoring.policy import Policies


def check(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> Iterable[Finding]:
    """To come."""
    return ()
