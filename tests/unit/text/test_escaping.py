"""Whatever text others write, it is shown as text: parsed back, it holds no link, no markup, no second cell."""

from __future__ import annotations

import io
import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from monitoring.messages import terminal
from monitoring.model.message import Message, Prose, Span
from monitoring.text import escaping as escape
from monitoring.text.limits import TERMINAL
from tests.support.samples import HOSTILE

GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])

#: Text in which what a format reads as its language is frequent.
NASTY = st.text() | st.lists(
    st.sampled_from(
        [
            *"\\`*_{}[]<>()#+-.!|~&$:=\"'@/ \t\n\r\0\x1b\x9b\u200b\u202e\u2066\ufeffa",
            *(
                "1.",
                "---",
                "![",
                "](",
                "```",
                "    ",
                "| - |",
                ":-",
                "===",
                "<b>",
                "<!--",
                "&amp;",
                "<!channel>",
                "<@U1>",
            ),
            *("https://evil.example", "www.evil.example", "me@evil.example"),
            *("\x1b[31m", "\x1b]8;;https://evil.example\x07"),
        ]
    ),
    max_size=12,
).map("".join)


def shown(text: str) -> str:
    """What a reader sees, without the joiners that keep addresses from becoming links."""
    return text.replace(escape.WORD_JOINER, "")


def inline(tokens: list[Token]) -> Token:
    (token,) = [token for token in tokens if token.type == "inline"]
    return token


@given(NASTY)
@example(HOSTILE)
@example("1. a")
@example("a\\")
@example("# a")
@example("-")
def test_markdown_in_a_line_is_one_paragraph_of_text(text: str) -> None:
    expected = escape.clean(text)
    tokens = GITHUB.parse(str(escape.markdown(text)))
    if not expected:
        assert tokens == []
        return
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    children = inline(tokens).children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    assert shown("".join(child.content for child in children)) == expected


@given(NASTY)
@example("a\\|b")
@example("\\")
def test_markdown_in_a_table_is_one_cell_of_text(text: str) -> None:
    expected = escape.clean(text)
    tokens = GITHUB.parse(f"| a | b |\n|---|---|\n| {escape.markdown(text)} | end |\n")
    cells = [
        "".join(child.content for child in token.children or [])
        for before, token in pairwise(tokens)
        if before.type == "td_open"
    ]
    assert [shown(cell) for cell in cells] == [expected, "end"]
    kinds = {child.type for token in tokens for child in token.children or []}
    assert kinds <= {"text", "text_special"}


@given(NASTY)
def test_markdown_holds_nothing_that_a_viewer_links_by_itself(text: str) -> None:
    escaped = str(escape.markdown(text))
    assert not re.search(r"://|www\.|@[\w-]", escaped, re.IGNORECASE)


@given(NASTY, NASTY)
@example("a](b", "https://x/(a)|<b> c\\")
def test_a_markdown_link_is_one_link_to_that_address(text: str, rest: str) -> None:
    url = f"https://prefect.example.com/{rest}"
    link = str(escape.markdown_link(text, url))
    cells = GITHUB.parse(f"| a |\n|---|\n| x{link}x |\n")
    children = [token for token in cells if token.type == "inline"][1].children or []
    opened = [child for child in children if child.type == "link_open"]
    if not escape.clean(text):
        assert opened == []
        return
    # Brackets are allowed in an address, and markdown-it encodes them.
    expected = str(escape.address(url)).replace("[", "%5B").replace("]", "%5D")
    assert [child.attrGet("href") for child in opened] == [expected]
    assert {child.type for child in children} <= {"text", "text_special", "link_open", "link_close"}


@pytest.mark.parametrize("url", [None, "", "javascript:alert(1)", "data:text/html,x", "//evil", "https://[bad"])
def test_only_addresses_of_the_web_are_linked(url: str | None) -> None:
    assert escape.address(url) is None
    assert escape.markdown_link("a", url) == "a"
    assert escape.slack_link("a", url) == "a"


@given(NASTY)
@example("<!channel> <@U123> <#C1|x> <https://evil.example|click>")
def test_slack_reads_no_mention_and_no_link(text: str) -> None:
    escaped = escape.slack(text)
    assert not set("<>") & set(escaped)
    assert not re.search(r"&(?!amp;|lt;|gt;)", escaped)


@given(NASTY)
def test_slack_finds_no_formatting_at_the_edge_of_a_word(text: str) -> None:
    assert not re.search(r"(?:^|\s)[*_~`]|[*_~`](?:\s|$)", escape.slack(text))


def test_slack_keeps_the_names_that_flows_usually_have() -> None:
    assert escape.slack("daily_report/eu-west (v2.1)") == "daily_report/eu-west (v2.1)"


@given(NASTY, NASTY)
def test_a_slack_link_is_one_link(text: str, rest: str) -> None:
    link = escape.slack_link(text, f"https://prefect.example.com/{rest}")
    if escape.clean(text):
        assert re.fullmatch(r"<https://[^<>|\s]+\|[^<>|]+>", link)
    else:
        assert link == ""


@given(NASTY)
def test_nothing_invisible_is_left(text: str) -> None:
    shown = escape.clean(text)
    assert shown == escape.clean(shown)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]", shown)
    shown.encode()


@given(NASTY)
def test_a_terminal_prints_it_as_it_is(text: str) -> None:
    stream = io.StringIO()
    message = Message(title="t", fallback="t", elements=(Prose(spans=(Span(text=text),)),))
    console = terminal.console(stream)
    console.width = 2 * TERMINAL.text
    terminal.show(console, message)
    assert [line.strip() for line in stream.getvalue().split("\n")] == ["t", escape.clean(text, TERMINAL.text), ""]


@given(NASTY, st.integers(1, 40))
def test_a_limit_holds(text: str, limit: int) -> None:
    short = escape.clean(text, limit)
    assert len(short) <= limit
    if short != escape.clean(text, 10_000):
        assert short.endswith("…")


def test_a_cut_is_made_at_the_end_of_a_word_where_that_loses_little() -> None:
    assert escape.clean("a" * 10 + " bc def", 12) == "aaaaaaaaaa…"
    assert escape.clean("a" * 50, 10) == "aaaaaaaaa…"


def test_megabytes_are_not_read() -> None:
    assert escape.clean(" " * 30_000 + "a") == "…"
