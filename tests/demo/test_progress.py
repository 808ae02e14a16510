from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from demo.progress import SECONDS_BETWEEN_LINES, Progress

WAITS = {"fails": "its run starts", "crashes": "its turn", "healthy": "its turn"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_in_a_pipe_a_line_now_and_then_says_what_is_waited_for(clock: list[float]) -> None:
    out = StringIO()
    progress = Progress(Console(file=out, width=160))
    progress.say("Begun")
    with progress.waiting():
        for second in range(2 * SECONDS_BETWEEN_LINES):
            clock[0] = 100.0 + second
            progress.wait_for(WAITS)
    assert out.getvalue().splitlines() == [
        "   0 s  Begun",
        "  16 s  waiting for fails: its run starts; 2 more have yet to start",
    ]


def test_on_a_terminal_the_waits_are_shown_below_the_lines(clock: list[float]) -> None:
    out = StringIO()
    progress = Progress(Console(file=out, width=160, force_terminal=True, color_system=None))
    with progress.waiting():
        progress.wait_for(WAITS)
    assert "fails: its run starts" in out.getvalue()
    assert "2 more have yet to start" in out.getvalue()
    assert "waiting for" not in out.getvalue()
