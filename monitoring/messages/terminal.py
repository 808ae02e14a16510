"""A report for a person at a terminal, and for a pipe: the same words, without colours and at a stable width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from monitoring.messages import incident_words, words
from monitoring.messages.slack_digest import SlackMessage
from monitoring.model.finding import Finding, Severity, Status
from monitoring.model.report import HealthReport
from monitoring.text.escaping import address, clean, indented

#: Columns in a pipe, whose width nobody knows: wide enough for an address on one line.
PIPE_WIDTH = 160
#: Findings shown; `--json` has them all.
MOST_ROWS = 200
#: Lines of evidence shown of one finding.
MOST_LINES = 10

_LINK = re.compile(r"<(?P<url>https?://[^|>]+)\|(?P<name>[^>]*)>")
_BOLD = re.compile(r"\*(?P<text>[^*]+)\*")
_MARKUP = re.compile(r"(<https?://[^|>]+\|[^>]*>|\*[^*]+\*)")

_COLOURS: dict[Status | Severity, str] = {
    "critical": "bold red",
    "warning": "yellow",
    "unknown": "bold magenta",
    "ok": "green",
    "info": "dim",
}


def console(stream: TextIO) -> Console:
    """Make the console that these renderings are meant for: a pipe gets no colours, and always the same width."""
    wide = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=wide, highlight=False, markup=False, emoji=False)


def health(report: HealthReport) -> RenderableType:
    """Render how the server stands now: status, a table of findings, their addresses, and what was not seen."""
    parts: list[RenderableType] = [_status(report, words.moment(report.at))]
    if report.findings:
        parts += [_table(report), *_links(report.findings), *_whys(report.findings)]
    parts += [*_silenced(report), *_unseen(report)]
    if not report.server.problem:
        parts.append(Text(f"Looked at: {words.seen(report)}"))
    return Group(*parts)


def message(sent: SlackMessage) -> RenderableType:
    """Render a Slack message as it would look: its blocks from top to bottom, links by their names."""
    lines: list[RenderableType] = []
    for block in sent.blocks:
        kind, text = block["type"], block.get("text", {}).get("text", "")
        if kind == "header":
            lines.append(Text(clean(text), style="bold"))
        elif kind == "context":
            lines += [_mrkdwn(element["text"], "dim") for element in block["elements"]]
        else:
            lines += [_mrkdwn(part) for part in (text, *(field["text"] for field in block.get("fields", ()))) if part]
        lines.append(Text())
    return Group(*lines[:-1])


def _mrkdwn(text: str, style: str = "") -> Text:
    """Read the little of Slack's markup that our own messages use: bold, links, and its three escapes."""
    shown = Text(style=style)
    for number, line in enumerate(text.split("\n")):
        shown.append("\n" if number else "")
        for part in _MARKUP.split(line):
            if link := _LINK.fullmatch(part):
                shown.append(_link(unescape(link["name"]), unescape(link["url"])))
            elif bold := _BOLD.fullmatch(part):
                shown.append(clean(unescape(bold["text"])), style="bold")
            else:
                shown.append(_indented(unescape(part)))
    return shown


def _indented(text: str) -> str:
    """Made harmless, and not moved: ``clean`` takes spaces at the ends for dirt."""
    body = text.strip(" ")
    if not body:
        return text
    start = text.index(body)
    return text[:start] + clean(body, len(body)) + text[start + len(body) :]


def _status(report: HealthReport, when: str) -> Text:
    said = Text(words.STATUS[report.status].upper(), style=_COLOURS[report.status])
    also = words.also(report)
    line = f" {clean(report.target)} ({when}): {words.headline(report)}{' ' + also if also else ''}"
    return said.append(line, style="default")


def _table(report: HealthReport) -> Table:
    findings = report.findings
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("Severity", "Check", "Subject", "What is wrong", "Since", "Cause"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("Severity", "Check", "Since"))
    known = {finding.fingerprint for finding in findings}
    for finding in findings[:MOST_ROWS]:
        symptom = finding.symptom_of in known
        table.add_row(
            Text(
                "  symptom" if symptom else _severity(finding), style="dim" if symptom else _COLOURS[finding.severity]
            ),
            Text(finding.check),
            Text.assemble(
                incident_words.incident_of(finding, report),
                _link(words.subject(finding), finding.url),
                _owner(finding),
            ),
            Text(clean(words.said(finding))),
            Text(words.moment(finding.since)),
            Text(clean(words.cause(finding.cause)) if finding.cause else ""),
        )
    return table


def _links(findings: Sequence[Finding]) -> list[Text]:
    """The addresses in full, each once: in a pipe, and on many terminals, the linked names are bare text."""
    addresses = {finding.url: words.subject(finding) for finding in findings[:MOST_ROWS] if finding.url}
    lines = [Text(f"  {clean(name, 80)}: {clean(url, 500)}", overflow="fold") for url, name in addresses.items()]
    more = len(findings) - MOST_ROWS
    if more > 0:
        lines.append(Text(f"and {words.counted(more, 'more finding')}: see --json"))
    return lines


def _severity(finding: Finding) -> str:
    """What stands for a severity: what could not be judged is no information either."""
    return "unknown" if finding.unknown and finding.severity == "info" else finding.severity


def _owner(finding: Finding) -> str:
    return f" ({clean(words.owned(finding))})" if finding.owner else ""


def _whys(findings: Sequence[Finding]) -> list[Text]:
    """What the findings rest on, each under its subject."""
    lines: list[Text] = []
    for finding in findings[:MOST_ROWS]:
        if finding.evidence:
            lines.append(Text(f"Why {finding.check} {clean(words.subject(finding), 80)}:"))
            lines += [Text(f"    {indented(line)}", overflow="fold") for line in finding.evidence[:MOST_LINES]]
            more = len(finding.evidence) - MOST_LINES
            lines += [Text(f"    and {words.counted(more, 'more line')}: see --json")] if more > 0 else []
    return lines


def _silenced(report: HealthReport) -> list[Text]:
    lines = [Text("Silenced:", style="bold")] if report.silences else []
    for one in report.silences:
        what = f"{incident_words.silence_name(one)}: {clean(incident_words.matched(one))}"
        why = f"until {words.moment(one.ends_at)}, by {clean(one.author, 80)}: {clean(one.reason)}"
        lines.append(Text(f"  {what}; {why}", overflow="fold"))
    return lines


def _unseen(report: HealthReport) -> list[RenderableType]:
    missing = report.coverage.missing
    lines: list[RenderableType] = [Text("Could not be seen:", style=_COLOURS["unknown"])] if missing else []
    return lines + [Text(f"  {clean(q.name)}: {clean(q.detail or q.outcome)}") for q in missing]


def _link(text: str, url: str | None) -> Text:
    target = address(url)
    return Text(clean(text, 120), style=Style(link=target) if target else "")
