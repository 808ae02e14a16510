"""A message outlives the process that built it."""

from __future__ import annotations

from monitoring.model.message import (
    Bar,
    Code,
    Column,
    Fact,
    Facts,
    Heading,
    Links,
    List,
    Message,
    Plot,
    Prose,
    Row,
    Table,
    code,
    inline,
    link,
    strong,
)

EVERYTHING = Message(
    title="prod on 2026-03-10",
    level="critical",
    fallback="prod on 2026-03-10: 1 critical problem.",
    elements=(
        Heading(text="What fails (1)"),
        Prose(spans=inline(strong("1 critical problem."), " Read ", link("the log", "https://prefect.example.com"))),
        Facts(facts=(Fact(label="Acknowledge", value=inline(code("watchdog incidents ack W-12"))),)),
        Table(
            columns=(Column(label="Subject", role="title"), Column(label="Since", lead="since ")),
            rows=(Row(cells=(inline("etl/nightly"), ()), level="critical", evidence=("ValueError: no rows",)),),
            more=2,
        ),
        List(items=(inline("one"),), more=1),
        Links(links=(link("run", "https://prefect.example.com/runs"),)),
        Code(lines=("  indented",)),
        Plot(bars=(Bar(label="Monday", value=3, text="3 alerts"),)),
        Prose(spans=inline("Prefect server prod"), muted=True),
    ),
    mentions=True,
)


def test_a_saved_message_is_the_same_after_loading() -> None:
    assert Message.model_validate_json(EVERYTHING.model_dump_json()) == EVERYTHING


def test_an_empty_part_is_no_span() -> None:
    assert inline("", "a", strong("")) == inline("a")
