"""The server itself: the API cannot be reached, or is not ready."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from monitoring.model import Cause, Finding, Ledger, Observation, Subject, fingerprint
from monitoring.policy import Policies


def check(observation: Observation, ledger: Ledger, policies: Policies, now: datetime) -> Iterable[Finding]:
    """Find one critical thing when the server cannot be used: everything else is hidden behind it."""
    if observation.server.problem is not None:
        yield server_finding(observation)


def server_finding(observation: Observation) -> Finding:
    """The finding about a server that cannot be used."""
    server = observation.server
    return Finding(
        fingerprint=fingerprint(observation.target, "server", "server", observation.target),
        check="server",
        severity="critical",
        subject=Subject(kind="server", id=observation.target, name=observation.target),
        summary=f"The Prefect server {observation.target} cannot be used",
        observed=server.problem or "",
        expected=f"{server.api_url} answers, and its database is ready",
        since=observation.at,
        url=server.ui_url,
        cause=Cause(kind="server", name=observation.target, reason="unreachable"),
    )
