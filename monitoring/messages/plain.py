"""A message as text for receivers that may read anything or nothing as markup: e-mail, Teams, a pager."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monitoring.messages.tables import Line, cut, drawn, evidence, families, line, nested_rest, rest
from monitoring.messages.words import signed
from monitoring.model import message as elements
from monitoring.text.escaping import address, anywhere, spaced
from monitoring.text.limits import PLAIN


def plain(message: elements.Message) -> tuple[str, str]:
    """The subject of a message, which is one line, and the body, with a blank line between paragraphs."""
    parts = [part for element in message.elements for part in _paragraphs(element)]
    return anywhere(signed(message.fallback, message.level), PLAIN.title), "\n\n".join(part for part in parts if part)


def _paragraphs(element: elements.Element) -> Iterator[str]:
    match element:
        case elements.Heading():
            yield anywhere(element.text)
        case elements.Prose():
            yield _line(element.spans)
        case elements.Facts():
            yield "\n".join(f"{anywhere(fact.label)}: {_line(fact.value)}" for fact in element.facts)
        case elements.List():
            more = [f"and {element.more:,} more"] if element.more else []
            yield "\n".join([anywhere(element.lead), *map(_line, element.items), *more]).strip()
        case elements.Table():
            table = cut(element, PLAIN.rows, PLAIN.nested)
            yield from (_row(row, below, table) for row, below in families(table.rows))
            yield _line(rest(table))
        case elements.Links():
            yield "\n".join(f"{anywhere(span.text)}: {url}" for span in element.links if (url := address(span.url)))
        case elements.Code():
            yield "\n".join(anywhere(text, PLAIN.line) for text in element.lines)
        case elements.Details():
            yield anywhere(element.summary)
        case elements.Plot():
            yield "\n".join(anywhere(text, PLAIN.line) for text in drawn(element))


def _row(row: elements.Row, below: Sequence[elements.Row], table: elements.Table) -> str:
    shown = line(row, table.columns)
    head = signed(_what(shown), row.level)
    pages = [url for span in shown.title if (url := address(span.url))]
    nested = [_what(line(other, table.columns)) for other in below]
    nested += [anywhere(nested_rest(row, table))] if row.more_nested else []
    lines = [head, ", ".join(map(_line, shown.facts)), *pages]
    lines += [anywhere(text, PLAIN.line) for text in evidence(row, PLAIN.lines)]
    lines += [f"{table.nested_unit}s: {'; '.join(nested)}"] if nested else []
    return "\n".join(part for part in lines if part)


def _what(shown: Line) -> str:
    return _name(shown.title) + (f": {_line(shown.text)}" if shown.text else "")


def _line(spans: elements.Inline) -> str:
    return "".join(_span(span) + (f" ({url})" if (url := address(span.url)) else "") for span in spans).strip()


def _name(spans: elements.Inline) -> str:
    return "".join(map(_span, spans)).strip()


def _span(span: elements.Span) -> str:
    if span.style == "code":
        return f"`{span.text}`"
    most = PLAIN.name if span.url or span.style == "strong" else PLAIN.text
    return spaced(span.text, anywhere(span.text, most))
