"""One assessment of the server: collect, fold, check, correlate, report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from monitoring.checks.registry import run_checks
from monitoring.checks.server import server_finding
from monitoring.config.policy import Policies
from monitoring.history.ledger import fold
from monitoring.incidents.correlation import correlate
from monitoring.incidents.lifecycle import still_known
from monitoring.incidents.marks import marks
from monitoring.model.base import Value
from monitoring.model.coverage import ALWAYS_QUERIED, Coverage, Query
from monitoring.model.finding import Finding
from monitoring.model.incident import NO_INCIDENTS, Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation, ServerFacts, ServerState
from monitoring.model.outbox import Outbox
from monitoring.model.report import HealthReport, ordered, status_of
from monitoring.model.silence import Silence
from monitoring.notifications.troubles import trouble_findings
from monitoring.usecases.ports import Reader


class Assessment(Value):
    """The result of one assessment."""

    observation: Observation
    ledger: Ledger
    findings: tuple[Finding, ...]
    report: HealthReport


def assess(
    reader: Reader,
    ledger: Ledger,
    policies: Policies,
    now: datetime,
    known: Coverage,
    incidents: Incidents = NO_INCIDENTS,
    outbox: Outbox | None = None,
) -> Assessment:
    """Assess the server once: collect, fold, check, correlate, report. Nothing is saved or changed.

    Args:
        reader: Reads the server.
        ledger: The saved ledger; empty for `watchdog check`.
        policies: The effective policy of each deployment.
        now: The time of the check.
        known: Coverage of earlier queries, such as those for the saved state.
        incidents: The open incidents, and the id of the server.
        outbox: Has the failing routes and exporters.
    """
    observation = reader.observe(now, ledger, policies).model_copy(update={"target_id": incidents.target_id})
    folded = fold(ledger, observation)
    found = [*run_checks(observation, folded, policies)]
    if outbox:
        found += trouble_findings(outbox, observation, policies.config)
    findings = still_known(correlate(found, observation, folded), incidents, observation, policies)
    report = health_report(observation, findings, known)
    return Assessment(observation=observation, ledger=folded, findings=findings, report=report)


def health_report(observation: Observation, findings: Iterable[Finding], extra: Coverage) -> HealthReport:
    """Build the report of a check; ``extra`` covers queries outside the observation, such as for the saved state."""
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


def known_report(seen: Assessment, incidents: Incidents, silences: Sequence[Silence]) -> HealthReport:
    """The report of an assessment with what people know and did: incidents, silences and maintenance windows."""
    found = marks(seen.findings, incidents, silences, seen.observation)
    return seen.report.with_known(incidents.open.values(), found, silences)


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
