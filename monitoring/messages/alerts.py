"""The words of an alert, the same in every rendering. No function here escapes: what it returns is plain text.

The exception are commands: a person copies them from a chat into a shell, so that nothing in them may do anything in
either. They hold letters, digits and a few signs; everything else of a name is matched by ``?``.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from monitoring.messages import words
from monitoring.model.finding import Cause, CauseReason, CheckName, SubjectKind
from monitoring.model.incident import Incident, ResolutionReason
from monitoring.model.outbox import Content
from monitoring.text.durations import format_duration, spoken
from monitoring.text.links import artifact_url, deployment_url, flow_run_logs_url, flow_run_url, flow_url

OVER_SIGN = "✅"
KNOWN_SIGN = "⚪"
#: The artifact with everything that is wrong now.
HEALTH = "watchdog-health"
#: Deployments for which a summary says how to quiet them.
MOST_QUIETED = 5
#: Characters of a name in a command; what is longer is matched by ``*``.
_PATTERN = 100
_PLAIN_SIGNS = " -_./+=,#"
_WEEK = timedelta(weeks=1)

_RESOLVED: dict[ResolutionReason, str] = {
    "cleared": "it is no longer so",
    "succeeded": "a run completed",
    "paused": "it was paused",
    "deleted": "it was deleted",
    "expired": "it has no schedule, and nothing ran since",
    "disabled": "it is no longer watched",
    "closed": "closed by hand",
}
_BECAUSE: dict[CauseReason, str] = {
    "no-live-worker": "{} has no live worker",
    "paused": "{} is paused",
    "limit-reached": "the limit of {} is reached",
    "not-scheduling": "{} makes no runs",
    "previous-run-running": "the previous run of {} still runs",
    "failed": "{} failed",
    "unreachable": "{} cannot be reached",
}
_KINDS: dict[SubjectKind, str] = {
    "deployment": "deployment",
    "flow": "flow",
    "flow-run": "flow run",
    "work-pool": "work pool",
    "work-queue": "work queue",
    "tag": "tag",
    "global-concurrency-limit": "global concurrency limit",
    "error": "error",
    "scheduler": "scheduler",
    "server": "server",
    "route": "route",
    "metrics-outlet": "metrics exporter",
}
#: What stands behind ``12 deployments``.
_PREDICATES: dict[CheckName, str] = {
    "failed": "failed",
    "crashed": "crashed",
    "late": "are late",
    "stuck": "are stuck",
    "zombie": "run without heartbeats",
    "slow": "are slow",
    "stale": "had no recent success",
    "unscheduled": "have nothing scheduled ahead",
    "paused": "have been paused for long",
    "ahead": "cannot start what is due soon",
    "work-pool": "do not work",
    "work-queue": "do not work",
    "concurrency": "hold runs up at a full limit",
    "server": "do not work",
    "watchdog": "of the watchdog itself do not work",
}
#: What quiets a check of one deployment, and when that is right; ``watchdog:off`` does always.
_QUIETED_BY: dict[CheckName, tuple[str, str]] = {
    "failed": ("watchdog:expect=failure", "if its runs are expected to fail"),
    "slow": ("watchdog:max-run-time=12h", "with as long as it may take"),
    "stale": ("watchdog:fresh-within={}", "if a success so often is enough"),
}


class Row(NamedTuple):
    """One incident: what it is about, what is wrong, and what else there is to know, in short parts."""

    sign: str
    id: str
    name: str
    url: str | None
    said: str
    facts: tuple[str, ...]


class Detail(NamedTuple):
    """What an incident rests on: what was seen and expected, its runs, and lines such as a traceback."""

    id: str
    name: str
    observed: str
    expected: str
    runs: tuple[Link, ...]
    more_runs: int
    evidence: tuple[str, ...]


class Link(NamedTuple):
    """Something to look at."""

    text: str
    url: str


class Command(NamedTuple):
    """A command line, and what it does."""

    does: str
    line: str


class Quieter(NamedTuple):
    """A deployment, and the tags that would quiet it, each with when it is right."""

    name: str
    url: str | None
    tags: tuple[tuple[str, str], ...]


def title(content: Content) -> str:
    """Say in one line what a message is about, so that the notification alone is understood.

    Args:
        content: What the message says.
    """
    rows = content.incidents
    if content.about == "details":
        return f"Details of {_ids(content)}"
    if content.about == "preexisting":
        were = "was" if content.total == 1 else "were"
        return f"{KNOWN_SIGN} {words.counted(content.total, 'problem')} {were} there before the watchdog began"
    if not content.open:
        after = f"resolved after {spoken(max(map(_lasted, rows), default=timedelta(0)))}"
        if content.total == 1:
            return f"{OVER_SIGN} {words.subject(rows[0].finding)} ({rows[0].finding.check}): {after}, {_why(rows[0])}"
        return f"{OVER_SIGN} {_counted(content)} ({_in_common(content)}): {after} at most"
    return f"{words.SEVERITY_SIGN[content.severity]} {_prefix(content)}{_what(content)}"


def _prefix(content: Content) -> str:
    if content.about == "repeated":
        longest = max(content.at - _began(one) for one in content.incidents)
        return f"Still broken after {spoken(longest)}: "
    return {"joined": "Also: ", "risen": "Critical now: ", "reopened": "Back again: "}.get(content.about, "")


def _what(content: Content) -> str:
    if content.total == 1:
        finding = content.incidents[0].finding
        said = words.said(finding)
        return f"{words.subject(finding)}: {said}" if said != finding.summary else said
    cause, check = _cause(content), _check(content)
    over = content.total - content.open
    less = f"; {over:,} of them {'is' if over == 1 else 'are'} over" if over else ""
    if cause:
        return f"{_because(cause)}: {_counted(content)}{_waiting(content)}{less}"
    if check and _kind(content):
        return f"{_counted(content)} {_PREDICATES[check]}{less}"
    return f"{_counted(content)} ({_in_common(content)}){less}"


def _counted(content: Content) -> str:
    return words.counted(content.total, _kind(content) or "problem")


def _kind(content: Content) -> str:
    """What the incidents are about, where that is the same for all."""
    kinds = {_KINDS[one.finding.subject.kind] for one in content.incidents}
    return kinds.pop() if len(kinds) == 1 else ""


def _cause(content: Content) -> Cause | None:
    causes = [one.finding.cause for one in content.incidents]
    first = causes[0]
    return first if first and all(one and one.what == first.what for one in causes) else None


def _check(content: Content) -> CheckName | None:
    checks = {one.finding.check for one in content.incidents}
    return checks.pop() if len(checks) == 1 else None


def _in_common(content: Content) -> str:
    cause = _cause(content)
    return _because(cause) if cause else ", ".join(dict.fromkeys(one.finding.check for one in content.incidents))


def _because(cause: Cause) -> str:
    name = f"scheduler of {cause.name}" if cause.kind == "scheduler" else f"{cause.kind.replace('-', ' ')} {cause.name}"
    return _BECAUSE[cause.reason].format(name)


def _waiting(content: Content) -> str:
    """How many runs it is about, where all incidents are shown. One run may be in the findings of several checks."""
    runs: Counter[CheckName] = Counter()
    for one in content.incidents:
        runs[one.finding.check] += one.finding.flow_run_count
    most = max(runs.values())
    return f", {words.counted(most, 'run')}" if most and content.total == len(content.incidents) else ""


def _ids(content: Content) -> str:
    return content.incidents[0].id if content.total == 1 else words.counted(content.total, "incident")


def lead(content: Content) -> str:
    """The sentence under the title; empty where the title says it all."""
    if content.about != "preexisting":
        return ""
    these, worse = ("it", "it gets") if content.total == 1 else ("these", "they get")
    return f"No alerts are sent for {these}, unless {worse} worse: you are told of what begins from now on."


def rows(content: Content) -> tuple[Row, ...]:
    """One row for each incident that is shown, in the content's order."""
    return tuple(_row(one, content) for one in content.incidents)


def _row(incident: Incident, content: Content) -> Row:
    finding = incident.finding
    over = incident.resolved_at is not None
    return Row(
        sign=OVER_SIGN if over else words.SEVERITY_SIGN[finding.severity],
        id=incident.id,
        name=words.subject(finding),
        url=finding.url,
        said=words.said(finding),
        facts=tuple(_over(incident, content) if over else _facts(incident, content)),
    )


def _over(incident: Incident, content: Content) -> Iterator[str]:
    # Of a single one the title says so.
    if content.total > 1:
        yield f"resolved after {spoken(_lasted(incident))}: {_why(incident)}"
    if incident.finding.owner:
        yield words.owned(incident.finding)


def _facts(incident: Incident, content: Content) -> Iterator[str]:
    finding = incident.finding
    yield finding.severity
    yield f"since {words.moment(_began(incident))}"
    if finding.flow_run_count:
        yield words.counted(finding.flow_run_count, "run")
    if finding.owner:
        yield words.owned(finding)
    if finding.cause:
        yield f"cause: {words.cause(finding.cause)}"
    if incident.id in content.explained_by:
        yield f"explained by {content.explained_by[incident.id]}"
    if incident.reopened:
        yield f"came back {words.counted(incident.reopened, 'time')}"
    if incident.acknowledged:
        note = incident.acknowledged.note
        yield f"acknowledged by {incident.acknowledged.by or 'somebody'}{f': {note}' if note else ''}"


def _began(incident: Incident) -> datetime:
    """When it began: a condition may be younger than the incident, as the runs that are late change."""
    return min(incident.opened_at, incident.finding.since)


def _lasted(incident: Incident) -> timedelta:
    """How long it was so. One that comes and goes is closed only when it has stayed away for a while."""
    ended = incident.unseen_since or incident.resolved_at
    return max(ended - _began(incident), timedelta(0)) if ended else timedelta(0)


def _why(incident: Incident) -> str:
    return _RESOLVED[incident.resolution or "cleared"]


def remaining(content: Content, shown: int) -> str:
    """Say how many incidents a message does not show, and where they are; empty where it shows all.

    Args:
        content: What the message says.
        shown: How many incidents it shows.
    """
    more = content.total - shown
    return f"and {more:,} more: see the artifact {HEALTH}" if more > 0 else ""


def details(content: Content) -> tuple[Detail, ...]:
    """What the incidents rest on; lines from tracebacks and logs only where they may be shown."""
    return tuple(_detail(one, content) for one in content.incidents)


def _detail(incident: Incident, content: Content) -> Detail:
    finding = incident.finding
    urls = [flow_run_url(content.ui_url, run_id) for run_id in finding.flow_run_ids]
    runs = tuple(Link(f"run {number}", url) for number, url in enumerate(urls, start=1) if url)
    return Detail(
        id=incident.id,
        name=words.subject(finding),
        observed=finding.observed,
        expected=finding.expected,
        runs=runs,
        more_runs=finding.flow_run_count - len(runs),
        evidence=finding.evidence if content.traceback else (),
    )


def links(content: Content) -> tuple[Link, ...]:
    """What to look at: run, logs and deployment of a single incident, and the artifact; none without a UI."""
    if content.about == "details":
        return ()
    found: list[tuple[str, str | None]] = []
    if content.total == 1:
        finding = content.incidents[0].finding
        if finding.flow_run_ids:
            newest = finding.flow_run_ids[0]
            found += [
                ("run", flow_run_url(content.ui_url, newest)),
                ("logs", flow_run_logs_url(content.ui_url, newest)),
            ]
        kind, subject_id = finding.subject.kind, finding.subject.id
        if kind == "deployment":
            found.append(("deployment", deployment_url(content.ui_url, subject_id)))
        elif kind == "flow":
            found.append(("flow", flow_url(content.ui_url, subject_id)))
        elif content.ui_url:
            found.append((_KINDS[kind], finding.url))
    found.append((f"artifact {HEALTH}", artifact_url(content.ui_url, HEALTH)))
    return tuple(Link(text, url) for text, url in found if url)


def commands(content: Content) -> tuple[Command, ...]:
    """The command lines that acknowledge and silence what a message is about; none where there is nothing to."""
    if content.about in ("preexisting", "details", "resolved") or not content.open:
        return ()
    lasting = [one for one in content.incidents if one.resolved_at is None]
    new = [one.id for one in lasting if one.acknowledged is None]
    found = [Command("Acknowledge", f"watchdog incidents ack {' '.join(new)}")] if new else []
    match = _matcher(lasting, content)
    if match:
        arguments = [part for option, value in match for part in (f"--{option}", value)]
        line = shlex.join(["watchdog", "silence", "add", *arguments, "--for", "4h"])
        found.append(Command("Silence", f"{line} --reason '...'"))
    return tuple(found)


def _matcher(lasting: Sequence[Incident], content: Content) -> list[tuple[str, str]]:
    """The options that match what a message is about, and as little else as can be."""
    first = lasting[0]
    check = _check(content)
    match: list[tuple[str, str]] = []
    if content.total == 1 and first.finding.subject.kind in ("deployment", "flow"):
        match.append(("deployment", _pattern(first.finding.subject.name)))
    elif pool := _pool(lasting, content):
        match.append(("pool", pool))
    if check:
        match.append(("check", check))
    return match


def _pool(lasting: Sequence[Incident], content: Content) -> str:
    """The work pool that all of them belong to; empty where that is not known, or it has no name to type."""
    pools = {one.pool for one in lasting}
    pool = pools.pop() if len(pools) == 1 else None
    cause = _cause(content)
    of_all = len(content.incidents) == content.total or (cause and (cause.kind, cause.name) == ("work-pool", pool))
    return pool if pool and of_all and pool == _pattern(pool) else ""


def _pattern(name: str) -> str:
    """A shell-style pattern that matches a name, and is nothing but text in a shell, in Slack and in Markdown."""
    shown = "".join(char if char.isalnum() or char in _PLAIN_SIGNS else "?" for char in name[:_PATTERN])
    return f"{shown}*" if len(name) > _PATTERN else shown


def quieters(content: Content) -> tuple[Quieter, ...]:
    """For the deployments with most runs in a summary: the tags of theirs that would quiet them."""
    if content.about != "preexisting":
        return ()
    noisy = sorted(content.incidents, key=lambda one: -one.finding.flow_run_count)
    noisiest: dict[str, Incident] = {}
    for one in noisy:
        if one.finding.subject.kind == "deployment":
            noisiest.setdefault(one.finding.subject.name, one)
    return tuple(_quieter(one, content.at) for one in list(noisiest.values())[:MOST_QUIETED])


def _quieter(incident: Incident, now: datetime) -> Quieter:
    finding = incident.finding
    tags: list[tuple[str, str]] = []
    if finding.check in _QUIETED_BY:
        tag, when = _QUIETED_BY[finding.check]
        # A week or more longer than it has been by now: less would soon be told again.
        weeks = (now - _began(incident)) // _WEEK + 2
        tags.append((tag.format(format_duration(weeks * _WEEK)), when))
    tags.append(("watchdog:off", "if nobody needs to know"))
    return Quieter(finding.subject.name, finding.url, tuple(tags))


def footer(content: Content) -> str:
    """Say which server it is about, and as of when."""
    return f"Prefect server {content.target}, {words.moment(content.at)}"
