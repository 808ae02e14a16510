"""What formatters share: tables cut, with the rest counted, or as lines; plots as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from monitoring.failures.tracebacks import shortened
from monitoring.messages.words import counted
from monitoring.model.message import Column, Inline, Plot, Row, Span, Table, inline
from monitoring.model.message import row as row_of

#: Characters of the longest bar of a plot.
_BAR = 30


T = TypeVar("T")
#: The columns of a table, each with the function that makes its cell.
Columns = Sequence[tuple[Column, Callable[[T], str | Inline]]]


def table_of(items: Iterable[T], columns: Columns[T], unit: str, elsewhere: Inline = ()) -> Table:
    """Make a table with a row for each item."""
    return Table(
        columns=tuple(column for column, _ in columns),
        rows=tuple(row_of(*(cell(item) for _, cell in columns)) for item in items),
        unit=unit,
        elsewhere=elsewhere,
    )


class Line(NamedTuple):
    """A row without a table: ``title: text``, and its facts."""

    title: Inline
    text: Inline
    facts: tuple[Inline, ...]

    @property
    def text_after_title(self) -> Inline:
        """The text with a colon before it; empty without a text."""
        return inline(": ", *self.text) if self.text else ()


def cut(table: Table, rows: int, nested: int) -> Table:
    """Leave out rows beyond the limits, and count them; the most important rows come first.

    A row is left out with all rows that are nested in it; ``rows`` limits all of them together.
    """
    shown: list[Row] = []
    left_out = 0
    for row, below in families(table.rows):
        if len(shown) >= rows:
            left_out += 1
            continue
        kept = below[:nested]
        shown.append(row.model_copy(update={"more_nested": row.more_nested + len(below) - len(kept)}))
        shown += kept
    return table.model_copy(update={"rows": tuple(shown), "more": table.more + left_out})


def families(rows: Sequence[Row]) -> Iterator[tuple[Row, tuple[Row, ...]]]:
    """Each row that is not nested, with those that are nested in it."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or not rows[end].nested:
            yield rows[start], tuple(rows[start + 1 : end])
            start = end


def rest(table: Table) -> Inline:
    """How many rows are left out, and where they are; empty if all are shown."""
    if not table.more:
        return ()
    more = f"and {counted(table.more, f'more {table.unit}')}"
    return inline(more, ": " if table.elsewhere else "", *table.elsewhere)


def nested_rest(row: Row, table: Table) -> str:
    """How many nested rows are left out; empty if all are shown."""
    return f"and {counted(row.more_nested, f'more {table.nested_unit}')}" if row.more_nested else ""


def line(row: Row, columns: Sequence[Column]) -> Line:
    """Turn a row into a line."""
    cells = [(column, cell) for column, cell in zip(columns, row.cells, strict=True) if cell]
    return Line(
        title=joined([cell for column, cell in cells if column.role == "title"], " "),
        text=joined([cell for column, cell in cells if column.role == "text"], ", "),
        facts=tuple((*inline(_lead(column)), *cell) for column, cell in cells if column.role == "fact"),
    )


def evidence(row: Row, most: int) -> tuple[str, ...]:
    """The lines that matter most of what a row rests on."""
    return shortened(row.evidence, most) if row.ends else row.evidence[:most]


def joined(cells: Sequence[Inline], between: str) -> Inline:
    """Put several pieces of a line one behind the other."""
    spans: list[Span] = []
    for cell in cells:
        spans += [Span(text=between)] if spans else []
        spans += cell
    return tuple(spans)


def drawn(plot: Plot, block: str = "█", rest_of_line: str = "░") -> Iterator[str]:
    """Draw a line for each bar, for receivers without pictures; a value above zero is never nothing.

    The rest of a line is no space, so that bars stay aligned where spaces are joined.
    """
    most = max((bar.value for bar in plot.bars), default=0)
    width = max((len(bar.label) for bar in plot.bars), default=0)
    for bar in plot.bars:
        length = max(1, round(_BAR * bar.value / most)) if bar.value > 0 else 0
        yield f"{bar.label:>{width}} {block * length}{rest_of_line * (_BAR - length)} {bar.text}"


def _lead(column: Column) -> str:
    return f"{column.label.lower()}: " if column.lead is None else column.lead
