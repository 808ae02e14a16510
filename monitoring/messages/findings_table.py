"""The findings as a table of plain values, for Prefect's table artifacts: their viewer renders no links."""

from __future__ import annotations

from monitoring.messages import words
from monitoring.model.finding import Finding
from monitoring.model.report import NO_MARK, HealthReport
from monitoring.text.escaping import clean

Row = dict[str, str | int | None]

#: A list of artifacts carries their whole data, so a table stays small enough to be listed.
MAX_ROWS = 1000


def findings(report: HealthReport) -> list[Row]:
    """Make one row per finding, in the report's order; a last row says how many there are beyond ``MAX_ROWS``."""
    rows = [_row(finding, report) for finding in report.findings[:MAX_ROWS]]
    more = len(report.findings) - len(rows)
    if more:
        empty: Row = dict.fromkeys(rows[0])
        rows.append(empty | {"summary": f"and {words.counted(more, 'more finding')}: see `watchdog check --json`"})
    return rows


def _row(finding: Finding, report: HealthReport) -> Row:
    return {
        "incident": report.incidents.get(finding.fingerprint),
        "severity": finding.severity,
        "check": finding.check,
        "subject": clean(f"{finding.subject.kind} {finding.subject.name}"),
        "deployment": clean(finding.deployment) if finding.deployment else None,
        "owner": clean(finding.owner) if finding.owner else None,
        "since": words.timestamp(finding.since),
        "observed": clean(finding.observed),
        "expected": clean(finding.expected),
        "summary": clean(finding.summary),
        "runs": finding.flow_run_count,
        "cause": clean(words.cause(finding.cause)) if finding.cause else None,
        "status": clean(words.mark(report.marks.get(finding.fingerprint, NO_MARK))) or None,
        "symptom_of": finding.symptom_of,
        "url": finding.url,
        "fingerprint": finding.fingerprint,
    }
