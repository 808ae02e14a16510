"""The health report and the digest as messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import monitoring
from monitoring.checks.base import DigestHeading
from monitoring.checks.registry import BY_NAME
from monitoring.incidents.timing import to_detect, to_resolve
from monitoring.messages import finding_rows, words
from monitoring.messages.headline import also, digest_headline, grouped, headline
from monitoring.messages.tables import Columns, cut, table_of
from monitoring.messages.words import counted
from monitoring.model.finding import Finding
from monitoring.model.incident import Incident
from monitoring.model.message import (
    Column,
    Details,
    Element,
    Heading,
    Links,
    Message,
    Prose,
    Row,
    Table,
    code,
    inline,
    link,
    row,
    strong,
)
from monitoring.model.report import DigestReport, FailedRuns, HealthReport, Totals
from monitoring.model.silence import Silence
from monitoring.text.limits import TERMINAL

_LEFT_OUT = "Cancelled runs are left out of it."


def health_message(report: HealthReport) -> Message:
    """How the server is doing now; if it cannot be used, one line, and the maintenance that may be why."""
    if report.server.problem:
        title = f"{report.status.upper()} {report.target}: {report.server.problem}"
        return Message(title=title, level=report.status, fallback=title, elements=tuple(_silences(report.silences)))
    symptoms = also(report)
    title = f"{report.status.upper()} {report.target}: {headline(report)}"
    return Message(
        title=title,
        level=report.status,
        fallback=title,
        elements=(
            *([Prose(spans=inline(symptoms))] if symptoms else ()),
            *_problems(report, _by_check(report)),
            *_other_findings(report),
            *_silences(report.silences),
            *_coverage(report),
            *_footer(report),
        ),
    )


def digest_message(digest: DigestReport) -> Message:
    """How the server is doing this morning and how yesterday went; on a green day too."""
    report = digest.health
    title = f"{report.target} on {digest.day}: {words.STATUS[report.status]}"
    change = words.change(digest.yesterday, digest.day_before)
    rate = words.success(digest.yesterday) + (f", {change} against the day before" if change else "")
    return Message(
        title=title,
        level=report.status,
        fallback=f"{title}. {digest_headline(digest)} Yesterday: {rate}.",
        elements=(
            _headline(digest),
            Heading(text="Runs"),
            _periods(digest),
            *([Prose(spans=inline(f"Success rate against the day before: {change}. {_LEFT_OUT}"))] if change else ()),
            *_problems(report, _by_kind(report)),
            *_recovered(digest.recovered),
            *_ended(digest.resolved),
            *_other_findings(report),
            *_silences(report.silences),
            *_coverage(report),
            *([Links(links=(link("Open Prefect", report.server.ui_url),))] if report.server.ui_url else ()),
            *_footer(report),
            Prose(spans=inline(f"Days begin and end in {digest.time_zone}."), muted=True),
        ),
    )


def _headline(digest: DigestReport) -> Prose:
    symptoms = also(digest.health)
    return Prose(spans=inline(strong(digest_headline(digest)), f" {symptoms}" if symptoms else ""))


def _by_check(report: HealthReport) -> list[tuple[str, list[Finding]]]:
    # The problems come most severe first, and so do the groups.
    by_check: dict[str, list[Finding]] = {}
    for finding in grouped(report.findings).problems:
        by_check.setdefault(finding.check, []).append(finding)
    return [(BY_NAME[check].heading, findings) for check, findings in by_check.items()]


def _by_kind(report: HealthReport) -> list[tuple[str, list[Finding]]]:
    problems, titles = grouped(report.findings).problems, get_args(DigestHeading)
    return [(title, [f for f in problems if BY_NAME[f.check].digest_heading == title]) for title in titles]


def _problems(report: HealthReport, groups: Sequence[tuple[str, list[Finding]]]) -> Iterator[Element]:
    for title, findings in groups:
        if findings:
            yield Heading(text=f"{title} ({len(findings):,})")
            yield _bounded(finding_rows.problems(findings, report))


def _other_findings(report: HealthReport) -> Iterator[Element]:
    _, _, infos, unknowns = grouped(report.findings)
    if infos:
        yield Heading(text=f"For information ({len(infos):,})", note="No problem, and worth knowing.")
        yield _bounded(finding_rows.information(infos))
    if unknowns:
        summary = f"{counted(len(unknowns), 'subject')} could not be judged: there is too little to judge by"
        yield Details(summary=summary, elements=(_bounded(finding_rows.unknown(unknowns)),))


_SILENCES: Columns[Silence] = (
    (Column(label="Silence", role="title"), words.silence_name),
    (Column(label="What", role="text"), words.matched),
    (Column(label="Until", lead="until "), lambda silence: words.timestamp(silence.ends_at)),
    (Column(label="By", lead="by "), lambda silence: silence.author),
    (Column(label="Reason"), lambda silence: silence.reason),
)


def _silences(silences: Sequence[Silence]) -> Iterator[Element]:
    if silences:
        note = "No notification is sent for what these match. It is found and shown all the same."
        yield Heading(text=f"Silenced ({len(silences):,})", note=note)
        yield _bounded(table_of(silences, _SILENCES, "silence", inline("see ", code("watchdog silence list"))))


def _coverage(report: HealthReport) -> Iterator[Element]:
    missing = report.coverage.missing
    if missing:
        note = "What is missing is neither healthy nor broken. Nothing is resolved because of it."
        yield Heading(text=f"What could not be seen ({len(missing):,})", note=note)
        yield Table(
            columns=(Column(label="Query", role="title"), Column(label="Outcome", role="text"), Column(label="Why")),
            rows=tuple(row(query.name, query.outcome, query.detail) for query in missing),
            unit="query",
        )


def _footer(report: HealthReport) -> Iterator[Element]:
    if not report.server.problem:
        yield Prose(spans=inline(f"Checked: {words.seen(report)}"), muted=True)
    version = f", Prefect {report.server.version}" if report.server.version else ""
    queries = counted(len(report.coverage.queries), "query", "queries")
    answered = f" Every query was answered ({queries})." if report.coverage.complete else ""
    product = f"Prefect Watchdog {monitoring.__version__}"
    basis = f", {words.basis(report.basis, report.at)}" if report.basis else ""
    made = f"Made {words.timestamp(report.at)} by {product} for {report.target}{version}{basis}."
    yield Prose(spans=inline(f"{made}{answered}"), muted=True)


def _periods(digest: DigestReport) -> Table:
    periods = {"Yesterday": digest.yesterday, "The day before": digest.day_before, "Today so far": digest.today}
    return Table(
        columns=(
            Column(label="Period", role="title"),
            Column(label="Success", role="text"),
            *(Column(label=label) for label in ("Ended", "Completed", "Failed", "Crashed", "Cancelled")),
            Column(label="From", role="detail"),
            Column(label="To", role="detail"),
        ),
        rows=tuple(_period(name, totals) for name, totals in periods.items()),
    )


def _period(name: str, totals: Totals | None) -> Row:
    success = words.success(totals)
    if totals is None:
        return row(name, success, *[""] * 7)
    counts = (totals.ended, totals.completed, totals.failed, totals.crashed, totals.cancelled)
    numbers = (f"{count:,}" for count in counts)
    return row(name, success, *numbers, words.timestamp(totals.start), words.timestamp(totals.end))


_RESOLVED: Columns[Incident] = (
    (Column(label="Incident", role="title"), lambda incident: incident.id),
    (Column(label="Check", role="title"), lambda incident: incident.finding.check),
    (
        Column(label="Subject", role="title"),
        lambda incident: inline(link(words.subject(incident.finding), incident.finding.url)),
    ),
    (Column(label="Began", role="detail"), lambda incident: words.timestamp(incident.finding.since)),
    (Column(label="Ended", role="detail"), lambda incident: words.timestamp_of(incident.resolved_at)),
    (Column(label="Why", role="text"), lambda incident: words.resolution(incident)),
    (Column(label="To detect", lead="detected after "), lambda incident: words.lasted(to_detect(incident))),
    (Column(label="To resolve", lead="resolved after "), lambda incident: words.lasted(to_resolve(incident))),
)


def _ended(incidents: Sequence[Incident]) -> Iterator[Element]:
    """The incidents that are over; those that nobody has mended stand apart."""
    groups = {
        "Closed without being mended": [incident for incident in incidents if incident.unmended],
        "Resolved": [incident for incident in incidents if not incident.unmended],
    }
    elsewhere = inline("see ", code("watchdog incidents list --all"))
    for title, group in groups.items():
        if group:
            yield Heading(text=f"{title} in the last 24 hours ({len(group):,})")
            yield _bounded(table_of(group, _RESOLVED, "incident", elsewhere))
    if usual := words.statistics(incidents):
        yield Prose(spans=inline(usual))


_RECOVERED: Columns[FailedRuns] = (
    (
        Column(label="Deployment", role="title"),
        lambda found: inline(link(found.name, found.url)) if found.name else "deployments that are gone",
    ),
    (Column(label="Failed", lead="failed "), lambda found: f"{found.failed:,}"),
    (Column(label="Crashed", lead="crashed "), lambda found: f"{found.crashed:,}"),
    (Column(label="Latest", lead="the latest at "), lambda found: words.timestamp(found.last)),
)


def _recovered(found: Sequence[FailedRuns]) -> Iterator[Element]:
    if found:
        note = "Runs that failed or crashed since yesterday began. It is no problem now."
        yield Heading(text=f"Failed since yesterday ({len(found):,})", note=note)
        yield _bounded(table_of(found, _RECOVERED, "deployment", inline("see the Prefect UI")))


def _bounded(table: Table) -> Table:
    """A page with thousands of rows is read by nobody and drawn by few browsers; a saved message stays small."""
    return cut(table, TERMINAL.rows, TERMINAL.nested)
