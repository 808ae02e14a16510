"""A report at a terminal and in a pipe."""

from __future__ import annotations

import io

from monitoring.messages import terminal
from tests.support import samples


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_no_colours_and_every_address() -> None:
    stream = io.StringIO()
    report = samples.bad()
    terminal.console(stream).print(terminal.health(report))
    text = stream.getvalue()
    assert "\x1b" not in text
    assert all(len(line) <= terminal.PIPE_WIDTH for line in text.splitlines())
    assert all(str(finding.url) in text for finding in report.findings if samples.HOSTILE not in finding.subject.name)


def test_a_terminal_gets_links_and_no_control_characters_of_others() -> None:
    stream = Terminal()
    name = "etl/\x1b]8;;https://evil.example\x07x"
    finding = samples.finding("failed", name, summary="\x1b[2Jgone [bold]x[/bold]")
    report = samples.report(finding.model_copy(update={"url": f"{samples.UI}/runs/1"}))
    terminal.console(stream).print(terminal.health(report))
    text = stream.getvalue()
    assert f"{samples.UI}/runs/1\x1b\\etl/x" in text
    assert "\x1b[2J" not in text
    assert "evil.example" not in text
    assert "gone [bold]x[/bold]" in text


def test_many_findings_are_bounded_and_counted() -> None:
    stream = io.StringIO()
    terminal.console(stream).print(terminal.health(samples.crowd(1_000)))
    assert "and 900 more findings: see --json" in stream.getvalue()
