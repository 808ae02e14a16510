"""A report as GitHub's Markdown, for Prefect's artifacts. How it looks is in ``templates/``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import monitoring
from monitoring.incidents.timing import to_detect, to_resolve
from monitoring.messages import incident_words, words
from monitoring.model.finding import Cause, Finding
from monitoring.model.report import DigestReport, HealthReport
from monitoring.text.escaping import markdown, markdown_lines, markdown_link
from monitoring.text.links import flow_run_url

#: A page with thousands of rows is read by nobody, and drawn by few browsers.
MOST_ROWS = 50
#: Symptoms shown under one cause; the rest is counted.
MOST_SYMPTOMS = 10
#: Runs of one finding that are linked to.
LINKED_RUNS = 3
#: Findings of a group whose evidence is shown, and how much of it: pages, and not megabytes.
MOST_WHYS = 10
MOST_LINES = 10
MOST_LINE = 200


class Row(NamedTuple):
    """A line of a table: a finding with the symptoms shown under it, and how many more there are."""

    finding: Finding
    symptoms: Sequence[Finding] = ()
    more_symptoms: int = 0


class Group(NamedTuple):
    """Rows under one heading, and how many findings there are beyond them; and those of the rows with evidence."""

    title: str
    total: int
    rows: Sequence[Row]
    more: int
    whys: Sequence[Finding]
    more_whys: int


def health(report: HealthReport) -> str:
    """Render how the server stands now."""
    return _render("health.md.jinja", report=report, groups=_by_check(report), **_no_problems(report))


def digest(report: DigestReport) -> str:
    """Render the daily report."""
    heads = words.heads(report.health)
    symptoms = words.symptoms(report.health)
    groups = [_group(title, [f for f in heads if f.check in checks], symptoms) for title, checks in words.DIGEST_GROUPS]
    return _render(
        "digest.md.jinja",
        report=report.health,
        digest=report,
        groups=[group for group in groups if group.total],
        **_no_problems(report.health),
        periods=[
            ("Yesterday", report.yesterday),
            ("The day before", report.day_before),
            ("Today so far", report.today),
        ],
        resolved=report.resolved[:MOST_ROWS],
        more_resolved=len(report.resolved[MOST_ROWS:]),
    )


def _no_problems(report: HealthReport) -> dict[str, Group]:
    return {"infos": _group("", words.infos(report)), "unknowns": _group("", words.unknowns(report))}


def _by_check(report: HealthReport) -> list[Group]:
    heads = words.heads(report)
    symptoms = words.symptoms(report)
    # The problems come most severe first, and so do the groups.
    checks = dict.fromkeys(finding.check for finding in heads)
    return [_group(words.CHECKS[check], [f for f in heads if f.check == check], symptoms) for check in checks]


def _group(title: str, findings: Sequence[Finding], symptoms: dict[str, tuple[Finding, ...]] | None = None) -> Group:
    rows: list[Row] = []
    lines = 0
    for finding in findings:
        if lines >= MOST_ROWS:
            break
        under = (symptoms or {}).get(finding.fingerprint, ())
        shown = under[:MOST_SYMPTOMS]
        rows.append(Row(finding, shown, len(under) - len(shown)))
        lines += 1 + len(shown)
    whys = [row.finding for row in rows if row.finding.evidence]
    return Group(title, len(findings), rows, len(findings) - len(rows), whys[:MOST_WHYS], len(whys[MOST_WHYS:]))


def _render(template: str, **values: Any) -> str:
    text = _ENVIRONMENT.get_template(template).render(version=monitoring.__version__, **values)
    # Where a part has nothing to say, its blank lines stay behind.
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _escape(value: object) -> Markup:
    """Nothing leaves a template unescaped, unless a macro or one of the filters below made it as Markdown."""
    return value if isinstance(value, Markup) else markdown(str(value))


def _subject(finding: Finding) -> Markup:
    link = markdown_link(words.subject(finding), finding.url, limit=120)
    return Markup(f"{link} ({markdown(words.owned(finding))})") if finding.owner else link


def _incident(finding: Finding, report: HealthReport) -> Markup:
    """The subject, after the incident's id where it is known."""
    return Markup(f"{markdown(incident_words.incident_of(finding, report))} {_subject(finding)}".lstrip())


def _evidence(lines: Sequence[str]) -> Markup:
    more = len(lines) - MOST_LINES
    kept = [*lines[: MOST_LINES - 1], f"and {words.counted(more + 1, 'more line')}"] if more > 0 else lines
    return markdown_lines(kept, MOST_LINE)


def _runs(finding: Finding, report: HealthReport) -> Markup:
    """How many runs it is about, with links to the first few."""
    if not finding.flow_run_count:
        return Markup(words.NOTHING)
    text = words.counted(finding.flow_run_count, "run")
    links = [
        markdown_link(str(number), flow_run_url(report.server.ui_url, run_id))
        for number, run_id in enumerate(finding.flow_run_ids[:LINKED_RUNS], start=1)
        if report.server.ui_url
    ]
    return Markup(f"{text}: {' '.join(links)}" if links else text)


def _cause(why: Cause | None) -> str:
    return words.cause(why) if why else words.NOTHING


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    # What `finalize` has escaped for Markdown is Markup, which the escaping for HTML leaves alone.
    autoescape=True,
    finalize=_escape,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "subject": _subject,
    "incident": _incident,
    "matched": incident_words.matched,
    "silence_name": incident_words.silence_name,
    "to_detect": lambda incident: incident_words.lasted(to_detect(incident)),
    "to_resolve": lambda incident: incident_words.lasted(to_resolve(incident)),
    "statistics": incident_words.statistics,
    "said": words.said,
    "runs": _runs,
    "cause": _cause,
    "evidence": _evidence,
    "moment": words.moment,
    "counted": words.counted,
    "success": words.success,
    "change": words.change,
    "seen": words.seen,
    "headline": words.headline,
    "also": words.also,
}
_ENVIRONMENT.globals |= {
    "STATUS": words.STATUS,
    "SIGN": words.SIGN,
    "NOTHING": words.NOTHING,
    "MOST_ROWS": MOST_ROWS,
}
