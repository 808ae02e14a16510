"""One assessment of the server: collect, fold, check, correlate, report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from monitoring.checks.registry import run_checks
from monitoring.config.policy import Policies
from monitoring.history.ledger import fold
from monitoring.incidents.correlation import correlate
from monitoring.incidents.lifecycle import still_known
from monitoring.metrics.failing_exporters import exporter_findings
from monitoring.model.base import Value
from monitoring.model.coverage import Coverage
from monitoring.model.finding import Finding
from monitoring.model.incident import Incident
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.outbox import Outbox
from monitoring.model.report import HealthReport
from monitoring.notifications.failing_routes import route_findings
from monitoring.usecases.ports import Reader
from monitoring.usecases.reporting import health_report


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
    incidents: Mapping[str, Incident] | None = None,
    outbox: Outbox | None = None,
) -> Assessment:
    """Assess the server once: collect, fold, check, correlate, report. Nothing is saved or changed.

    Args:
        reader: Reads the server.
        ledger: The saved ledger; empty for `watchdog check`.
        policies: The effective policy of each deployment.
        now: The time of the check.
        known: Coverage of earlier queries, such as those for the saved state.
        incidents: The open incidents by fingerprint.
        outbox: Has the failing routes and exporters.
    """
    observation = reader.observe(now, ledger, policies)
    folded = fold(ledger, observation)
    found = [*run_checks(observation, folded, policies)]
    if outbox:
        found += route_findings(outbox.troubles, observation, policies)
        found += exporter_findings(outbox.outlets, observation, policies)
    findings = still_known(correlate(found, observation, folded), incidents or {}, observation, policies)
    report = health_report(observation, findings, known)
    return Assessment(observation=observation, ledger=folded, findings=findings, report=report)
