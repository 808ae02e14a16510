"""A message for a terminal, and for a pipe: the same words, without colours and at a stable width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.style import Style
from rich.table import Table as Grid
from rich.text import Text

from monitoring.messages.plots import drawn
from monitoring.messages.tables import cut, families, joined, line, nested_rest, rest
from monitoring.messages.words import counted
from monitoring.model.message import (
    Code,
    Details,
    Element,
    Facts,
    Heading,
    Inline,
    Level,
    Links,
    List,
    Message,
    Plot,
    Prose,
    Row,
    Span,
    Table,
    inline,
)
from monitoring.text.escaping import address, indented, spaced, terminal
from monitoring.text.limits import PIPE_WIDTH, TERMINAL

_COLOURS: dict[Level, str] = {
    "critical": "bold red",
    "warning": "yellow",
    "unknown": "bold magenta",
    "ok": "green",
    "resolved": "green",
    "info": "dim",
}

#: Columns whose cells are all so short, such as timestamps, are not broken.
_UNBROKEN = 20
#: Columns of a terminal below which a table that does not fit is shown as lines.
_NARROW = 120
_WIDEST = 1_000


def console(stream: TextIO) -> Console:
    """Make the console that messages are meant for: a pipe gets no colours, and always the same width."""
    wide = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=wide, highlight=False, markup=False, emoji=False)


def rendered(message: Message, *, ascii_only: bool = False) -> RenderableType:
    """Format a message.

    Args:
        message: Any.
        ascii_only: Whether the terminal can draw nothing else.
    """
    title = Text(terminal(message.title, TERMINAL.title), style=_style(message.level) or "bold")
    parts: list[RenderableType] = [title] if message.title else []
    small = False
    for element in message.elements:
        was_small, small = small, isinstance(element, Links) or (isinstance(element, Prose) and element.muted)
        if parts and (isinstance(element, Heading | Details) or (small and not was_small)):
            parts.append(Text())
        parts += _rendered(element, ascii_only)
    return Group(*parts)


def _rendered(element: Element, ascii_only: bool) -> Iterator[RenderableType]:
    match element:
        case Heading():
            yield Text(terminal(element.text, TERMINAL.title), style=_style(element.level) or "bold")
            if element.note:
                yield Text(terminal(element.note))
        case Prose():
            yield _line(element.spans, "dim" if element.muted else _style(element.level))
        case Facts():
            yield _facts(element)
        case List():
            if element.lead:
                yield Text(terminal(element.lead))
            yield from (Text("  • ").append_text(_line(item)) for item in element.items)
            if element.more:
                yield Text(f"  and {element.more:,} more")
        case Table():
            table = cut(element, TERMINAL.rows, TERMINAL.nested)
            yield _Table(table)
            yield from _below(table)
        case Links():
            yield from (_page(span.text, span.url) for span in element.links if address(span.url))
        case Code():
            yield from map(_code, element.lines)
        case Details():
            yield Text(terminal(element.summary), style="bold")
            yield from (part for inner in element.elements for part in _rendered(inner, ascii_only))
        case Plot():
            yield from map(_code, drawn(element, *("#." if ascii_only else "█░")))


def _facts(facts: Facts) -> Grid:
    grid = Grid(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for fact in facts.facts:
        grid.add_row(Text(terminal(fact.label), style="bold"), _line(fact.value))
    return grid


class _Table:
    """The rows as a table; as lines where the columns would be too narrow to read."""

    def __init__(self, table: Table) -> None:
        self._table = table
        #: The columns that say something.
        self._shown = [
            number
            for number, column in enumerate(table.columns)
            if column.role != "detail" and any(row.cells[number] for row in table.rows)
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = _grid(self._table, self._shown)
        wide = Measurement.get(console, options.update(max_width=_WIDEST), grid).maximum
        if wide > options.max_width and options.max_width < _NARROW:
            yield from _lines(self._table)
        else:
            yield grid


def _lines(table: Table) -> Iterator[RenderableType]:
    for row, below in families(table.rows):
        shown = line(row, table.columns)
        yield _line(shown.title, _style(row.level)).append_text(
            _line((*inline(": " if shown.text else ""), *shown.text))
        )
        if shown.facts:
            yield _indented(_line(joined(shown.facts, ", ")))
        for nested in below:
            other = line(nested, table.columns)
            name = _line((*other.title, *inline(": " if other.text else ""), *other.text))
            yield _indented(Text(f"{table.nested_unit}: ", style="dim").append_text(name))
        if row.more_nested:
            yield _indented(Text(terminal(nested_rest(row, table)), style="dim"))


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 4))


def _grid(table: Table, shown: list[int]) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number in shown:
        whole = max(len(_line(row.cells[number])) for row in table.rows) <= _UNBROKEN
        grid.add_column(Text(terminal(table.columns[number].label)), overflow="fold", no_wrap=whole)
    for row, below in families(table.rows):
        grid.add_row(*_cells(row, shown))
        for nested in below:
            grid.add_row(*_cells(nested, shown))
        if row.more_nested:
            grid.add_row(Text(f"  {terminal(nested_rest(row, table))}", style="dim"))
    return grid


def _cells(row: Row, shown: list[int]) -> Iterator[Text]:
    for place, number in enumerate(shown):
        text = _line(row.cells[number], ("dim" if row.nested else _style(row.level)) if place == 0 else "")
        yield Text("  ").append_text(text) if row.nested and place == 0 else text


def _below(table: Table) -> Iterator[RenderableType]:
    """The addresses in full, each once: in a pipe, and on many terminals, linked names are bare text."""
    if table.more:
        yield _line(rest(table))
    titles = (line(row, table.columns).title for row in table.rows)
    pages = {span.url: span.text for title in titles for span in title if span.url}
    yield from (_page(name, url) for url, name in pages.items() if address(url))
    rows = [row for row in table.rows if row.evidence]
    for row in rows[: TERMINAL.evidence]:
        yield Text("Why ").append_text(_line(line(row, table.columns).title)).append(":")
        yield from map(_code, row.evidence[: TERMINAL.lines])
        if (more := len(row.evidence) - TERMINAL.lines) > 0:
            yield Text(f"    and {counted(more, 'more line')}: see --json")
    if (more := len(rows) - TERMINAL.evidence) > 0:
        yield Text(f"and evidence of {counted(more, f'more {table.unit}')}: see --json")


def _page(name: str, url: str | None) -> Text:
    return Text(f"  {terminal(name, TERMINAL.name)}: {address(url)}", overflow="fold")


def _code(text: str) -> Text:
    return Text(f"    {indented(text, TERMINAL.line)}", overflow="fold")


def _line(spans: Inline, style: str = "") -> Text:
    return Text(style=style).append_text(Text.assemble(*map(_span, spans)))


def _span(span: Span) -> Text:
    target = address(span.url)
    most = TERMINAL.name if target else TERMINAL.text
    style = Style(link=target, bold=span.style == "strong" or None)
    return Text(spaced(span.text, terminal(span.text, most)), style=style)


def _style(level: Level | None) -> str:
    return _COLOURS[level] if level else ""
