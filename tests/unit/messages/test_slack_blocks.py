"""The digest in Slack: it says what matters within Slack's limits, and notifies nobody by accident."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest
from slackblocks import ContextBlock, HeaderBlock, SectionBlock, Text, TextType
from slackblocks import Message as Built

from monitoring.messages.delivery_message import bounded
from monitoring.messages.report_messages import digest_message
from monitoring.messages.slack_blocks import SlackMessage, slack_message
from monitoring.model.message import Column, Message, Row, Table, inline, link
from monitoring.model.report import DigestReport
from monitoring.text.escaping import slack_size
from tests.support import samples

DIGESTS = [
    samples.digest(samples.healthy()),
    samples.digest(samples.bad()),
    samples.digest(samples.incomplete()),
    samples.unknown_digest(samples.unreachable()),
    samples.digest(samples.crowd(600)).model_copy(
        update={"resolved": samples.digest(samples.healthy()).resolved * 500}
    ),
]


def digest_in_slack(report: DigestReport) -> SlackMessage:
    return slack_message(digest_message(report))


@cache
def in_slack(number: int) -> SlackMessage:
    """One of the digests; the largest takes a second to make."""
    return digest_in_slack(DIGESTS[number])


ALL_OF_THEM = pytest.mark.parametrize("number", range(len(DIGESTS)))


def rebuilt(message: SlackMessage) -> dict[str, Any]:
    """Build the message with slackblocks, which refuses what is beyond Slack's limits."""

    def text(value: dict[str, Any]) -> Text:
        return Text(value["text"], type_=TextType.MARKDOWN, verbatim=True)

    blocks: list[Any] = []
    for block in message.blocks:
        if block["type"] == "header":
            blocks.append(HeaderBlock(Text(block["text"]["text"], type_=TextType.PLAINTEXT, emoji=True)))
        elif block["type"] == "context":
            blocks.append(ContextBlock([text(element) for element in block["elements"]]))
        elif "fields" in block:
            blocks.append(SectionBlock(fields=[text(field) for field in block["fields"]]))
        else:
            blocks.append(SectionBlock(text=text(block["text"])))
    built: dict[str, Any] = json.loads(Built(channel="#ops", text=message.text, blocks=blocks).json())
    for block in built["blocks"]:
        block.pop("block_id", None)
    return built


@ALL_OF_THEM
def test_slackblocks_builds_the_same_message(number: int) -> None:
    message = in_slack(number)
    built = rebuilt(message)
    assert built["blocks"] == message.blocks
    assert built["text"] == message.text


@ALL_OF_THEM
def test_the_message_as_a_whole_stays_within_the_limits(number: int) -> None:
    message = in_slack(number)
    assert len(message.blocks) <= 50
    # Slack counts more than the texts; so does this.
    assert len(json.dumps(message.blocks, ensure_ascii=False).encode("utf-16-le")) / 2 < 12_000


@ALL_OF_THEM
def test_nobody_is_notified(number: int) -> None:
    text = json.dumps(in_slack(number))
    assert "<!" not in text
    assert "<@" not in text
    assert "<#" not in text


def test_what_does_not_fit_is_counted() -> None:
    text = json.dumps(in_slack(len(DIGESTS) - 1).blocks)
    assert re.search(r"and [\d,]+ more findings: see `watchdog check --json`", text)
    assert "*What fails (" in text


def test_all_names_of_a_small_report_are_in_it() -> None:
    text = json.dumps(digest_in_slack(samples.digest(samples.bad())).blocks)
    for name in ("etl/nightly", "reports/daily", "reports/hourly", "crm/sync", "ml/train", "web/scrape"):
        assert name in text


def test_a_green_day_is_told_with_its_figures() -> None:
    message = digest_in_slack(samples.digest(samples.healthy()))
    assert message.text.startswith("🟢 prod on 2026-03-10: OK. Nothing is wrong. Yesterday: 97.2 %")


def test_an_unknown_day_is_not_called_a_bad_one() -> None:
    message = digest_in_slack(samples.unknown_digest(samples.incomplete()))
    assert "Yesterday: unknown." in message.text
    assert "0 %" not in json.dumps(message.blocks)


@pytest.mark.parametrize("name", ["n" * 250, "&" * 250, "<" * 250])
@pytest.mark.parametrize("address", ["https://prefect.example.com", f"https://prefect.example.com/{'a' * 300}"])
def test_a_row_with_long_names_and_addresses_fits_in_a_section(name: str, address: str) -> None:
    cells = (inline(link(name, address)), inline(name), *[inline(link(name, address))] * 6)
    columns = (Column(label="Subject", role="title"), Column(label="What", role="text"), *[Column(label="Fact")] * 6)
    row = Row(cells=cells, level="critical", evidence=(name, name))
    nested = row.model_copy(update={"nested": True, "evidence": ()})
    table = Table(columns=columns, rows=(row, nested, nested, nested, nested), nested_unit="symptom")
    sections = [
        block["text"]["text"]
        for block in slack_message(Message(title="T", fallback="t", elements=(table,))).blocks
        if block["type"] == "section"
    ]
    assert max(map(slack_size, sections)) <= 3_000
    assert any("symptoms" in text and "more" in text for text in sections)


def test_a_saved_digest_keeps_as_many_problems_with_symptoms_as_slack_shows() -> None:
    columns = (Column(label="Subject", role="title"),)
    rows = [Row(cells=(inline(f"cause-{number}"),)) for number in range(20)]
    nested = Row(cells=(inline("symptom"),), nested=True)
    table = Table(columns=columns, rows=tuple(row for head in rows for row in (head, *[nested] * 4)))
    message = Message(title="T", fallback="t", elements=(table,))
    assert slack_message(bounded(message)).blocks == slack_message(message).blocks
