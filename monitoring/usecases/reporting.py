"""Builds the report of a check."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from monitoring.checks.server import server_finding
from monitoring.model.coverage import ALWAYS_QUERIED, Coverage, Query
from monitoring.model.finding import Finding
from monitoring.model.observation import Observation, ServerFacts, ServerState
from monitoring.model.report import HealthReport, ordered, status_of


def health_report(observation: Observation, findings: Iterable[Finding], extra: Coverage) -> HealthReport:
    """Build the report of a check.

    Args:
        observation: What the check observed.
        findings: The findings, correlated.
        extra: Coverage of queries outside the observation, such as those for the saved state.
    """
    rows = ordered(findings)
    coverage = Coverage(queries=observation.coverage.queries + extra.queries)
    return HealthReport(
        target=observation.target,
        at=observation.at,
        status=status_of(rows, coverage),
        server=observation.server.state,
        coverage=coverage,
        since=observation.since,
        deployments=len(observation.deployments),
        active_runs=len(observation.runs.active),
        ended_runs=len(observation.runs.ended),
        findings=rows,
    )


def unseen(problem: str) -> Coverage:
    """The coverage of a server that cannot be used: no query of a check was answered."""
    missing = (
        Query(name=name, outcome="failed", detail="not queried: the server cannot be used") for name in ALWAYS_QUERIED
    )
    return Coverage(queries=(Query(name="server", outcome="failed", detail=problem), *missing))


def unreachable_report(target: str, now: datetime, problem: str) -> HealthReport:
    """The report of a check that could not begin because the server cannot be used: one critical finding."""
    state = ServerState(api_url="the Prefect API", problem=problem)
    coverage = unseen(problem)
    server = ServerFacts(state=state)
    observation = Observation(target=target, at=now, since=now, server=server, coverage=coverage)
    return health_report(observation, [server_finding(observation)], Coverage())
