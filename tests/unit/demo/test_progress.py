from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from rich.console import Console

from demo.progress import SECONDS_BETWEEN_LINES, TIMEOUT_SECONDS, Progress
from demo.stack import StackError
from demo.stage import Steps


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that only sleeping moves, and a second at a time."""
    passed = [0.0]

    def sleep(_: float) -> None:
        passed[0] += 1

    with monkeypatch.context() as patch:
        patch.setattr("time.monotonic", lambda: passed[0])
        patch.setattr("time.sleep", sleep)
        yield passed


def story(*waits: str) -> Steps:
    yield from waits


def test_each_story_is_shown_to_its_end(seconds: list[float]) -> None:
    out = StringIO()
    refreshed: list[float] = []
    stories = {"fails": story("starts", "runs"), "healthy": story("starts"), "idle": story()}
    outcomes = {"fails": "planted", "healthy": "done", "idle": "done, too"}
    Progress(Console(file=out)).run(lambda: refreshed.append(seconds[0]), stories, outcomes)
    assert out.getvalue().splitlines() == ["   0 s  idle: done, too", "   1 s  healthy: done", "   2 s  fails: planted"]
    assert refreshed == [0, 1, 2]


def test_in_a_pipe_a_line_now_and_then_says_what_is_waited_for(seconds: list[float]) -> None:
    out = StringIO()
    long = SECONDS_BETWEEN_LINES + 5
    stories = {"fails": story(*["its run starts"] * long), "healthy": story(*["its turn"] * long)}
    Progress(Console(file=out, width=160)).run(lambda: None, stories, {"fails": "planted", "healthy": "done"})
    assert out.getvalue().splitlines() == [
        "  16 s  waiting for fails: its run starts; 1 more not started yet",
        "  20 s  fails: planted",
        "  20 s  healthy: done",
    ]


def test_on_a_terminal_the_waits_are_shown_below_the_lines(seconds: list[float]) -> None:
    out = StringIO()
    console = Console(file=out, width=160, force_terminal=True, color_system=None)
    Progress(console).run(lambda: None, {"fails": story("its run starts")}, {"fails": "planted"})
    assert "fails: its run starts" in out.getvalue()
    assert "waiting for" not in out.getvalue()


def test_nothing_is_waited_for_without_end(seconds: list[float]) -> None:
    never = story(*["its run starts"] * 10 * TIMEOUT_SECONDS)
    with pytest.raises(StackError, match="in vain for fails: its run starts"):
        Progress(Console(file=StringIO())).run(lambda: None, {"fails": never}, {"fails": "planted"})
