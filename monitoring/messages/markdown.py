"""A message as GitHub's Markdown, for Prefect's artifacts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monitoring.messages.tables import cut, drawn, evidence, families, joined, line, nested_rest, rest
from monitoring.messages.words import NOTHING, counted, signed
from monitoring.model import message as elements
from monitoring.text.escaping import markdown, markdown_code, markdown_lines, markdown_link, spaced
from monitoring.text.limits import MARKDOWN


def markdown_page(message: elements.Message) -> str:
    """Format a message as a page."""
    parts = [part for element in message.elements for part in _paragraphs(element)]
    title = f"# {markdown(signed(message.title, message.level), MARKDOWN.title)}"
    return "\n\n".join(part for part in (title, *parts) if part) + "\n"


def _paragraphs(element: elements.Element) -> Iterator[str]:
    match element:
        case elements.Heading():
            yield f"## {markdown(element.text)}"
            yield markdown(element.note)
        case elements.Prose():
            yield _line(element.spans)
        case elements.Facts():
            yield "\n".join(f"- {markdown(fact.label)}: {_line(fact.value)}" for fact in element.facts)
        case elements.List():
            yield markdown(element.lead)
            more = [f"- and {element.more:,} more"] if element.more else []
            yield "\n".join([*(f"- {_line(item)}" for item in element.items), *more])
        case elements.Table():
            table = cut(element, MARKDOWN.rows, MARKDOWN.nested)
            yield "\n".join(_table(table))
            yield _line(rest(table))
            yield from _evidence(table)
        case elements.Links():
            yield _line(joined([(span,) for span in element.links], " · "))
        case elements.Code():
            yield markdown_lines(element.lines, MARKDOWN.line)
        case elements.Details():
            # Blank lines around it: what is within is Markdown again.
            yield f"<details><summary>{markdown(element.summary)}</summary>"
            yield from (part for inner in element.elements for part in _paragraphs(inner))
            yield "</details>"
        case elements.Plot():
            yield markdown_lines(drawn(element), MARKDOWN.line)


def _table(table: elements.Table) -> Iterator[str]:
    yield _cells(markdown(column.label) for column in table.columns)
    yield "|" + "---|" * len(table.columns)
    for row, below in families(table.rows):
        yield _cells(map(_cell, row.cells))
        for nested in below:
            yield _nested(nested.cells)
        if row.more_nested:
            nothing: Sequence[elements.Inline] = [()] * (len(table.columns) - 1)
            yield _nested((elements.inline(nested_rest(row, table)), *nothing))


def _nested(cells: Sequence[elements.Inline]) -> str:
    return _cells([f"↳ {_line(cells[0])}", *map(_cell, cells[1:])])


def _cell(cell: elements.Inline) -> str:
    return _line(cell) or NOTHING


def _cells(cells: Iterator[str] | Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _evidence(table: elements.Table) -> Iterator[str]:
    """What the rows rest on, below the table: pages, and not megabytes."""
    rows = [row for row in table.rows if row.evidence]
    if rows:
        yield "### Why"
    for row in rows[: MARKDOWN.evidence]:
        yield f"{_line(line(row, table.columns).title)}:"
        yield _lines(row)
    if more := len(rows) - MARKDOWN.evidence:
        yield f"and evidence of {counted(more, f'more {table.unit}')}: see `watchdog check --json`" if more > 0 else ""


def _lines(row: elements.Row) -> str:
    lines, more = row.evidence, len(row.evidence) - MARKDOWN.lines
    if more > 0:
        lines = (*evidence(row, MARKDOWN.lines - 1), f"and {counted(more + 1, 'more line')}")
    return markdown_lines(lines, MARKDOWN.line)


def _line(spans: elements.Inline) -> str:
    return "".join(map(_span, spans)).strip()


def _span(span: elements.Span) -> str:
    if span.style == "code":
        return markdown_code(span.text)
    if span.url:
        return spaced(span.text, markdown_link(span.text, span.url, MARKDOWN.name))
    escaped = markdown(span.text, MARKDOWN.text)
    return spaced(span.text, f"**{escaped}**" if span.style == "strong" and escaped else escaped)
