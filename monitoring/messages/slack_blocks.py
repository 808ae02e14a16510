"""A message as Slack's Block Kit (https://docs.slack.dev/reference/block-kit/blocks), within the limits of Slack.

Slack has one limit for all blocks of a message together. Every element gets what it needs while that fits. Where it
does not, the largest give way, those with problems less than the others, and say what they leave out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from monitoring.messages.tables import Line, cut, drawn, evidence, families, joined, line, nested_rest, rest
from monitoring.messages.words import SIGN, signed
from monitoring.model import message as elements
from monitoring.text.escaping import clean, slack, slack_bounded, slack_code, slack_code_block, slack_size, spaced
from monitoring.text.limits import SLACK, SLACK_BLOCKS, SLACK_CODE, SLACK_FALLBACK, SLACK_MESSAGE, SLACK_SECTION

Block = dict[str, Any]

#: Room for an element with problems, against any other.
_PROBLEMS = 4
_INDENT = " " * 6
#: Characters that a fact keeps when there is no room.
_LEAST = 30
#: Nothing has a limit when it is asked how much room it wants.
_BOUNDLESS = 10**6


class SlackMessage(NamedTuple):
    """A message: the blocks, and the text that notifications and screen readers use instead."""

    text: str
    blocks: list[Block]


def slack_message(message: elements.Message, mentions: Sequence[str] = ()) -> SlackMessage:
    """Format a message; it mentions these ids of users and groups, ``here`` and ``channel`` if it asks for mentions."""
    title = clean(signed(message.title, message.level), SLACK.title)
    while slack_size(title) > SLACK.title:
        title = clean(title, len(title) * 3 // 4)
    mentioned = " ".join(map(_mention, mentions)) if message.mentions else ""
    first = [_title(message, title), *_sections([mentioned])]
    blocks = _within(first + _fitted(list(_parts(message, title)), SLACK_MESSAGE - _size(first)))
    fallback = slack_bounded(signed(message.fallback, message.level), SLACK_FALLBACK)
    return SlackMessage(text=f"{fallback} {mentioned}".strip(), blocks=blocks)


class _Part:
    """An element of a message with its heading, which can be formatted for less room than it wants."""

    def __init__(self, element: elements.Element, heading: str, title: str) -> None:
        self._element, self._heading, self._title = element, heading, title
        self.wanted = _size(self.blocks(_BOUNDLESS))
        rows = element.rows if isinstance(element, elements.Table) else ()
        self.weight = _PROBLEMS if any(row.level in ("critical", "warning") for row in rows) else 1

    def blocks(self, room: int) -> list[Block]:
        """Format the element so that its blocks take about so much room."""
        return _blocks(self._element, self._heading, self._title, room)


def _parts(message: elements.Message, title: str) -> Iterator[_Part]:
    heading, small = "", list[elements.Inline]()
    for element in message.elements:
        if isinstance(element, elements.Heading):
            heading = f"*{slack_bounded(element.text, SLACK.name)}*"
        elif isinstance(element, elements.Links):
            small += [(span,) for span in element.links]
        elif isinstance(element, elements.Prose) and element.muted:
            small.append(element.spans)
        elif isinstance(element, elements.Details):
            small.append(elements.inline(element.summary))
        else:
            yield _Part(element, heading, title)
            heading = ""
    if small:
        yield _Part(elements.Prose(spans=joined(small, " · "), muted=True), "", title)


def _fitted(parts: Sequence[_Part], room: int) -> list[Block]:
    """Format all parts in their order; where they want more than there is, the largest get less."""
    rooms: dict[int, int] = {}
    weights = sum(part.weight for part in parts)
    for number, part in sorted(enumerate(parts), key=lambda pair: pair[1].wanted / pair[1].weight):
        rooms[number] = min(part.wanted, room * part.weight // weights)
        room -= rooms[number]
        weights -= part.weight
    return [block for number, part in enumerate(parts) for block in part.blocks(rooms[number])]


def _within(blocks: list[Block]) -> list[Block]:
    """Leave out blocks before the last while Slack would refuse the message, and count them."""
    kept, left_out = blocks, 0
    while left_out < len(blocks) - 2 and (len(kept) > SLACK_BLOCKS or _size(kept) > SLACK_MESSAGE):
        left_out += 1
        more = _context(f"and {left_out:,} more parts of this message")
        kept = [*blocks[: len(blocks) - 1 - left_out], more, blocks[-1]]
    return kept


def _blocks(element: elements.Element, heading: str, title: str, room: int) -> list[Block]:
    match element:
        case elements.Prose(muted=True):
            return [_context(_line(element.spans))]
        case elements.Prose():
            return _sections([heading, _line(element.spans)])
        case elements.Facts():
            return _facts(element, heading, room)
        case elements.List():
            return _list(element, heading, room)
        case elements.Table():
            return _table(element, heading, title, room)
        case elements.Code():
            return _sections([heading, _code(element.lines, min(room - _size(_sections([heading])), SLACK_CODE))])
        case elements.Plot():
            return _blocks(elements.Code(lines=tuple(drawn(element))), heading, title, room)
        case _:
            return []


def _facts(element: elements.Facts, heading: str, room: int) -> list[Block]:
    """All facts, each as long as there is room for all."""
    most = SLACK.text
    while True:
        facts = (f"{slack(fact.label)}: {_line(fact.value, most)}" for fact in element.facts)
        blocks = _sections([heading, *facts])
        if _size(blocks) <= room or most <= _LEAST:
            return blocks
        most = most * 3 // 4


def _list(element: elements.List, heading: str, room: int) -> list[Block]:
    """As many items as there is room for."""
    items = [f"• {_line(item)}" for item in element.items]
    for shown in range(len(items), -1, -1):
        more = len(items) - shown + element.more
        blocks = _sections([heading, slack(element.lead), *items[:shown], f"and {more:,} more" if more else ""])
        if _size(blocks) <= room:
            break
    return blocks


def _table(element: elements.Table, heading: str, title: str, room: int) -> list[Block]:
    """As many rows as there is room for, the first one in any case; in sections of their own without a heading."""
    table = cut(element, _BOUNDLESS, SLACK.nested)
    texts = [_row(row, below, table, title, _INDENT if heading else "") for row, below in families(table.rows)]
    for shown in range(min(len(texts), SLACK.rows), 0, -1):
        more = table.model_copy(update={"more": table.more + len(texts) - shown})
        parts = [*texts[:shown], _line(rest(more))]
        blocks = _sections([heading, *parts]) if heading else [_section(text) for text in parts if text]
        if _size(blocks) <= room:
            break
    return blocks if texts else []


def _code(lines: Sequence[str], room: int) -> str:
    """The last lines that fit, as they say most."""
    kept: list[str] = []
    for text in reversed(lines):
        if kept and slack_size(slack_code_block([text, *kept], SLACK.line)) > room:
            break
        kept.insert(0, text)
    return slack_code_block(kept, SLACK.line) if kept else ""


def _row(row: elements.Row, below: Sequence[elements.Row], table: elements.Table, title: str, indent: str) -> str:
    """What is wrong with what, unless the title says so; the facts; its evidence; what is nested in it."""
    shown = line(row, table.columns)
    sign = f"{SIGN[row.level]} " if row.level else "• "
    what, name = "".join(span.text for span in shown.text), "".join(span.text for span in shown.title if span.url)
    repeated = bool(what) and f"{name}: {what}" in title
    head = sign + (_line(shown.title) if repeated else _name(shown))
    facts = [_line(fact) for fact in shown.facts]
    shown_evidence = [_INDENT + slack_bounded(text, SLACK.line) for text in evidence(row, SLACK.lines)]
    nested = [_name(line(other, table.columns)) for other in below]
    while True:
        left_out = row.model_copy(update={"more_nested": row.more_nested + len(below) - len(nested)})
        symptoms = "; ".join(part for part in (*nested, slack(nested_rest(left_out, table))) if part)
        lines = [head, indent + ", ".join(facts), *shown_evidence]
        lines += [f"{_INDENT}↳ {slack(table.nested_unit)}s: {symptoms}"] if symptoms else []
        text = "\n".join(part for part in lines if part.strip())
        # A row is never split. Escaped names and long addresses can make it too long for a section.
        least = next((parts for parts in (shown_evidence, nested, facts) if parts), None)
        if slack_size(text) <= SLACK_SECTION - 100 or least is None:
            return text
        least.pop()


def _name(shown: Line) -> str:
    return _line((*shown.title, *shown.text_after_title))


def _line(spans: elements.Inline, most: int = SLACK.text) -> str:
    return "".join(_span(span, most) for span in spans)


def _span(span: elements.Span, most: int) -> str:
    if span.style == "code":
        return slack_code(span.text)
    most = min(most, SLACK.name) if span.url or span.style == "strong" else most
    escaped = slack_bounded(span.text, most, span.url)
    return spaced(span.text, f"*{escaped}*" if span.style == "strong" and escaped else escaped)


def _mention(who: str) -> str:
    if who in ("here", "channel", "everyone"):
        return f"<!{who}>"
    return f"<!subteam^{who}>" if who.startswith("S") else f"<@{who}>"


def _title(message: elements.Message, title: str) -> Block:
    if message.prominent:
        return {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": True}}
    return _section(f"*{slack_bounded(title, SLACK.text)}*")


def _sections(texts: Iterable[str]) -> list[Block]:
    """Lines in as few sections as Slack's limit allows; none where no line says anything."""
    sections: list[str] = []
    for text in texts:
        if not text:
            continue
        if sections and slack_size(f"{sections[-1]}\n{text}") <= SLACK_SECTION - 100:
            sections[-1] += f"\n{text}"
        else:
            sections.append(text)
    return [_section(text) for text in sections]


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> Block:
    # Verbatim: Slack makes no links and no channels of what merely looks like one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _size(value: object) -> int:
    """Count as Slack may, see ``slack_size``: all blocks with their names and brackets."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-16-le")) // 2
