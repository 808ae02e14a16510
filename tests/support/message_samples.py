"""A message with an element of every kind, and one in which every text is the same."""

from __future__ import annotations

from monitoring.model.message import (
    Bar,
    Code,
    Column,
    Details,
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

UI = "https://prefect.example.com"


def everything(text: str = "etl/nightly") -> Message:
    """Make a message of all there is, which holds a text wherever one can stand."""
    columns = (
        Column(label="Severity", lead=""),
        Column(label="Subject", role="title"),
        Column(label="What is wrong", role="text"),
        Column(label="Since", lead="since "),
        Column(label="Observed", role="detail"),
    )
    cells = (inline("critical"), inline(link(text, f"{UI}/1")), inline(text), inline("2026-03-10"), inline("seen"))
    nested = (inline("symptom"), inline(link("crm/sync", f"{UI}/2")), inline("late"), (), ())
    return Message(
        title=f"Title {text}",
        level="critical",
        fallback=f"Fallback {text}",
        elements=(
            Prose(spans=inline(strong(text), " plain, and ", link(text, f"{UI}/3"), " at the end.")),
            Heading(text=f"Heading {text}", note="A note.", level="warning"),
            Table(
                columns=columns,
                rows=(
                    Row(cells=cells, level="critical", evidence=(f"  {text}",), more_nested=4),
                    Row(cells=nested, nested=True),
                ),
                more=7,
                unit="finding",
                nested_unit="symptom",
                elsewhere=inline("see ", code("watchdog check --json")),
            ),
            Facts(facts=(Fact(label="Acknowledge", value=inline(code("watchdog incidents ack W-12"))),)),
            List(lead=f"Lead {text}", items=(inline(text), inline("second")), more=3),
            Code(lines=("first", f"  {text}")),
            Plot(bars=(Bar(label="Monday", value=2, text="2 alerts"), Bar(label="Tuesday", value=0, text="0 alerts"))),
            Details(summary="1 subject could not be judged", elements=(Prose(spans=inline("folded")),)),
            Links(links=(link("run", f"{UI}/4"),)),
            Prose(spans=inline(f"Prefect server {text}"), muted=True),
        ),
        mentions=True,
    )
