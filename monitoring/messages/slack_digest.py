"""The digest as Slack's Block Kit. Every text is escaped and bounded here; what is cut is counted.

Limits are those of https://docs.slack.dev/reference/block-kit/blocks: 50 blocks, 150 characters a header, 3,000 a
section, 2,000 a field; and ``msg_blocks_too_long`` is answered near 12,000 characters over all blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import monitoring
from monitoring.incidents.timing import to_detect, to_resolve
from monitoring.messages import incident_words, words
from monitoring.model.finding import Finding
from monitoring.model.incident import Incident
from monitoring.model.report import DigestReport, HealthReport, Totals
from monitoring.text.escaping import clean, slack, slack_link

#: Characters of one section of findings. There are three, and they stay below the limit of a section and, with all
#: the rest, below the limit of a message.
_GROUP = 2_800
#: Characters of each smaller section.
_PART = 700
#: Findings that a person reads in a chat; the rest is in the artifact.
_MOST_LINES = 15
_MOST_SYMPTOMS = 3
#: Lines of evidence of one finding, and characters of each; the rest is in the artifact, too.
_MOST_EVIDENCE = 2
_EVIDENCE = 120
_HEADER = 150


class SlackMessage(NamedTuple):
    """A message: the blocks, and the text that notifications and screen readers use instead."""

    text: str
    blocks: list[dict[str, Any]]


def digest(report: DigestReport) -> SlackMessage:
    """Render the daily report; on a green day too, as silence would say nothing."""
    health = report.health
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": _title(report), "emoji": True}},
        _section(_standing(health)),
        {"type": "section", "fields": [_mrkdwn(text) for text in _runs(report)]},
        *_groups(health),
        *_silenced(health),
        *_unseen(health),
        *_resolved(report.resolved),
        {"type": "context", "elements": [_mrkdwn(_footer(report))]},
    ]
    return SlackMessage(text=_fallback(report), blocks=blocks)


def _title(report: DigestReport) -> str:
    status = report.health.status
    return clean(f"{words.SIGN[status]} {report.health.target} on {report.day}: {words.STATUS[status]}", _HEADER)


def _fallback(report: DigestReport) -> str:
    return slack(f"{_title(report)}. {words.headline(report.health)} Yesterday: {_rate(report)}.")


def _standing(health: HealthReport) -> str:
    said = f"*{slack(words.headline(health))}*"
    also = words.also(health)
    seen = "" if health.server.problem else f"\nLooked at: {slack(words.seen(health))}"
    return f"{said}{' ' + slack(also) if also else ''}{seen}"


def _runs(report: DigestReport) -> list[str]:
    return [
        _period("Yesterday", _rate(report), report.yesterday),
        _period("The day before", words.success(report.day_before), report.day_before),
        _period("Today so far", words.success(report.today), report.today),
    ]


def _rate(report: DigestReport) -> str:
    """Yesterday's success rate against the day before's."""
    change = words.change(report.yesterday, report.day_before)
    return words.success(report.yesterday) + (f", {change} against the day before" if change else "")


def _period(name: str, rate: str, totals: Totals | None) -> str:
    lines = [f"*{name}*", f"Success: {slack(rate)}"]
    if totals is not None and totals.ended:
        lines.append(slack(words.breakdown(totals)))
    return "\n".join(lines)


def _groups(health: HealthReport) -> Iterable[dict[str, Any]]:
    heads = words.heads(health)
    symptoms = words.symptoms(health)
    for title, checks in words.DIGEST_GROUPS:
        lines = [_line(f, symptoms.get(f.fingerprint, ()), health) for f in heads if f.check in checks]
        if lines:
            yield _section(_packed(f"*{title}* ({len(lines):,})", lines, _GROUP))


def _line(finding: Finding, symptoms: Sequence[Finding], health: HealthReport) -> str:
    link = incident_words.incident_of(finding, health) + slack_link(words.subject(finding), finding.url, limit=100)
    line = f"{words.SEVERITY_SIGN[finding.severity]} {link}: {slack(words.said(finding), 200)}"
    line += f" ({finding.severity}, since {words.moment(finding.since)}"
    line += f"; {slack(words.owned(finding), 100)}" if finding.owner else ""
    line += f"; cause: {slack(words.cause(finding.cause), 120)})" if finding.cause else ")"
    line += "".join(f"\n      {slack(why, _EVIDENCE)}" for why in finding.evidence[:_MOST_EVIDENCE])
    if symptoms:
        names = [f"{other.check} {slack(words.subject(other), 60)}" for other in symptoms[:_MOST_SYMPTOMS]]
        more = len(symptoms) - len(names)
        line += f"\n      ↳ and so: {', '.join(names)}{f' and {more:,} more' if more else ''}"
    return line


def _silenced(health: HealthReport) -> Iterable[dict[str, Any]]:
    if health.silences:
        lines = [
            f"• {incident_words.silence_name(one)}: {slack(incident_words.matched(one), 150)} until "
            f"{words.moment(one.ends_at)} ({slack(one.author, 60)}: {slack(one.reason, 120)})"
            for one in health.silences
        ]
        yield _section(_packed(f"*Silenced* ({len(lines):,})", lines, _PART))


def _unseen(health: HealthReport) -> Iterable[dict[str, Any]]:
    missing = health.coverage.missing
    if missing:
        lines = [f"• {slack(q.name, 60)}: {slack(q.detail or q.outcome, 150)}" for q in missing]
        yield _section(_packed(f"*What could not be seen* ({len(missing):,})", lines, _PART))
    infos = words.infos(health)
    if infos:
        lines = [
            f"• {slack_link(words.subject(f), f.url, limit=80)}: {slack(words.said(f), 150)}"
            + (f" ({slack(words.owned(f), 100)})" if f.owner else "")
            for f in infos
        ]
        yield _section(_packed(f"*For information* ({len(lines):,})", lines, _PART))
    unknowns = words.unknowns(health)
    if unknowns:
        names = f"{words.counted(len(unknowns), 'subject')} could not be judged; the health artifact names them."
        yield {"type": "context", "elements": [_mrkdwn(slack(names))]}


def _resolved(incidents: Sequence[Incident]) -> Iterable[dict[str, Any]]:
    if incidents:
        lines = [
            f"• {incident.id or words.NOTHING} {incident.finding.check} "
            f"{slack_link(words.subject(incident.finding), incident.finding.url, limit=80)}"
            f": {slack(incident.resolution or 'cleared')} ({incident_words.lasted(to_detect(incident))} to detect, "
            f"{incident_words.lasted(to_resolve(incident))} to resolve)"
            for incident in incidents
        ]
        usual = incident_words.statistics(incidents)
        title = f"*Resolved in the last 24 hours* ({len(lines):,})" + (f"\n{usual}" if usual else "")
        yield _section(_packed(title, lines, _PART))


def _footer(report: DigestReport) -> str:
    health = report.health
    made = (
        f"Made {words.moment(health.at)} by Prefect Watchdog {monitoring.__version__}. "
        f"Days begin and end in {report.time_zone}. Cancelled runs are left out of the success rate."
    )
    return slack(made) + (f" {slack_link('Open Prefect', health.server.ui_url)}" if health.server.ui_url else "")


def _packed(title: str, lines: Sequence[str], limit: int) -> str:
    """Put whole lines under a title, as many as fit, and say how many do not."""
    text, shown = title, 0
    for line in lines[:_MOST_LINES]:
        longer = f"{text}\n{line}"
        if _size(longer) > limit:
            break
        text, shown = longer, shown + 1
    more = len(lines) - shown
    return text + (f"\nand {more:,} more" if more else "")


def _size(text: str) -> int:
    """Count as Slack may: a character beyond the basic plane, such as an emoji, as two."""
    return len(text.encode("utf-16-le")) // 2


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> dict[str, Any]:
    # Verbatim: Slack makes no links and no channels of what merely looks like one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
