"""The findings as a table of plain values, for Prefect's table artifacts."""

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


def _plain(text: str) -> str:
    """Text that no viewer takes for markup: the old pages render cells as Markdown with HTML, the new ones as text."""
    return clean(text).replace("<", "\u2039").replace("](", "]\u2060(")


def _row(finding: Finding, report: HealthReport) -> Row:
    return {
        "incident": report.incidents.get(finding.fingerprint),
        "severity": finding.severity,
        "check": finding.check,
        "subject": _plain(f"{finding.subject.kind} {finding.subject.name}"),
        "deployment": _plain(finding.deployment) if finding.deployment else None,
        "owner": _plain(finding.owner) if finding.owner else None,
        "since": words.timestamp(finding.since),
        "observed": _plain(finding.observed),
        "expected": _plain(finding.expected),
        "summary": _plain(finding.summary),
        "runs": finding.flow_run_count,
        "cause": _plain(words.cause(finding.cause)) if finding.cause else None,
        "status": _plain(words.mark(report.marks.get(finding.fingerprint, NO_MARK))) or None,
        "symptom_of": _plain(finding.symptom_of) if finding.symptom_of else None,
        "url": finding.url,
        "fingerprint": _plain(finding.fingerprint),
    }
