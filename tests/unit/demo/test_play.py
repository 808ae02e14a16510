"""The end of the demo."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from demo.expected import compare
from demo.plant import STORIES
from demo.play import show
from demo.stack import Server
from demo.stage import Stage


@pytest.mark.parametrize("width", [60, 80, 160])
def test_what_was_found_takes_one_screen_at_any_width(tmp_path: Path, width: int) -> None:
    planted = [finding for story in STORIES for finding in story.findings]
    stream = io.StringIO()
    show(Stage(Server(tmp_path)), compare(planted, planted), Console(file=stream, width=width))
    lines = stream.getvalue().splitlines()

    assert len(lines) <= 40
    assert len([line for line in lines if line.startswith("reported ")]) == len(planted)
