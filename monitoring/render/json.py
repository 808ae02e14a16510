"""What ``watchdog check --json`` prints: a contract, written down in docs/json-contract.md and check.schema.json."""

from __future__ import annotations

from typing import Any

from monitoring.model import MOST_RUN_IDS, Coverage, Finding
from monitoring.render import words
from monitoring.report import HealthReport

#: Raised when a field goes or changes its meaning. A new field is a new schema too: readers may validate strictly.
SCHEMA = 2


def check_json(report: HealthReport) -> dict[str, Any]:
    """Render a report as the contract has it: plain values, times in UTC with a ``Z``."""
    return {
        "schema": SCHEMA,
        "target": report.target,
        "checked_at": words.stamp(report.at),
        "status": report.status,
        "coverage": {"complete": report.coverage.complete, "missing": _missing(report.coverage)},
        "findings": [_finding(finding) for finding in report.findings],
    }


def _missing(coverage: Coverage) -> list[str]:
    return [f"{query.name}: {query.detail or query.outcome}" for query in coverage.missing]


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "fingerprint": finding.fingerprint,
        "check": finding.check,
        "severity": finding.severity,
        "subject": finding.subject.model_dump(),
        "flow": finding.flow,
        "deployment": finding.deployment,
        "flow_run_ids": list(finding.flow_run_ids[:MOST_RUN_IDS]),
        "flow_run_count": finding.flow_run_count,
        "summary": finding.summary,
        "observed": finding.observed,
        "expected": finding.expected,
        "since": words.stamp(finding.since),
        "url": finding.url,
        "owner": finding.owner,
        "unknown": finding.unknown,
        "evidence": list(finding.evidence),
        "cause": finding.cause.model_dump(mode="json") if finding.cause else None,
        "symptom_of": finding.symptom_of,
    }
