"""A report at a terminal and in a pipe."""

from __future__ import annotations

import io
import re

import pytest

from monitoring.messages import terminal
from monitoring.messages.report_messages import health_message
from monitoring.model.finding import Cause
from monitoring.model.message import Fact, Facts, Message, code, inline
from monitoring.text.limits import PIPE_WIDTH, TERMINAL
from tests.support import samples


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_no_colours_and_every_address() -> None:
    stream = io.StringIO()
    report = samples.bad()
    terminal.show(terminal.console(stream), health_message(report))
    text = stream.getvalue()
    assert "\x1b" not in text
    assert all(len(line) <= PIPE_WIDTH for line in text.splitlines() if "://" not in line)
    assert all(str(finding.url) in text for finding in report.findings if samples.HOSTILE not in finding.subject.name)


def test_a_terminal_gets_links_and_no_control_characters_of_others() -> None:
    stream = Terminal()
    name = "etl/\x1b]8;;https://evil.example\x07x"
    finding = samples.finding("failed", name, summary="\x1b[2Jgone [bold]x[/bold]")
    report = samples.report(finding.model_copy(update={"url": f"{samples.UI}/runs/1"}))
    terminal.show(terminal.console(stream), health_message(report))
    text = stream.getvalue()
    assert f"{samples.UI}/runs/1\x1b\\etl/x" in text
    assert "\x1b[2J" not in text
    assert "evil.example" not in text
    assert "gone [bold]x[/bold]" in text


def test_a_narrow_console_wraps_words_but_no_address_and_no_command() -> None:
    stream = io.StringIO()
    console = terminal.console(stream)
    console.width = 80
    url, command = f"{samples.UI}/runs/flow-run/{'x' * 80}", f"watchdog incidents ack {'W-12 ' * 20}W-13"
    finding = samples.finding("failed", "etl/nightly", summary="word " * 40).model_copy(update={"url": url})
    terminal.show(console, health_message(samples.report(finding)))
    pairs = (Fact(label="Link", value=inline(url)), Fact(label="Acknowledge", value=inline(code(command))))
    terminal.show(console, Message(title="t", fallback="t", elements=(Facts(facts=pairs),)))
    lines = stream.getvalue().splitlines()
    assert [line for line in lines if len(line) > 80] == [
        f"  etl/nightly: {url}",
        f"Link         {url}",
        f"Acknowledge  {command}",
    ]


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_no_word_is_split_at_any_width(width: int) -> None:
    stream = io.StringIO()
    console = terminal.console(stream)
    console.width = width
    cause = Cause(kind="work-pool", name="kubernetes-production-eu", reason="no-live-worker")
    report = samples.report(
        samples.finding("late", "customer-reporting/daily-export-to-warehouse", summary="late " * 20, cause=cause),
        samples.finding(
            "failed", "etl/nightly", summary="failed: ModuleNotFoundError: orders_2026_03_09", owner="data"
        ),
    )
    terminal.show(console, health_message(report))
    text = stream.getvalue()
    assert {"customer-reporting/daily-export-to-warehouse", "orders_2026_03_09", "kubernetes-production-eu"} <= {
        word.strip(",:") for word in text.split()
    }
    assert all(len(line) <= width for line in text.splitlines() if "://" not in line)


def test_a_pipe_is_as_wide_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = {}
    for given in ("80", "0", "wide"):
        monkeypatch.setenv("COLUMNS", given)
        widths[given] = terminal.console(io.StringIO()).width
    assert widths == {"80": 80, "0": PIPE_WIDTH, "wide": PIPE_WIDTH}


def test_many_findings_are_bounded_and_counted() -> None:
    stream = io.StringIO()
    terminal.show(terminal.console(stream), health_message(samples.crowd(3_000)))
    shown = stream.getvalue()
    assert (
        sum(line.startswith(("critical", "  symptom")) for line in shown.splitlines())
        < (TERMINAL.rows + TERMINAL.nested) * 7
    )
    assert re.search(r"^and \d+ more findings: see watchdog check --json", shown, re.MULTILINE)
    assert re.search(r"^    and \d+ more symptoms", shown, re.MULTILINE)
    assert "    and 20 more lines: see --json" in shown
