"""A process that runs one check after another, as no worker does: what grows in it shows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from demo.stack import Server, prefect_env
from tests.support.paths import PROJECT
from tests.support.slack import SlackEmulator

CHANNEL = "alerts"


class Ended(NamedTuple):
    """How a check or a digest ended, and what its process holds since."""

    #: Type and message of its last state.
    ended: str
    seconds: float
    memory_kib: int
    #: The most that was resident, ever.
    peak_kib: int
    file_descriptors: int
    threads: int


class OneProcess:
    """Runs checks of a server, which notify a Slack channel, in one process: see ``one_process_program``."""

    def __init__(
        self, server: Server, slack: SlackEmulator, folder: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        """Start it; ``folder`` is where it works and keeps its log."""
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "checks.log"
        env = {
            "PYTHONPATH": str(PROJECT),
            "WATCHDOG_SLACK__API_URL": slack.base_url,
            "WATCHDOG_SLACK__CHANNEL": CHANNEL,
            "WATCHDOG_SLACK_TOKEN": slack.token,
            **(settings or {}),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("one_process_program.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=prefect_env(folder, server.api_url, env),
                text=True,
            )

    def start(self, flow: Literal["check", "digest"] = "check") -> None:
        """Begin a check or a digest, and return at once."""
        assert self._process.stdin
        print(flow, file=self._process.stdin, flush=True)

    def end(self) -> Ended:
        """Wait for the end of what was begun."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, self.log.read_text()[-3_000:]
        answer: dict[str, Any] = json.loads(line)
        return Ended(**answer)

    def run(self, flow: Literal["check", "digest"] = "check") -> Ended:
        """Run a check or a digest to its end."""
        self.start(flow)
        return self.end()

    def close(self) -> None:
        """End the process; a check that is running ends first."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> OneProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
