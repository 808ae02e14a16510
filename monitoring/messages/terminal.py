"""A message for a terminal, and for a pipe: the same words, without colours and at a stable width."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table as Grid
from rich.text import Text

from monitoring.messages.tables import cut, drawn, evidence, families, joined, line, nested_rest, rest
from monitoring.messages.words import counted
from monitoring.model import message as elements
from monitoring.text.escaping import address, clean, indented, spaced
from monitoring.text.limits import PIPE_WIDTH, TERMINAL

_COLOURS: dict[elements.Level, str] = {
    "critical": "bold red",
    "warning": "yellow",
    "unknown": "bold magenta",
    "ok": "green",
    "resolved": "green",
    "info": "dim",
}

#: A column of a table is no narrower than this unless all its cells are, and breaks no word of up to this length.
_READABLE = 20
_WORD = 60
#: Characters between two columns.
_GAP = 2


def console(stream: TextIO) -> Console:
    """Make the console for messages: a pipe gets no colours, and always the same width unless COLUMNS is set."""
    given = os.environ.get("COLUMNS", "")
    wide = None if stream.isatty() else int(given) if given.isdecimal() and int(given) else PIPE_WIDTH
    return Console(file=stream, width=wide, highlight=False, markup=False, emoji=False)


def show(console: Console, message: elements.Message, *, ascii_only: bool = False) -> None:
    """Print a message. Text is wrapped at words; addresses and commands stay whole, also beyond the console's width."""
    parts: list[RenderableType] = []
    if message.title:
        parts.append(Text(clean(message.title, TERMINAL.title), style=_style(message.level) or "bold"))
    before = False
    for element in message.elements:
        small = isinstance(element, elements.Links) or (isinstance(element, elements.Prose) and element.muted)
        if parts and (isinstance(element, elements.Heading | elements.Details) or (small and not before)):
            parts.append(Text())
        parts += _rendered(element, console, ascii_only)
        before = small
    console.print(Group(*parts), crop=False)


def _rendered(element: elements.Element, console: Console, ascii_only: bool) -> Iterator[RenderableType]:
    match element:
        case elements.Heading():
            yield Text(clean(element.text, TERMINAL.title), style=_style(element.level) or "bold")
            if element.note:
                yield Text(clean(element.note))
        case elements.Prose():
            yield _line(element.spans, "dim" if element.muted else _style(element.level))
        case elements.Facts():
            yield from _facts(element)
        case elements.List():
            if element.lead:
                yield Text(clean(element.lead))
            yield from (_whole(Text("  • ").append_text(_line(item)), item) for item in element.items)
            if element.more:
                yield Text(f"  and {element.more:,} more")
        case elements.Table():
            table = cut(element, TERMINAL.rows, TERMINAL.nested)
            yield from _table(table, console)
            yield from _below(table)
        case elements.Links():
            yield from (_page(span.text, span.url) for span in element.links if address(span.url))
        case elements.Code():
            yield from map(_code, element.lines)
        case elements.Details():
            yield Text(clean(element.summary), style="bold")
            yield from (part for inner in element.elements for part in _rendered(inner, console, ascii_only))
        case elements.Plot():
            yield from map(_code, drawn(element, *("#." if ascii_only else "█░")))


def _facts(facts: elements.Facts) -> Iterator[RenderableType]:
    width = max((len(clean(fact.label)) for fact in facts.facts), default=0) + 2
    for fact in facts.facts:
        label = Text.assemble((clean(fact.label).ljust(width), "bold"))
        if _is_whole(fact.value):
            yield _whole(label.append_text(_line(fact.value)), fact.value)
        else:
            grid = Grid.grid()
            grid.add_column(width=width)
            grid.add_column(overflow="fold")
            grid.add_row(label, _line(fact.value))
            yield grid


def _is_whole(spans: elements.Inline) -> bool:
    """Whether a line has an address or a command, which people copy."""
    return any(span.style == "code" or (address(span.text) and " " not in span.text) for span in spans)


def _whole(text: Text, spans: elements.Inline) -> Text:
    if _is_whole(spans):
        text.no_wrap, text.overflow = True, "ignore"
    return text


def _table(table: elements.Table, console: Console) -> Iterator[RenderableType]:
    """The rows as a table; as lines where the columns would be too narrow to read."""
    grid = _grid(table, console.width)
    yield from _lines(table) if grid is None else [grid]


def _lines(table: elements.Table) -> Iterator[RenderableType]:
    for row, below in families(table.rows):
        shown = line(row, table.columns)
        yield _line(shown.title, _style(row.level)).append_text(_line(shown.text_after_title))
        if shown.facts:
            yield _indented(_line(joined(shown.facts, ", ")))
        for nested in below:
            other = line(nested, table.columns)
            name = _line((*other.title, *other.text_after_title))
            yield _indented(Text(f"{table.nested_unit}: ", style="dim").append_text(name))
        if row.more_nested:
            yield _indented(Text(clean(nested_rest(row, table)), style="dim"))


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 4))


def _grid(table: elements.Table, width: int) -> Grid | None:
    """The table; None if it cannot be read at that width."""
    shown = [
        number
        for number, column in enumerate(table.columns)
        if column.role != "detail" and any(row.cells[number] for row in table.rows)
    ]
    labels = [Text(clean(table.columns[number].label)) for number in shown]
    rows = list(_rows(table, shown))
    widths = _widths([[label, *cells] for label, cells in zip(labels, zip(*rows, strict=True), strict=True)], width)
    if widths is None:
        return None
    grid = Grid(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for label, wide in zip(labels, widths, strict=True):
        grid.add_column(label, overflow="fold", width=wide)
    for cells in rows:
        grid.add_row(*cells)
    return grid


def _widths(columns: Sequence[Sequence[Text]], width: int) -> list[int] | None:
    """The width of each column, none of them too narrow to read; None if that needs more than the width."""
    wanted = [max(cell.cell_len for cell in cells) for cells in columns]
    words = [max(map(cell_len, " ".join(cell.plain for cell in cells).split()), default=0) for cells in columns]
    widths = [min(most, max(min(word, _WORD), _READABLE)) for most, word in zip(wanted, words, strict=True)]
    spare = width - sum(widths) - _GAP * (len(widths) - 1)
    if spare < 0:
        return None
    # Those that need least more get it first, so that what they leave goes to the others.
    rest = sorted(range(len(widths)), key=lambda number: wanted[number] - widths[number])
    for left, number in zip(range(len(rest), 0, -1), rest, strict=True):
        more = min(wanted[number] - widths[number], spare // left)
        widths[number] += more
        spare -= more
    return widths


def _rows(table: elements.Table, shown: Sequence[int]) -> Iterator[list[Text]]:
    for row, below in families(table.rows):
        yield list(_cells(row, shown))
        for nested in below:
            yield list(_cells(nested, shown))
        if row.more_nested:
            rest_of_row = Text(f"  {clean(nested_rest(row, table))}", style="dim")
            yield [rest_of_row, *(Text() for _ in shown[1:])]


def _cells(row: elements.Row, shown: Sequence[int]) -> Iterator[Text]:
    first, *others = (row.cells[number] for number in shown)
    if row.nested:
        yield Text("  ").append_text(_line(first, "dim"))
    else:
        yield _line(first, _style(row.level))
    yield from map(_line, others)


def _below(table: elements.Table) -> Iterator[RenderableType]:
    """The addresses in full, each once: in a pipe, and on many terminals, linked names are bare text."""
    if table.more:
        yield _line(rest(table))
    titles = (line(row, table.columns).title for row in table.rows)
    pages = {span.url: span.text for title in titles for span in title if span.url}
    yield from (_page(name, url) for url, name in pages.items() if address(url))
    rows = [row for row in table.rows if row.evidence]
    for row in rows[: TERMINAL.evidence]:
        yield Text("Why ").append_text(_line(line(row, table.columns).title)).append(":")
        yield from map(_code, evidence(row, TERMINAL.lines))
        if (more := len(row.evidence) - TERMINAL.lines) > 0:
            yield Text(f"    and {counted(more, 'more line')}: see --json")
    if (more := len(rows) - TERMINAL.evidence) > 0:
        yield Text(f"and evidence of {counted(more, f'more {table.unit}')}: see --json")


def _page(name: str, url: str | None) -> Text:
    return Text(f"  {clean(name, TERMINAL.name)}: {address(url)}", no_wrap=True, overflow="ignore")


def _code(text: str) -> Text:
    return Text(f"    {indented(text, TERMINAL.line)}", overflow="fold")


def _line(spans: elements.Inline, style: str = "") -> Text:
    return Text(style=style).append_text(Text.assemble(*map(_span, spans)))


def _span(span: elements.Span) -> Text:
    target = address(span.url)
    most = TERMINAL.name if target else TERMINAL.text
    style = Style(link=target, bold=span.style == "strong" or None)
    return Text(spaced(span.text, clean(span.text, most)), style=style)


def _style(level: elements.Level | None) -> str:
    return _COLOURS[level] if level else ""
