"""What is sent or printed, neutral: built once, and shown by one pure formatter for each kind of receiver.

Texts are plain here, as they came from runs. A formatter escapes them, bounds them, and counts what it leaves out. A
message is a value that can be saved as JSON and formatted by a later process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from monitoring.model.base import Value

#: How serious something is; formatters turn it into a sign, a colour or nothing.
Level = Literal["ok", "info", "warning", "critical", "unknown", "resolved"]


class Span(Value):
    """A piece of a line: plain, strong or code, and a link where it has an address."""

    text: str
    style: Literal["plain", "strong", "code"] = "plain"
    url: str | None = None


Inline = tuple[Span, ...]


class Heading(Value):
    """The title of what follows."""

    kind: Literal["heading"] = "heading"
    text: str
    #: A sentence about what follows, which a chat leaves out.
    note: str = ""
    level: Level | None = None


class Prose(Value):
    """A paragraph."""

    kind: Literal["prose"] = "prose"
    spans: Inline
    #: Small print: where from, as of when.
    muted: bool = False
    level: Level | None = None


class Fact(Value):
    """A value and its label."""

    label: str
    value: Inline


class Facts(Value):
    """Labels and values, one below the other."""

    kind: Literal["facts"] = "facts"
    facts: tuple[Fact, ...]


class Column(Value):
    """A column of a table, and its part in a line where a receiver cannot draw tables.

    Such a line is ``title: text``, and below it the facts. Details are left to receivers with room for wide tables.
    """

    label: str
    role: Literal["title", "text", "fact", "detail"] = "fact"
    #: What precedes a fact in a line; the label and a colon where it is None.
    lead: str | None = None


class Row(Value):
    """One row, with a cell for each column; an empty cell says nothing."""

    cells: tuple[Inline, ...]
    level: Level | None = None
    #: It belongs to the nearest row above that is not nested, as a symptom does to its cause.
    nested: bool = False
    #: Nested rows of this row that are not in the message.
    more_nested: int = 0
    #: Lines that the row rests on: a traceback, the holders of slots.
    evidence: tuple[str, ...] = ()
    #: Whether the evidence ends in what matters most: it is the end of a traceback or a log.
    ends: bool = False


class Table(Value):
    """Rows of one kind, in the order of their importance."""

    kind: Literal["table"] = "table"
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    #: Rows that are not in the message, nested ones apart.
    more: int = 0
    #: What a row is called, and a nested row.
    unit: str = "row"
    nested_unit: str = "row"
    #: Where to find what is left out: ``see the artifact watchdog-health``.
    elsewhere: Inline = ()


class List(Value):
    """Short lines under a lead."""

    kind: Literal["list"] = "list"
    lead: str = ""
    items: tuple[Inline, ...]
    more: int = 0


class Links(Value):
    """Pages to open; each span has an address."""

    kind: Literal["links"] = "links"
    links: Inline


class Code(Value):
    """Lines that are shown as they are, indented as they were."""

    kind: Literal["code"] = "code"
    lines: tuple[str, ...]


class Bar(Value):
    """One bar of a plot."""

    label: str
    value: float
    #: What stands behind the bar: the value with its unit.
    text: str


class Plot(Value):
    """Bars as data, each drawn in proportion to the longest."""

    kind: Literal["plot"] = "plot"
    bars: tuple[Bar, ...]


class Details(Value):
    """Elements that a page folds below their summary, and a chat leaves out."""

    kind: Literal["details"] = "details"
    summary: str
    elements: tuple[Element, ...]


Element = Annotated[
    Heading | Prose | Facts | Table | List | Links | Code | Plot | Details,
    Field(discriminator="kind"),
]


class Message(Value):
    """All that is said at once."""

    #: One line that is understood alone.
    title: str
    level: Level | None = None
    #: The line for notifications and screen readers; it says more than the title, and holds no markup.
    fallback: str
    elements: tuple[Element, ...] = ()
    #: Whether the title is set large.
    prominent: bool = True
    #: Whether the receiver mentions people, if any are configured.
    mentions: bool = False


def inline(*parts: str | Span) -> Inline:
    """Make a line of spans; strings are plain ones, and empty ones are left out."""
    spans = (Span(text=part) if isinstance(part, str) else part for part in parts)
    return tuple(span for span in spans if span.text)


def row(*cells: str | Inline, level: Level | None = None, nested: bool = False, evidence: tuple[str, ...] = ()) -> Row:
    """Make a row of cells; a string is a cell of plain text."""
    shown = tuple(inline(cell) if isinstance(cell, str) else cell for cell in cells)
    return Row(cells=shown, level=level, nested=nested, evidence=evidence)


def facts(pairs: Iterable[tuple[str, str | None]]) -> Facts:
    """Make facts of labels and plain values; those without a value are left out."""
    return Facts(facts=tuple(Fact(label=label, value=inline(value)) for label, value in pairs if value))


def link(text: str, url: str | None) -> Span:
    """Link text to an address; plain where there is none."""
    return Span(text=text, url=url)


def strong(text: str) -> Span:
    """Stress text."""
    return Span(text=text, style="strong")


def code(text: str) -> Span:
    """Mark text as code: a command, a tag."""
    return Span(text=text, style="code")
