"""What ``watchdog check --json`` prints: a contract, written down in docs/json-contract.md and check.schema.json."""

from __future__ import annotations

from typing import Any

from monitoring.messages import words
from monitoring.model.coverage import Coverage
from monitoring.model.finding import MAX_RUN_IDS, Finding
from monitoring.model.report import HealthReport
from monitoring.model.silence import Silence

#: Raised when a field goes or changes its meaning. A new field is a new schema too: readers may validate strictly.
SCHEMA = 3


def check_json(report: HealthReport) -> dict[str, Any]:
    """Render a report as the contract has it: plain values, times in UTC with a ``Z``."""
    return {
        "schema": SCHEMA,
        "target": report.target,
        "checked_at": words.stamp(report.at),
        "status": report.status,
        "coverage": {"complete": report.coverage.complete, "missing": _missing(report.coverage)},
        "findings": [_finding(finding, report.incidents.get(finding.fingerprint)) for finding in report.findings],
        "silences": [silence_json(silence) for silence in report.silences],
    }


def silence_json(silence: Silence) -> dict[str, Any]:
    """Render a silence, or a maintenance window, which has no id."""
    return {
        "id": silence.id or None,
        "deployment": silence.deployment,
        "tag": silence.tag,
        "pool": silence.pool,
        "check": silence.check,
        "severity": silence.severity,
        "owner": silence.owner,
        "starts_at": words.stamp(silence.starts_at),
        "ends_at": words.stamp(silence.ends_at),
        "author": silence.author,
        "reason": silence.reason,
    }


def _missing(coverage: Coverage) -> list[str]:
    return [f"{query.name}: {query.detail or query.outcome}" for query in coverage.missing]


def _finding(finding: Finding, incident: str | None) -> dict[str, Any]:
    return {
        "fingerprint": finding.fingerprint,
        "incident": incident,
        "check": finding.check,
        "severity": finding.severity,
        "subject": finding.subject.model_dump(),
        "flow": finding.flow,
        "deployment": finding.deployment,
        "flow_run_ids": list(finding.flow_run_ids[:MAX_RUN_IDS]),
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
