"""How much text each kind of receiver accepts, and how much people read there."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """How much of a message a formatter shows; the rest is only counted."""

    #: Characters of the title.
    title: int
    #: Characters of a link's text or a stressed name.
    name: int
    #: Characters of any other piece of text.
    text: int
    #: Rows of a table including nested rows, and nested rows of a row.
    rows: int
    nested: int
    #: Rows of a table whose evidence is shown, lines of evidence per row, and characters of a line.
    evidence: int
    lines: int
    line: int


SLACK = Limits(title=150, name=100, text=250, rows=15, nested=3, evidence=15, lines=2, line=200)
MARKDOWN = Limits(title=300, name=120, text=300, rows=50, nested=10, evidence=10, lines=10, line=200)
PLAIN = Limits(title=150, name=100, text=300, rows=15, nested=3, evidence=15, lines=2, line=200)
TERMINAL = Limits(title=300, name=120, text=500, rows=200, nested=200, evidence=20, lines=10, line=300)

#: https://docs.slack.dev/reference/block-kit/blocks: blocks of a message, and characters of a section.
SLACK_BLOCKS = 50
SLACK_SECTION = 3_000
#: Slack returns ``msg_blocks_too_long`` near 12,000 characters in all blocks, as JSON.
SLACK_MESSAGE = 11_800
#: Characters of an address in a link (a longer address is not linked), and of a block of code.
SLACK_URL = 400
SLACK_CODE = 1_500
#: Characters of the text that notifications show.
SLACK_FALLBACK = 400
#: Columns in a pipe, whose width is unknown: enough for an address on one line.
PIPE_WIDTH = 160
