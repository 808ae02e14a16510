"""An alert as Slack's Block Kit. Every text is escaped and bounded here; what is cut is counted.

Limits are those of https://docs.slack.dev/reference/block-kit/blocks: 50 blocks, 150 characters a header, 3,000 a
section; and ``msg_blocks_too_long`` is answered near 12,000 characters over all blocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from monitoring.messages import alerts, words
from monitoring.messages.slack_digest import SlackMessage
from monitoring.model.outbox import About, Content
from monitoring.text.escaping import clean, slack, slack_code, slack_code_block, slack_link

_HEADER = 150
#: Characters, as Slack counts them, that all incidents of a message may take; the rest stays below what is left.
_ROWS = 6_000
#: Characters of one section that grows with what it tells of.
_PART = 1_200
#: Characters of the parts of a row, escaped.
_NAME = 100
_SAID = 250
_FACT = 150
_URL = 400
_NOTE = 250
#: Characters of a line of evidence, and of all lines of one incident, escaped; the last ones say most.
_LINE = 200
_EVIDENCE = 1_500

#: What stands under a large title; everything else is a note.
_LARGE: frozenset[About] = frozenset({"opened", "risen", "repeated", "preexisting"})
#: What people are called for.
_CALLING: frozenset[About] = frozenset({"opened", "joined", "risen", "reopened", "repeated"})


def alert(content: Content, mentions: Sequence[str] = (), *, whole: bool = False) -> SlackMessage:
    """Render an alert.

    Args:
        content: What it says.
        mentions: Who is called, if that is what it is about: ids of users and groups, ``here``, ``channel``.
        whole: Whether it has to say everything, as there is no thread for the details.
    """
    title = _bounded(clean, alerts.title(content), _HEADER)
    called = " ".join(map(_mention, mentions)) if content.about in _CALLING and content.open else ""
    blocks = [
        _title(content, title),
        *_sections([called, slack(alerts.lead(content))]),
        *(_details(content) if content.about == "details" else _rows(content, title)),
        *(_rests_on(content) if whole else ()),
        *_sections(_packed("", [f"• {_text(note, _NOTE)}" for note in content.notes])),
        *_sections(_packed("To quiet the noisiest, tag these deployments:", map(_quieter, alerts.quieters(content)))),
        *_sections(["\n".join(f"{one.does}: {slack_code(one.line)}" for one in alerts.commands(content))]),
        _context(_footer(content)),
    ]
    text = f"{slack(title)} ({slack(content.target)}) {called}"
    return SlackMessage(text=text.strip(), blocks=blocks)


def _title(content: Content, title: str) -> dict[str, Any]:
    if content.about in _LARGE:
        return {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": True}}
    return _section(f"*{slack(title)}*")


def _mention(who: str) -> str:
    if who in ("here", "channel", "everyone"):
        return f"<!{who}>"
    return f"<!subteam^{who}>" if who.startswith("S") else f"<@{who}>"


def _rows(content: Content, title: str) -> Iterator[dict[str, Any]]:
    shown = room = 0
    for row in alerts.rows(content):
        text = _row(row, title)
        room += _size(text)
        if shown and room > _ROWS:
            break
        shown += 1
        yield _section(text)
    yield from _sections([slack(alerts.remaining(content, shown))])


def _row(row: alerts.Row, title: str) -> str:
    """Two lines: what is wrong with what, unless the title has said that, and what else there is to know."""
    what = "" if f"{row.name}: {row.said}" in title else f": {_text(row.said, _SAID)}"
    facts = ", ".join(_text(fact, _FACT) for fact in row.facts)
    return f"{row.sign} *{slack(row.id)}* {_link(row.name, row.url)}{what}\n{facts}".strip()


def _details(content: Content) -> Iterator[dict[str, Any]]:
    shown = room = 0
    for detail in alerts.details(content):
        texts = [_detail(detail), *([_evidence(detail.evidence)] if detail.evidence else [])]
        room += sum(map(_size, texts))
        if shown and room > _ROWS:
            break
        shown += 1
        yield from map(_section, texts)
    yield from _sections([slack(alerts.remaining(content, shown))])


def _detail(detail: alerts.Detail) -> str:
    runs = [_link(run.text, run.url) for run in detail.runs]
    if runs and detail.more_runs > 0:
        runs.append(f"and {words.counted(detail.more_runs, 'more run')}")
    lines = [f"*{slack(detail.id)}* {_text(detail.name, _NAME)}", _observed(detail)]
    return "\n".join([*lines, *([", ".join(runs)] if runs else [])])


def _observed(detail: alerts.Detail) -> str:
    return f"Observed: {_text(detail.observed, _SAID)}\nExpected: {_text(detail.expected, _SAID)}"


def _rests_on(content: Content) -> Iterator[dict[str, Any]]:
    if content.total == 1 and content.open and content.about != "details":
        yield from (_section(_observed(detail)) for detail in alerts.details(content))


def _evidence(lines: Sequence[str]) -> str:
    """The last lines that fit, in a block of code."""
    kept, room = len(lines), 0
    for line in reversed(lines):
        room += _size(slack_code_block([line], _LINE))
        if room > _EVIDENCE:
            break
        kept -= 1
    return slack_code_block(lines[kept:], _LINE)


def _quieter(quieter: alerts.Quieter) -> str:
    tags = " or ".join(f"{slack_code(tag)} ({when})" for tag, when in quieter.tags)
    return f"• {_link(quieter.name, quieter.url)}: {tags}"


def _footer(content: Content) -> str:
    linked = [_link(link.text, link.url) for link in alerts.links(content)]
    return " · ".join([*linked, slack(alerts.footer(content))])


def _link(text: str, url: str | None) -> str:
    """A link, unless its address would take the room of other things."""
    linked = _bounded(lambda shown, limit: slack_link(shown, url, limit), text, _NAME + _URL)
    return linked if _size(linked) <= _NAME + _URL else _text(text, _NAME)


def _text(text: str, most: int) -> str:
    return _bounded(slack, text, most)


def _bounded(escape: Callable[[str, int], str], text: str, most: int) -> str:
    """Escape text so that the answer has at most so many characters, as Slack counts them."""
    text, limit = clean(text, most), most
    while _size(shown := escape(text, limit)) > most and limit > 1:
        limit = limit * 3 // 4
    return shown


def _packed(title: str, lines: Iterable[str]) -> list[str]:
    """One text of whole lines under a title, as many as fit; none where there are no lines."""
    shown, rest = [title] if title else [], list(lines)
    if not rest:
        return []
    while rest and _size("\n".join([*shown, rest[0]])) <= _PART:
        shown.append(rest.pop(0))
    return ["\n".join([*shown, *([f"and {len(rest):,} more"] if rest else [])])]


def _size(text: str) -> int:
    """Count as Slack may: as JSON, and a character beyond the basic plane, such as an emoji, as two."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-16-le")) // 2 - len('""')


def _sections(texts: Iterable[str]) -> list[dict[str, Any]]:
    return [_section(text) for text in texts if text]


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> dict[str, Any]:
    # Verbatim: Slack makes no links and no channels of what merely looks like one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
