"""A message for a terminal, and for a pipe: the same words, without colours and at a stable width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.style import Style
from rich.table import Table as Grid
from rich.text import Text

from monitoring.messages.tables import cut, drawn, families, joined, line, nested_rest, rest
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

#: Columns whose cells are all so short, such as timestamps, are not broken.
_UNBROKEN = 20
#: Columns of a terminal below which a table that does not fit is shown as lines.
_NARROW = 120
_WIDEST = 1_000


def console(stream: TextIO) -> Console:
    """Make the console that messages are meant for: a pipe gets no colours, and always the same width."""
    wide = None if stream.isatty() else PIPE_WIDTH
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
    grid = _grid(table)
    width = Measurement.get(console, console.options.update(max_width=_WIDEST), grid).maximum
    if width > console.width and console.width < _NARROW:
        yield from _lines(table)
    else:
        yield grid


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


def _grid(table: elements.Table) -> Grid:
    shown = [
        number
        for number, column in enumerate(table.columns)
        if column.role != "detail" and any(row.cells[number] for row in table.rows)
    ]
    grid = Grid(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number in shown:
        whole = max(len(_line(row.cells[number])) for row in table.rows) <= _UNBROKEN
        grid.add_column(Text(clean(table.columns[number].label)), overflow="fold", no_wrap=whole)
    for row, below in families(table.rows):
        grid.add_row(*_cells(row, shown))
        for nested in below:
            grid.add_row(*_cells(nested, shown))
        if row.more_nested:
            grid.add_row(Text(f"  {clean(nested_rest(row, table))}", style="dim"))
    return grid


def _cells(row: elements.Row, shown: list[int]) -> Iterator[Text]:
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
        yield from map(_code, row.evidence[: TERMINAL.lines])
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
