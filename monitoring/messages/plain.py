"""A message as text for receivers that may read anything or nothing as markup: e-mail, Teams, a pager."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monitoring.messages.plots import drawn
from monitoring.messages.tables import Line, cut, families, line, nested_rest, rest
from monitoring.messages.words import SIGN, signed
from monitoring.model.message import (
    Code,
    Details,
    Element,
    Facts,
    Heading,
    Inline,
    Links,
    List,
    Message,
    Plot,
    Prose,
    Row,
    Span,
    Table,
)
from monitoring.text.escaping import address, anywhere, spaced
from monitoring.text.limits import PLAIN


def plain(message: Message) -> tuple[str, str]:
    """Format a message.

    Args:
        message: Any.

    Returns:
        The subject, which is one line, and the body, whose paragraphs are set apart by blank lines.
    """
    parts = [part for element in message.elements for part in _paragraphs(element)]
    return anywhere(signed(message.fallback, message.level), PLAIN.title), "\n\n".join(part for part in parts if part)


def _paragraphs(element: Element) -> Iterator[str]:
    match element:
        case Heading():
            yield anywhere(element.text)
        case Prose():
            yield _line(element.spans)
        case Facts():
            yield "\n".join(f"{anywhere(fact.label)}: {_line(fact.value)}" for fact in element.facts)
        case List():
            more = [f"and {element.more:,} more"] if element.more else []
            yield "\n".join([anywhere(element.lead), *map(_line, element.items), *more]).strip()
        case Table():
            table = cut(element, PLAIN.rows, PLAIN.nested)
            yield from (_row(row, below, table) for row, below in families(table.rows))
            yield _line(rest(table))
        case Links():
            yield "\n".join(f"{anywhere(span.text)}: {url}" for span in element.links if (url := address(span.url)))
        case Code():
            yield "\n".join(anywhere(text, PLAIN.line) for text in element.lines)
        case Details():
            yield anywhere(element.summary)
        case Plot():
            yield "\n".join(anywhere(text, PLAIN.line) for text in drawn(element))


def _row(row: Row, below: Sequence[Row], table: Table) -> str:
    shown = line(row, table.columns)
    sign = f"{SIGN[row.level]} " if row.level else ""
    head = sign + _what(shown)
    pages = [url for span in shown.title if (url := address(span.url))]
    nested = [_what(line(other, table.columns)) for other in below]
    nested += [anywhere(nested_rest(row, table))] if row.more_nested else []
    lines = [head, ", ".join(map(_line, shown.facts)), *pages]
    lines += [anywhere(text, PLAIN.line) for text in row.evidence[: PLAIN.lines]]
    lines += [f"{table.nested_unit}s: {'; '.join(nested)}"] if nested else []
    return "\n".join(part for part in lines if part)


def _what(shown: Line) -> str:
    return _name(shown.title) + (f": {_line(shown.text)}" if shown.text else "")


def _line(spans: Inline) -> str:
    return "".join(_span(span) + (f" ({url})" if (url := address(span.url)) else "") for span in spans).strip()


def _name(spans: Inline) -> str:
    return "".join(map(_span, spans)).strip()


def _span(span: Span) -> str:
    if span.style == "code":
        return f"`{span.text}`"
    most = PLAIN.name if span.url or span.style == "strong" else PLAIN.text
    return spaced(span.text, anywhere(span.text, most))
