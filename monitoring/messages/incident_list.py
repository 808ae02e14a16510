"""Incidents and silences for a person at a terminal, and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from monitoring.incidents.timing import to_detect, to_resolve
from monitoring.messages import incident_words, words
from monitoring.messages.json_contract import silence_json
from monitoring.model.finding import rank
from monitoring.model.incident import Incident, Step
from monitoring.model.outbox import Suppression
from monitoring.model.request import Request
from monitoring.model.silence import Silence
from monitoring.text.durations import spoken
from monitoring.text.escaping import clean, indented

#: Ids of runs that are shown of one incident; `--json` has all that are kept.
MOST_RUNS = 5
#: Incidents that are named beside a silence that matches them.
MOST_NAMED = 10
#: Version of what `--json` prints.
SCHEMA = 1


class Row(NamedTuple):
    """An incident, the silence that matches it now, and why no notification is sent of it."""

    incident: Incident
    silence: Silence | None = None
    suppression: Suppression | None = None


def ordered(incidents: Iterable[Incident]) -> list[Incident]:
    """Put open incidents in the order in which they are shown: what fires first, most severe first, then the oldest."""
    return sorted(incidents, key=lambda one: (not one.firing, -rank(one.finding.severity), one.number, one.opened_at))


def table(rows: Sequence[Row]) -> RenderableType:
    """Render one line for each incident."""
    shown = _columns("Incident", "Severity", "Status", "Check", "Subject", "Since", "Runs", "Owner")
    for row in rows:
        finding = row.incident.finding
        shown.add_row(
            row.incident.id or words.NOTHING,
            finding.severity,
            Text(clean(incident_words.standing(row.incident, row.silence))),
            finding.check,
            Text(clean(words.subject(finding), 120)),
            words.moment(finding.since),
            f"{finding.flow_run_count:,}",
            Text(clean(finding.owner, 80) if finding.owner else ""),
        )
    return shown


def details(row: Row, explained_by: str) -> RenderableType:
    """Render all that is known of one incident.

    Args:
        row: The incident.
        explained_by: The id of the incident that it is a symptom of; empty where there is none.
    """
    finding = row.incident.finding
    title = f"{row.incident.id or words.NOTHING} {finding.check} {words.subject(finding)}"
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="bold")
    facts.add_column(overflow="fold")
    for name, value in _facts(row, explained_by):
        facts.add_row(name, Text(clean(value, 500)))
    parts: list[RenderableType] = [Text(clean(title), style="bold"), facts]
    if finding.evidence:
        parts.append(Text("Why:", style="bold"))
        parts += [Text(f"    {indented(line)}", overflow="fold") for line in finding.evidence]
    if row.incident.history:
        parts.append(Text("History:", style="bold"))
        parts += [Text(f"    {words.moment(one.at)}  {one.to}: {_why(one)}") for one in row.incident.history]
    return Group(*parts)


def silences(known: Sequence[Silence], now: datetime) -> RenderableType:
    """Render one line for each silence."""
    shown = _columns("Silence", "Status", "What", "From", "Until", "By", "Reason")
    for one in known:
        shown.add_row(
            incident_words.silence_name(one),
            incident_words.when(one, now),
            Text(clean(incident_words.matched(one))),
            words.moment(one.starts_at),
            words.moment(one.ends_at),
            Text(clean(one.author, 80)),
            Text(clean(one.reason)),
        )
    return shown


def named(incidents: Sequence[Incident]) -> str:
    """Name incidents in one line, as many as can be read."""
    some = [
        f"{one.id or 'a pending one:'} {one.finding.check} {clean(words.subject(one.finding), 80)}"
        for one in ordered(incidents)[:MOST_NAMED]
    ]
    more = len(incidents) - len(some)
    return ", ".join(some) + (f" and {more:,} more" if more else "")


def requests(asked: Sequence[Request]) -> RenderableType:
    """Render what the next check is to do."""
    lines = [Text(f"  {clean(incident_words.asked(one))}", overflow="fold") for one in asked]
    return Group(*([Text("Asked for, and done by the next check:", style="bold")] if lines else []), *lines)


def incident_json(row: Row) -> dict[str, Any]:
    """Render all that is known of one incident: plain values, times in UTC with a ``Z``, spans in seconds."""
    incident, silence, finding = row.incident, row.silence, row.incident.finding
    acknowledged = incident.acknowledged
    return {
        "id": incident.id or None,
        "fingerprint": finding.fingerprint,
        "status": "resolved" if incident.resolved_at else "firing" if incident.firing else "pending",
        "known_before": incident.preexisting,
        "acknowledged": acknowledged
        and {"by": acknowledged.by, "at": words.stamp(acknowledged.at), "note": acknowledged.note},
        "silence": silence and silence_json(silence),
        "not_told_because": row.suppression.text if row.suppression else None,
        "check": finding.check,
        "severity": finding.severity,
        "subject": finding.subject.model_dump(),
        "tags": list(incident.tags),
        "pool": incident.pool,
        "owner": finding.owner,
        "summary": finding.summary,
        "observed": finding.observed,
        "expected": finding.expected,
        "cause": finding.cause and finding.cause.model_dump(mode="json"),
        "symptom_of": finding.symptom_of,
        "evidence": list(finding.evidence),
        "url": finding.url,
        "flow_run_ids": list(finding.flow_run_ids),
        "flow_run_count": finding.flow_run_count,
        "since": words.stamp(finding.since),
        "opened_at": words.stamp(incident.opened_at),
        "fired_at": _stamp(incident.fired_at),
        "unseen_since": _stamp(incident.unseen_since),
        "resolved_at": _stamp(incident.resolved_at),
        "resolution": incident.resolution,
        "reopened": incident.reopened,
        "time_to_detect": _seconds(to_detect(incident)),
        "time_to_resolve": _seconds(to_resolve(incident)),
        "history": [
            {"at": words.stamp(one.at), "to": one.to, "reason": one.reason, "by": one.by, "note": one.note}
            for one in incident.history
        ],
    }


def request_json(request: Request) -> dict[str, Any]:
    """Render what somebody asked for."""
    return {
        "what": request.what,
        "at": words.stamp(request.at),
        "by": request.by,
        "subject": request.subject or None,
        "note": request.note,
        "silence": request.silence and silence_json(request.silence),
    }


def _facts(row: Row, explained_by: str) -> Iterable[tuple[str, str]]:
    incident, finding = row.incident, row.incident.finding
    mark, silence = incident.acknowledged, row.silence
    shown: list[tuple[str, str | None]] = [
        ("Status", incident_words.standing(incident, row.silence)),
        ("Severity", finding.severity),
        ("What is wrong", words.said(finding)),
        ("Observed", finding.observed),
        ("Expected", finding.expected),
        ("Cause", words.cause(finding.cause) if finding.cause else None),
        ("Explained by", explained_by),
        ("Owner", finding.owner),
        ("Runs", _runs(incident)),
        ("Tags", ", ".join(incident.tags)),
        ("Work pool", incident.pool),
        ("Link", finding.url),
        ("Since", words.moment(finding.since)),
        ("Found", words.moment(incident.opened_at)),
        ("Fired", _moment(incident.fired_at)),
        ("Resolved", _moment(incident.resolved_at)),
        ("Time to detect", _spoken(to_detect(incident))),
        ("Time to resolve", _spoken(to_resolve(incident))),
        ("Came back", words.counted(incident.reopened, "time") if incident.reopened else None),
        ("Acknowledged", f"by {mark.by} at {words.moment(mark.at)}" if mark else None),
        ("Note", mark.note if mark else None),
        ("Silenced for", f"{silence.reason} (by {silence.author})" if silence else None),
        ("Suppressed", row.suppression.text if row.suppression else None),
    ]
    return ((name, value) for name, value in shown if value)


def _why(step: Step) -> str:
    by = f", by {clean(step.by, 80)}" if step.by else ""
    return f"{step.reason}{by}{f': {clean(step.note)}' if step.note else ''}"


def _runs(incident: Incident) -> str:
    finding = incident.finding
    ids = ", ".join(finding.flow_run_ids[:MOST_RUNS])
    more = ", ..." if finding.flow_run_count > MOST_RUNS and ids else ""
    return f"{finding.flow_run_count:,}" + (f": {ids}{more}" if ids else "")


def _columns(*headings: str) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        shown.add_column(heading, overflow="fold", no_wrap=heading in ("Incident", "Silence", "Severity", "Check"))
    return shown


def _moment(at: datetime | None) -> str | None:
    return words.moment(at) if at else None


def _stamp(at: datetime | None) -> str | None:
    return words.stamp(at) if at else None


def _spoken(span: timedelta | None) -> str | None:
    return None if span is None else spoken(span)


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else round(span.total_seconds())
