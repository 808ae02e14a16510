"""Every formatter shows every element of a message, and does nothing with text of others."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from markdown_it import MarkdownIt

from monitoring.messages import terminal
from monitoring.messages.markdown import markdown_page
from monitoring.messages.plain import plain
from monitoring.messages.slack_blocks import slack_message
from monitoring.messages.tables import cut
from monitoring.model.message import Column, Fact, Facts, Message, Prose, Row, Table, inline
from tests.support.message_samples import UI, everything
from tests.unit.messages.test_slack_blocks import rebuilt
from tests.unit.text.test_escaping import NASTY

GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def in_slack(message: Message) -> str:
    return html.unescape(json.dumps(slack_message(message, ("here",)).blocks, ensure_ascii=False))


def in_plain_text(message: Message) -> str:
    return "\n".join(plain(message))


def in_a_pipe(message: Message) -> str:
    stream = io.StringIO()
    terminal.show(terminal.console(stream), message)
    return stream.getvalue()


FORMATTERS: list[Callable[[Message], str]] = [in_slack, markdown_page, in_plain_text, in_a_pipe]


@pytest.mark.parametrize("formatted", FORMATTERS)
@pytest.mark.parametrize(
    "part",
    [
        "Heading etl/nightly",
        "plain, and",
        "critical",
        "crm/sync",
        "and 4 more symptoms",
        "and 7 more findings",
        "watchdog check --json",
        "watchdog incidents ack W-12",
        "Lead etl/nightly",
        "second",
        "and 3 more",
        "2 alerts",
        "█" * 30,
        "1 subject could not be judged",
        f"{UI}/1",
        f"{UI}/4",
        "Prefect server etl/nightly",
    ],
)
def test_every_element_is_shown(formatted: Callable[[Message], str], part: str) -> None:
    assert part in formatted(everything())


def test_pages_show_what_chats_leave_out() -> None:
    assert all("folded" in formatted(everything()) for formatted in (markdown_page, in_a_pipe))
    assert all("folded" not in formatted(everything()) for formatted in (in_slack, in_plain_text))
    assert "| seen |" in markdown_page(everything())
    assert "seen" not in in_slack(everything())


def test_people_are_mentioned_where_the_message_asks_for_it() -> None:
    quiet = everything().model_copy(update={"mentions": False})
    assert "<!here>" in in_slack(everything())
    assert "<!here>" not in in_slack(quiet)


def test_a_narrow_terminal_gets_lines_in_place_of_a_wide_table() -> None:
    stream = io.StringIO()
    console = terminal.console(stream)
    console.width = 50
    terminal.show(console, everything())
    assert re.search(r"^etl/nightly: etl/nightly *\n +critical, since 2026-03-10 *$", stream.getvalue(), re.MULTILINE)


def test_a_terminal_without_unicode_gets_bars_of_ascii() -> None:
    stream = io.StringIO()
    terminal.show(terminal.console(stream), everything(), ascii_only=True)
    assert "#" * 30 in stream.getvalue()
    assert "█" not in stream.getvalue()


@given(NASTY)
def test_slack_takes_the_message_and_finds_no_mention_and_no_link_of_others(text: str) -> None:
    message = slack_message(everything(text))
    assert rebuilt(message)["blocks"] == message.blocks
    for shown in (message.text, *re.findall(r'"text": "([^"]*)"', json.dumps(message.blocks[1:]))):
        assert not re.search(rf"<(?!{UI}/\d\|)", shown)


@given(NASTY)
def test_a_page_holds_no_link_no_image_and_no_markup_of_others(text: str) -> None:
    tokens = GITHUB.parse(markdown_page(everything(text)))
    children = [child for token in tokens for child in token.children or []]
    assert all(str(child.attrGet("href")).startswith(UI) for child in children if child.type == "link_open")
    assert not {child.type for child in children} & {"html_inline", "image", "em_open", "s_open"}
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", "h2", "h3"]


@given(NASTY)
def test_plain_text_and_terminals_get_no_control_characters(text: str) -> None:
    shown = in_plain_text(everything(text)) + in_a_pipe(everything(text))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


# --- what does not fit ------------------------------------------------------------------------------


def rows(number: int, nested: int = 0, width: int = 10) -> Table:
    below = [Row(cells=(inline(f"below {n}"),), nested=True) for n in range(nested)]
    shown = [row for n in range(number) for row in (Row(cells=(inline(f"row {n} {'x' * width}"),)), *below)]
    return Table(columns=(Column(label="Subject", role="title"),), rows=tuple(shown), unit="finding")


def test_a_cut_table_counts_rows_and_nested_rows_apart() -> None:
    table = cut(rows(5, nested=3), rows=6, nested=2)
    names = [row.cells[0][0].text.split(" x")[0] for row in table.rows]
    assert names == ["row 0", "below 0", "below 1", "row 1", "below 0", "below 1"]
    assert (table.more, table.rows[0].more_nested) == (3, 1)
    again = cut(table, rows=1, nested=1)
    assert (again.more, again.rows[0].more_nested) == (4, 2)


@pytest.mark.parametrize("tables", [1, 3, 8])
def test_slack_counts_what_does_not_fit(tables: int) -> None:
    message = Message(title="t", fallback="t", elements=tuple(rows(15, width=240) for _ in range(tables)))
    blocks = slack_message(message).blocks
    text = json.dumps(blocks)
    assert len(blocks) <= 50
    assert len(json.dumps(blocks, ensure_ascii=False).encode("utf-16-le")) / 2 < 12_000
    shown = text.count("row ")
    left_out = sum(int(number) for number in re.findall(r"and (\d+) more findings?", text))
    assert shown + left_out == 15 * tables


def test_slack_counts_parts_that_do_not_fit() -> None:
    many = tuple(Facts(facts=(Fact(label="Fact", value=inline("x" * 200)),)) for _ in range(80))
    message = Message(title="t", fallback="t", elements=(*many, Prose(spans=inline("the end"), muted=True)))
    blocks = slack_message(message).blocks
    assert len(blocks) == 50
    assert blocks[-1]["elements"][0]["text"] == "the end"
    assert blocks[-2]["elements"][0]["text"] == "and 33 more parts of this message"
