"""``watchdog config ...`` in this process."""

from __future__ import annotations

from typing import NamedTuple

import pytest

# Prefect configures logging when it is imported. In the middle of a test, others' log lines would be among the output.
import monitoring.wiring  # noqa: F401
from monitoring.cli.config import app


class Outcome(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def fields(self) -> dict[str, list[str]]:
        """The rows of the printed table: field, then value and source."""
        rows = (line.split(maxsplit=2) for line in self.out.splitlines())
        return {row[0]: [cell.strip() for cell in row[1:]] for row in rows if len(row) == 3}


class ConfigCommand:
    """Runs ``watchdog config`` with words, as in ``run("check", "--config", "f.yaml")``."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> Outcome:
        status = app(words, result_action="return_value")
        captured = self._capsys.readouterr()
        return Outcome(status, captured.out, captured.err)
