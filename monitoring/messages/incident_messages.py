"""Incidents, silences and action requests as messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from monitoring.incidents.timing import to_detect, to_resolve
from monitoring.messages import words
from monitoring.messages.headline import counts, grouped, problems_text, symptoms_text
from monitoring.messages.tables import Columns, table_of
from monitoring.model.finding import rank
from monitoring.model.incident import Incident, Incidents, Step
from monitoring.model.message import (
    Code,
    Column,
    Element,
    Heading,
    List,
    Message,
    Row,
    Table,
    facts,
    inline,
    row,
)
from monitoring.model.outbox import Suppression
from monitoring.model.report import Mark
from monitoring.model.request import Request
from monitoring.model.silence import Silence, active_silence

#: Ids of runs that are shown of one incident; `--json` has all that are kept.
MAX_RUNS = 5
#: Incidents that are named in one line.
MAX_NAMED = 10


class IncidentView(NamedTuple):
    """An incident, the silence that matches it now, and why no notification is sent of it."""

    incident: Incident
    silence: Silence | None = None
    suppression: Suppression | None = None

    @property
    def mark(self) -> Mark:
        """What people did about it."""
        acknowledged = self.incident.acknowledged
        return Mark(acknowledged_by=acknowledged.by if acknowledged else None, silence=self.silence)


def ordered(incidents: Iterable[Incident]) -> list[Incident]:
    """Order open incidents as they are shown: firing first, most severe first, then the oldest."""

    def place(incident: Incident) -> tuple[bool, int, int, datetime]:
        return (not incident.firing, -rank(incident.finding.severity), incident.number, incident.opened_at)

    return sorted(incidents, key=place)


def incidents_message(
    views: Sequence[IncidentView], requests: Sequence[Request], *, closed: bool, checked: bool
) -> Message:
    """List incidents in this order, and what the next check will apply; ``closed`` if closed ones are among them."""
    nothing = "No incident is open, and none was closed recently." if closed else "No incident is open."
    title = _headline(views) if views else nothing if checked else "No check has run on this server yet."
    table = [_incidents(views)] if views else []
    return Message(title=title, fallback=title, elements=(*table, *_requests(requests)))


def _headline(views: Iterable[IncidentView]) -> str:
    """How many problems were found by the last check, counted as a report counts them; then what else is listed."""
    incidents = [view.incident for view in views if view.incident.resolved_at is None]
    found = [incident.finding for incident in incidents if incident.unseen_since is None]
    marks = {view.incident.finding.fingerprint: view.mark for view in views}
    number, unseen = counts(found, marks), len(incidents) - len(found)
    parts = [f"{problems_text(number)}." if found else "No problem was found by the last check.", symptoms_text(number)]
    parts += [f"{words.counted(unseen, 'open incident')} not found by the last check."] if unseen else []
    return " ".join(filter(None, parts))


def incident_message(view: IncidentView, symptom_of: str) -> Message:
    """All that is known of one incident, with the id of the incident that it is a symptom of, if any."""
    incident, finding = view.incident, view.incident.finding
    elements: list[Element] = [facts(_facts(view, symptom_of))]
    if finding.evidence:
        elements += [Heading(text="Why"), Code(lines=finding.evidence)]
    if incident.history:
        elements += [Heading(text="History"), List(items=tuple(inline(_step(step)) for step in incident.history))]
    title = f"{incident.id or words.NOTHING} {finding.check} {words.subject(finding)}"
    return Message(
        title=title,
        level=words.level(incident),
        fallback=f"{title}: {words.summary(finding)}",
        elements=tuple(elements),
    )


def silences_message(silences: Sequence[Silence], requests: Sequence[Request], now: datetime) -> Message:
    """List silences and maintenance windows in this order, and what the next check will apply."""
    title = "" if silences else "Nothing is silenced."
    columns: Columns[Silence] = (
        (Column(label="Silence", role="title"), words.silence_name),
        (Column(label="Status", lead=""), lambda silence: words.when(silence, now)),
        (Column(label="What", role="text"), words.matched),
        (Column(label="From", lead="from "), lambda silence: words.timestamp(silence.starts_at)),
        (Column(label="Until", lead="until "), lambda silence: words.timestamp(silence.ends_at)),
        (Column(label="By", lead="by "), lambda silence: silence.author),
        (Column(label="Reason"), lambda silence: silence.reason),
    )
    table = [table_of(silences, columns, "silence")] if silences else []
    return Message(title=title, fallback=title, elements=(*table, *_requests(requests)))


def incident_lines(incidents: Incidents, silences: Sequence[Silence], now: datetime) -> Mapping[str, str]:
    """By fingerprint, how an incident stands, open or closed by hand, and the command that shows it."""
    lines = {}
    for fingerprint, incident in incidents.open.items():
        standing = words.standing(incident, active_silence(incident.labels, silences, now))
        lines[fingerprint] = _line(incident.id, f"{standing}, since {words.timestamp(incident.opened_at)}")
    for fingerprint, closed in incidents.closed_by_hand.items():
        lines[fingerprint] = _line(closed.id, words.mark(Mark(closed=closed)))
    return lines


def _line(name: str, standing: str) -> str:
    return f"{name} {standing}: watchdog incidents show {name}" if name else standing


def named(incidents: Sequence[Incident]) -> str:
    """Name incidents in one line, as many as can be read."""
    names = [
        f"{incident.id or 'a pending one:'} {incident.finding.check} {words.subject(incident.finding)}"
        for incident in ordered(incidents)[:MAX_NAMED]
    ]
    more = len(incidents) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _incidents(views: Sequence[IncidentView]) -> Table:
    columns = (
        Column(label="Incident", role="title"),
        Column(label="Severity", lead=""),
        Column(label="Subject", role="title"),
        Column(label="What is wrong", role="text"),
        Column(label="Check", lead=""),
        Column(label="Status", lead=""),
        Column(label="Since", lead="since "),
        Column(label="Runs"),
        Column(label="Owner"),
    )
    return Table(
        columns=columns,
        rows=tuple(_rows(views)),
        unit="incident",
        nested_unit="symptom",
        elsewhere=inline("see --json"),
    )


def _rows(views: Sequence[IncidentView]) -> Iterator[Row]:
    """A row for each incident in this order, each followed by its open symptoms."""
    opened = {view.incident.finding.fingerprint: view for view in views if view.incident.resolved_at is None}
    below = grouped(view.incident.finding for view in opened.values()).symptoms
    nested = {finding.fingerprint for findings in below.values() for finding in findings}
    for view in views:
        fingerprint = view.incident.finding.fingerprint
        if view.incident.resolved_at is not None:
            yield _row(view)
        elif fingerprint not in nested:
            yield _row(view)
            yield from (_row(opened[symptom.fingerprint], nested=True) for symptom in below.get(fingerprint, ()))


def _row(view: IncidentView, *, nested: bool = False) -> Row:
    incident, finding = view.incident, view.incident.finding
    return row(
        incident.id or words.NOTHING,
        "symptom" if nested else finding.severity,
        words.subject(finding),
        words.summary(finding),
        finding.check,
        words.standing(incident, view.silence),
        words.timestamp(finding.since),
        f"{finding.flow_run_count:,}" if finding.flow_run_count else "",
        finding.owner or "",
        level=words.level(incident),
        nested=nested,
    )


def _requests(requests: Sequence[Request]) -> Iterator[Element]:
    if requests:
        items = tuple(inline(words.requested(request)) for request in requests)
        yield List(lead="The next check will apply:", items=items)


def _facts(view: IncidentView, symptom_of: str) -> list[tuple[str, str | None]]:
    incident, finding = view.incident, view.incident.finding
    mark, silence = incident.acknowledged, view.silence
    return [
        ("Status", words.standing(incident, view.silence)),
        ("Severity", finding.severity),
        ("What is wrong", words.summary(finding)),
        ("Observed", finding.observed),
        ("Expected", finding.expected),
        ("Cause", words.cause(finding.cause) if finding.cause else None),
        ("Symptom of", symptom_of),
        ("Owner", finding.owner),
        ("Runs", _runs(incident)),
        ("Tags", ", ".join(incident.tags)),
        ("Work pool", incident.pool),
        ("Link", finding.url),
        ("Since", words.timestamp(finding.since)),
        ("Found", words.timestamp(incident.opened_at)),
        ("Fired", words.timestamp_of(incident.fired_at)),
        (words.ended(incident).capitalize(), words.timestamp_of(incident.resolved_at)),
        ("Time to detect", words.lasted(to_detect(incident))),
        ("Time to resolve", words.lasted(to_resolve(incident))),
        ("Came back", words.counted(incident.reopened, "time") if incident.reopened else None),
        ("Acknowledged", f"by {mark.by} at {words.timestamp(mark.at)}" if mark else None),
        ("Note", mark.note if mark else None),
        ("Silenced for", f"{silence.reason} (by {silence.author})" if silence else None),
        ("Suppressed", view.suppression.text if view.suppression else None),
    ]


def _step(step: Step) -> str:
    by = f", by {step.by}" if step.by else ""
    to = "closed" if step.unmended else step.to
    return f"{words.timestamp(step.at)} {to}: {words.written(step.reason)}{by}{f': {step.note}' if step.note else ''}"


def _runs(incident: Incident) -> str:
    finding = incident.finding
    ids = ", ".join(finding.flow_run_ids[:MAX_RUNS])
    more = ", ..." if finding.flow_run_count > MAX_RUNS and ids else ""
    count = f"{finding.flow_run_count:,}" if finding.flow_run_count else ""
    return count + (f": {ids}{more}" if ids else "")
