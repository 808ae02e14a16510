"""An alert as a message.

Its texts are plain, as all of a message's, except commands: people copy them from a chat into a shell, so that nothing
in them may do anything in either. They hold letters, digits and a few signs; ``?`` matches everything else of a name.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from monitoring.checks.findings import page
from monitoring.checks.registry import BY_NAME
from monitoring.messages import words
from monitoring.messages.tables import joined
from monitoring.messages.words import counted
from monitoring.model.finding import Cause
from monitoring.model.incident import Incident, ResolutionReason
from monitoring.model.message import (
    Code,
    Column,
    Element,
    Fact,
    Facts,
    Heading,
    Inline,
    Level,
    Links,
    List,
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
from monitoring.model.outbox import About, Content
from monitoring.text.durations import format_duration, humanized
from monitoring.text.links import artifact_url, flow_run_logs_url, flow_run_url

#: The artifact with everything that is wrong now.
HEALTH = "watchdog-health"
#: Deployments for which a summary says how to quiet them.
MAX_QUIETED = 5
#: Characters of a name in a command; what is longer is matched by ``*``.
_PATTERN = 100
_PLAIN_SIGNS = " -_./+=,#"
_WEEK = timedelta(weeks=1)
_ELSEWHERE = f"see the artifact {HEALTH}"
#: What stands under a large title; everything else is a note.
_PROMINENT: frozenset[About] = frozenset({"opened", "risen", "repeated", "preexisting"})
#: What people are mentioned for.
_MENTIONING: frozenset[About] = frozenset({"opened", "joined", "risen", "reopened", "repeated"})

_RESOLVED: dict[ResolutionReason, str] = {
    "cleared": "the condition cleared",
    "succeeded": "a run completed",
    "paused-while-failing": "paused while failing",
    "paused": "paused while failing",
    "deleted": "it was deleted",
    "expired": "it has no schedule, and nothing ran since",
    "disabled": "it is no longer watched",
    "closed": "closed by hand",
}


def alert_message(content: Content, *, whole: bool = False) -> Message:
    """The message of a notification; ``whole`` for receivers without threads for the details."""
    title = alert_title(content)
    return Message(
        title=title,
        level=_level(content),
        fallback=f"{title} ({content.target})",
        elements=tuple(_elements(content, whole)),
        prominent=content.about in _PROMINENT,
        mentions=content.about in _MENTIONING and content.open > 0,
    )


def _elements(content: Content, whole: bool) -> Iterator[Element]:
    if content.about == "preexisting":
        yield Prose(spans=inline(_lead(content)))
    if content.about == "details":
        yield from (element for incident in content.incidents for element in _details(incident, content))
        if left_out := content.total - len(content.incidents):
            yield Prose(spans=inline(f"and {counted(left_out, 'more incident')}: {_ELSEWHERE}"))
    else:
        yield _table(content)
        if whole and content.total == 1 and content.open:
            yield Facts(facts=_observed(content.incidents[0]))
    if content.notes:
        yield List(items=tuple(inline(note) for note in content.notes))
    if found := noisiest(content):
        items = tuple(_offer(incident, content.at) for incident in found)
        yield List(lead="To quiet what has lasted for a week or more, tag these deployments:", items=items)
    if lines := commands(content):
        yield Facts(facts=tuple(Fact(label=effect, value=inline(code(line))) for effect, line in lines.items()))
    if pages := links(content):
        yield Links(links=pages)
    yield Prose(spans=inline(f"Prefect server {content.target}, {words.timestamp(content.at)}"), muted=True)


def _level(content: Content) -> Level | None:
    if content.about == "details":
        return None
    if content.about == "preexisting":
        return "info"
    if content.open:
        return content.severity
    return "info" if any(incident.unmended for incident in content.incidents) else "resolved"


def alert_title(content: Content) -> str:
    """One line that is understood alone, such as on a phone's lock screen."""
    incidents = content.incidents
    if content.about == "details":
        return f"Details of {incidents[0].id if content.total == 1 else counted(content.total, 'incident')}"
    if content.about == "preexisting":
        # Deployments that start each other may be symptoms of each other.
        symptoms = len(content.explained_by) % content.total
        rest = f", with {counted(symptoms, 'symptom')}," if symptoms else ""
        return f"{counted(content.total - symptoms, 'problem')}{rest} from before the watchdog's first check"
    if not content.open:
        after = f"{words.ended(*incidents)} after {humanized(max(map(_lasted, incidents), default=timedelta(0)))}"
        if content.total == 1:
            finding = incidents[0].finding
            return f"{words.subject(finding)} ({finding.check}): {after}, {_reason(incidents[0])}"
        return f"{_counted(content)} ({_in_common(content)}): {after} at most"
    return f"{_prefix(content)}{_what(content)}"


def _prefix(content: Content) -> str:
    if content.about == "repeated":
        longest = max(content.at - _since(incident) for incident in content.incidents)
        return f"Still broken after {humanized(longest)}: "
    return {"joined": "Also: ", "risen": "Critical now: ", "reopened": "Back again: "}.get(content.about, "")


def _what(content: Content) -> str:
    if content.total == 1:
        finding = content.incidents[0].finding
        summary = words.summary(finding)
        return f"{words.subject(finding)}: {summary}" if summary != finding.summary else summary
    cause, check = _cause(content), _check(content)
    resolved = content.total - content.open
    ended = words.ended(*(incident for incident in content.incidents if incident.resolved_at))
    rest = f"; {resolved:,} of them {ended}" if resolved else ""
    if cause:
        return f"{words.because(cause)}: {_counted(content)}{_waiting(content)}{rest}"
    if check in BY_NAME and _kind(content):
        return f"{_counted(content)} {BY_NAME[check].predicate}{rest}"
    return f"{_counted(content)} ({_in_common(content)}){rest}"


def _counted(content: Content) -> str:
    return counted(content.total, _kind(content) or "problem")


def _kind(content: Content) -> str:
    """What the incidents are about, where that is the same for all."""
    kinds = {words.kind_of(incident.finding.subject.kind) for incident in content.incidents}
    return kinds.pop() if len(kinds) == 1 else ""


def _cause(content: Content) -> Cause | None:
    causes = [incident.finding.cause for incident in content.incidents]
    first = causes[0]
    return first if first and all(cause and cause.what == first.what for cause in causes) else None


def _check(content: Content) -> str:
    """The check that found all of them; empty where there are several."""
    checks = {incident.finding.check for incident in content.incidents}
    return checks.pop() if len(checks) == 1 else ""


def _in_common(content: Content) -> str:
    checks = dict.fromkeys(incident.finding.check for incident in content.incidents)
    return words.because(cause) if (cause := _cause(content)) else ", ".join(checks)


def _waiting(content: Content) -> str:
    """How many runs it is about, where all incidents are shown. One run may be in the findings of several checks."""
    runs: Counter[str] = Counter()
    for incident in content.incidents:
        runs[incident.finding.check] += incident.finding.flow_run_count
    most = max(runs.values())
    return f", {counted(most, 'run')}" if most and content.total == len(content.incidents) else ""


def _lead(content: Content) -> str:
    these, worse = ("it", "it gets") if content.total == 1 else ("these", "they get")
    return f"No notification is sent for {these} unless {worse} worse; one is sent for what fires from now on."


_COLUMNS = (
    Column(label="Incident", role="title"),
    Column(label="Subject", role="title"),
    Column(label="What is wrong", role="text"),
    Column(label="Status", lead=""),
    Column(label="Since", lead="since "),
    Column(label="Runs", lead=""),
    Column(label="Owner"),
    Column(label="Cause"),
    Column(label="Symptom of", lead="symptom of "),
    Column(label="Reopened", lead="came back "),
    Column(label="Acknowledged", lead="acknowledged by "),
)


def _table(content: Content) -> Table:
    return Table(
        columns=_COLUMNS,
        rows=tuple(_row(incident, content) for incident in content.incidents),
        more=content.total - len(content.incidents),
        unit="incident",
        elsewhere=inline(_ELSEWHERE),
    )


def _row(incident: Incident, content: Content) -> Row:
    finding, resolved = incident.finding, incident.resolved_at is not None
    return row(
        inline(strong(incident.id)),
        inline(link(words.subject(finding), finding.url)),
        words.summary(finding),
        *(_resolved(incident, content) if resolved else _firing(incident, content)),
        level=words.level(incident),
    )


def _resolved(incident: Incident, content: Content) -> Sequence[str]:
    # Of a single incident the title says so.
    ended = f"{words.ended(incident)} after {humanized(_lasted(incident))}: {_reason(incident)}"
    status = ended if content.total > 1 else ""
    return [status, "", "", incident.finding.owner or "", "", "", "", ""]


def _firing(incident: Incident, content: Content) -> Sequence[str]:
    finding, mark = incident.finding, incident.acknowledged
    return [
        finding.severity,
        words.timestamp(_since(incident)),
        counted(finding.flow_run_count, "run") if finding.flow_run_count else "",
        finding.owner or "",
        words.cause(finding.cause) if finding.cause else "",
        content.explained_by.get(incident.id, ""),
        counted(incident.reopened, "time") if incident.reopened else "",
        f"{mark.by or 'somebody'}{f': {mark.note}' if mark.note else ''}" if mark else "",
    ]


def _since(incident: Incident) -> datetime:
    """The start of the incident: a condition may be younger, as the runs that are late change."""
    return min(incident.opened_at, incident.finding.since)


def _lasted(incident: Incident) -> timedelta:
    """The duration of the condition. A flapping incident is resolved only some time after the condition ended."""
    ended = incident.unseen_since or incident.resolved_at
    return max(ended - _since(incident), timedelta(0)) if ended else timedelta(0)


def _reason(incident: Incident) -> str:
    return _RESOLVED[incident.resolution or "cleared"]


def _details(incident: Incident, content: Content) -> Iterator[Element]:
    """What an incident rests on; lines from tracebacks and logs only where they may be shown."""
    finding = incident.finding
    urls = [flow_run_url(content.ui_url, run_id) for run_id in finding.flow_run_ids]
    runs = [inline(link(f"run {number}", url)) for number, url in enumerate(urls, start=1) if url]
    if runs and finding.flow_run_count > len(runs):
        runs.append(inline(f"and {counted(finding.flow_run_count - len(runs), 'more run')}"))
    yield Heading(text=f"{incident.id} {words.subject(finding)}")
    more = (Fact(label="Runs", value=joined(runs, ", ")),) if runs else ()
    yield Facts(facts=(*_observed(incident), *more))
    if content.traceback and finding.evidence:
        yield Code(lines=finding.evidence)


def _observed(incident: Incident) -> tuple[Fact, ...]:
    finding = incident.finding
    return (
        Fact(label="Observed", value=inline(finding.observed)),
        Fact(label="Expected", value=inline(finding.expected)),
    )


def _offer(incident: Incident, now: datetime) -> Inline:
    finding = incident.finding
    tags = [inline(code(tag), f" ({when})") for tag, when in quieting_tags(incident, now)]
    return (*inline(link(finding.subject.name, finding.url), ": "), *joined(tags, " or "))


def links(content: Content) -> Inline:
    """What to look at: run, logs and deployment of a single incident, and the artifact; none without a UI."""
    ui_url = content.ui_url
    if content.about == "details" or not ui_url:
        return ()
    pages: dict[str, str | None] = {}
    if content.total == 1:
        finding = content.incidents[0].finding
        kind = finding.subject.kind
        if finding.flow_run_ids:
            newest = finding.flow_run_ids[0]
            pages = {"run": flow_run_url(ui_url, newest), "logs": flow_run_logs_url(ui_url, newest)}
        of_runs = kind in ("deployment", "flow")
        pages[words.kind_of(kind)] = page(ui_url, finding.subject) if of_runs else finding.url
    pages[f"artifact {HEALTH}"] = artifact_url(ui_url, HEALTH)
    return tuple(link(text, url) for text, url in pages.items() if url)


def commands(content: Content) -> dict[str, str]:
    """The command lines that acknowledge and silence the incidents, by their effect."""
    if content.about in ("preexisting", "details", "resolved") or not content.open:
        return {}
    firing = [incident for incident in content.incidents if incident.resolved_at is None]
    new = [incident.id for incident in firing if incident.acknowledged is None]
    lines = {"Acknowledge": f"watchdog incidents ack {' '.join(new)}"} if new else {}
    if match := _matcher(firing, content):
        arguments = [part for option, value in match.items() for part in (f"--{option}", value)]
        line = shlex.join(["watchdog", "silence", "add", *arguments, "--for", "4h"])
        lines["Silence"] = f"{line} --reason '...'"
    return lines


def _matcher(firing: Sequence[Incident], content: Content) -> dict[str, str]:
    """The options that match what the notification is about, and nothing wider; none if no options do."""
    first, check, cause = firing[0], _check(content), _cause(content)
    if not check:
        return {}
    if content.total == 1 and first.finding.subject.kind in ("deployment", "flow"):
        return {"deployment": _pattern(first.finding.subject.name), "check": check}
    pool = first.pool if content.total == 1 else cause.name if cause and cause.kind == "work-pool" else None
    if pool and pool == _pattern(pool):
        return {"pool": pool, "check": check}
    return {"check": check} if content.total == 1 else {}


def _pattern(name: str) -> str:
    """A shell-style pattern that matches a name, and is nothing but text in a shell, in Slack and in Markdown."""
    shown = "".join(char if char.isalnum() or char in _PLAIN_SIGNS else "?" for char in name[:_PATTERN])
    return f"{shown}*" if len(name) > _PATTERN else shown


def noisiest(content: Content) -> list[Incident]:
    """The incidents of a summary with most runs among those that have lasted for long, of each deployment one."""
    if content.about != "preexisting":
        return []
    # What began lately may be news to the team that will read this.
    lasting = [incident for incident in content.incidents if content.at - _since(incident) >= _WEEK]
    found: dict[str, Incident] = {}
    for incident in sorted(lasting, key=lambda incident: -incident.finding.flow_run_count):
        if incident.finding.subject.kind == "deployment":
            found.setdefault(incident.finding.subject.name, incident)
    return list(found.values())[:MAX_QUIETED]


def quieting_tags(incident: Incident, now: datetime) -> list[tuple[str, str]]:
    """The tags that would quiet a deployment, each with when it is right."""
    tags = [("watchdog:off", "if no notification of it is wanted")]
    check = BY_NAME.get(incident.finding.check)
    if check and check.quieted_by:
        tag, when = check.quieted_by
        # A week or more longer than it has lasted: with less, it would soon fire again.
        weeks = (now - _since(incident)) // _WEEK + 2
        tags.insert(0, (tag.format(format_duration(weeks * _WEEK)), when))
    return tags
