"""The command line, in a process of its own as at a terminal, or in this one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

# Prefect configures logging when it is imported. In the middle of a test, others' log lines would be among the output.
import monitoring.wiring  # noqa: F401
from monitoring.cli.config import app

#: A configuration file with a rule by each kind of matcher.
RULES = """\
rules:
- match: {deployment: "etl/*"}
  late: {after: 1m}
- match: {tag: gold}
  slow: {limit: 2m}
- match: {pool: k8s}
  stale: {grace: 3m}
"""


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


@dataclass(frozen=True)
class CommandResult:
    """What a command said, and how it ended."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def report(self) -> Any:
        """The JSON on stdout."""
        return json.loads(self.stdout)

    @property
    def text(self) -> str:
        """All that was said."""
        return self.stdout + self.stderr


def watchdog(*words: str, env: Mapping[str, str], cwd: Path, timeout: float = 180) -> CommandResult:
    """Run the command line in a process of its own, in a folder without a ``watchdog.yaml``.

    Args:
        words: The command and its options.
        env: The whole environment.
        cwd: The folder.
        timeout: Seconds after which it is killed, and the test with it.
    """
    started = time.monotonic()
    command = [str(Path(sys.executable).with_name("watchdog")), *words]
    ended = subprocess.run(
        command,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return CommandResult(ended.returncode, ended.stdout, ended.stderr, time.monotonic() - started)
