"""What ``watchdog check --json`` prints: a contract, written down in docs/json-contract.md and check.schema.json."""

from __future__ import annotations

from typing import Any

from monitoring.messages import words
from monitoring.messages.headline import counts
from monitoring.model.finding import MAX_RUN_IDS, Finding
from monitoring.model.incident import Closed
from monitoring.model.report import NO_MARK, Basis, HealthReport, Mark
from monitoring.model.silence import Silence

#: Raised when a field goes or changes its meaning. A new field is a new schema too: readers may validate strictly.
SCHEMA = 5


def check_json(report: HealthReport) -> dict[str, Any]:
    """Render a report as the contract has it: plain values, times in UTC with a ``Z``."""
    missing = [f"{query.name}: {query.detail or query.outcome}" for query in report.coverage.missing]
    return {
        "schema": SCHEMA,
        "target": report.target,
        "checked_at": words.stamp(report.at),
        "status": report.status,
        "coverage": {"complete": report.coverage.complete, "missing": missing},
        "saved_state": basis_json(report.basis) if report.basis else None,
        "problems": counts(report.findings, report.marks)._asdict(),
        "findings": [
            {"fingerprint": finding.fingerprint, "incident": report.incidents.get(finding.fingerprint)}
            | finding_json(finding)
            | _mark_json(report.marks.get(finding.fingerprint, NO_MARK))
            for finding in report.findings
        ],
        "silences": [silence_json(silence) for silence in report.silences],
    }


def basis_json(basis: Basis) -> dict[str, Any]:
    """Render whether the check started from the saved state."""
    checked_at = words.stamp(basis.checked_at) if basis.checked_at else None
    return {"use": basis.use, "checked_at": checked_at, "detail": basis.detail or None}


def _mark_json(mark: Mark) -> dict[str, Any]:
    return {
        "acknowledged_by": mark.acknowledged_by,
        "silenced_until": words.stamp(mark.silence.ends_at) if mark.silence else None,
        "closed_by_hand": closed_json(mark.closed) if mark.closed else None,
    }


def closed_json(closed: Closed) -> dict[str, Any]:
    """Render the mark of an incident that was closed by hand."""
    return {"incident": closed.id or None, "by": closed.by or None, "at": words.stamp(closed.at)}


def finding_json(finding: Finding) -> dict[str, Any]:
    """Render a finding: its fields are those of the contract."""
    ids = list(finding.flow_run_ids[:MAX_RUN_IDS])
    return {**finding.model_dump(mode="json"), "flow_run_ids": ids, "since": words.stamp(finding.since)}


def silence_json(silence: Silence) -> dict[str, Any]:
    """Render a silence, or a maintenance window, which has no id."""
    return {
        "id": silence.id or None,
        **silence.model_dump(exclude={"id", "request"}),
        "starts_at": words.stamp(silence.starts_at),
        "ends_at": words.stamp(silence.ends_at),
    }
