"""The findings of a report as tables: problems with their symptoms, information, and what could not be judged."""

from __future__ import annotations

from collections.abc import Sequence

from monitoring.checks.registry import BY_NAME
from monitoring.messages import words
from monitoring.messages.headline import grouped
from monitoring.messages.tables import joined
from monitoring.model.finding import Finding
from monitoring.model.message import Column, Inline, Row, Table, code, inline, link, row
from monitoring.model.report import NO_MARK, HealthReport
from monitoring.text.links import flow_run_url

#: Runs of one finding that are linked to.
LINKED_RUNS = 3
_ELSEWHERE = inline("see ", code("watchdog check --json"))
_SUBJECT = Column(label="Subject", role="title")
_WHAT = Column(label="What is wrong", role="text")
_SINCE = Column(label="Since", lead="since ")
_PROBLEM_COLUMNS = (
    Column(label="Severity", lead=""),
    _SUBJECT,
    _WHAT,
    Column(label="Check", lead=""),
    Column(label="Cause"),
    Column(label="Status", lead=""),
    _SINCE,
    Column(label="Runs", role="detail"),
    Column(label="Observed", role="detail"),
    Column(label="Expected", role="detail"),
)


def problems(findings: Sequence[Finding], report: HealthReport) -> Table:
    """Findings that are no symptoms of others, each followed by its symptoms."""
    symptoms = grouped(report.findings).symptoms
    rows: list[Row] = []
    for finding in findings:
        rows.append(_problem(finding, report))
        rows += [_symptom(symptom, report) for symptom in symptoms.get(finding.fingerprint, ())]
    return Table(
        columns=_PROBLEM_COLUMNS, rows=tuple(rows), unit="finding", nested_unit="symptom", elsewhere=_ELSEWHERE
    )


def information(findings: Sequence[Finding]) -> Table:
    """Findings that are no problems."""
    columns = (
        Column(label="Check", role="detail"),
        _SUBJECT,
        Column(label="What", role="text"),
        Column(label="Observed", role="detail"),
        _SINCE,
    )
    return Table(columns=columns, rows=tuple(map(_information, findings)), unit="subject", elsewhere=_ELSEWHERE)


def _information(finding: Finding) -> Row:
    summary, since = words.summary(finding), words.timestamp(finding.since)
    return row(finding.check, _subject(finding), summary, finding.observed, since, evidence=finding.evidence)


def unknown(findings: Sequence[Finding]) -> Table:
    """Subjects that could not be judged."""
    rows = tuple(row(_subject(finding), words.summary(finding), words.timestamp(finding.since)) for finding in findings)
    columns = (_SUBJECT, Column(label="What", role="text"), _SINCE)
    return Table(columns=columns, rows=rows, unit="subject", elsewhere=_ELSEWHERE)


def _problem(finding: Finding, report: HealthReport) -> Row:
    cause = words.cause(finding.cause) if finding.cause else ""
    cells = _cells(finding, report, finding.severity, cause)
    made = row(*cells, level=finding.severity, evidence=finding.evidence)
    return made.model_copy(update={"ends": finding.check in BY_NAME and BY_NAME[finding.check].role == "failure"})


def _symptom(finding: Finding, report: HealthReport) -> Row:
    return row(*_cells(finding, report, "symptom", "the cause above"), nested=True)


def _cells(finding: Finding, report: HealthReport, severity: str, cause: str) -> tuple[str | Inline, ...]:
    mark = report.marks.get(finding.fingerprint, NO_MARK)
    incident = report.incidents.get(finding.fingerprint) or (mark.closed.id if mark.closed else "")
    return (
        severity,
        inline(f"{incident} " if incident else "", *_subject(finding)),
        words.summary(finding),
        finding.check,
        cause,
        words.mark(mark),
        words.timestamp(finding.since),
        _runs(finding, report),
        finding.observed,
        finding.expected,
    )


def _subject(finding: Finding) -> Inline:
    owner = f" (owner: {finding.owner})" if finding.owner else ""
    return inline(link(words.subject(finding), finding.url), owner)


def _runs(finding: Finding, report: HealthReport) -> Inline:
    """How many runs it is about, with links to the first few."""
    if not finding.flow_run_count:
        return ()
    count = words.counted(finding.flow_run_count, "run")
    urls = [flow_run_url(report.server.ui_url, run_id) for run_id in finding.flow_run_ids[:LINKED_RUNS]]
    links = [inline(link(str(number), url)) for number, url in enumerate(urls, start=1) if url]
    return inline(f"{count}: ", *joined(links, " ")) if links else inline(count)
