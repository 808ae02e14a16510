"""A server whose checks measure, what they log, and the series that they write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
from prometheus_client.parser import text_string_to_metric_families

from demo.stack import Server, free_port, prefect_env
from tests.support.command_line import watchdog
from tests.support.killing import Checks
from tests.support.paths import PROJECT
from tests.support.seeding import Seed

SCHEMA = json.loads((PROJECT / "monitoring/messages/log.schema.json").read_text())
#: How a line of Prefect's own begins, and of other libraries, which the root logger gets; and what a worker prints.
OTHERS = re.compile(r"\d\d:\d\d:\d\d\.\d{3} \| [A-Z]+ +\| (?!monitoring\b)|Worker '[\w-]+' started!$")
SECRETS = ("hunter2-hunter2", "xoxb-2718281828-abcdefghijkl", "ping-abcdefghijkl")
#: Series by name and labels.
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(text: str, parse: Any = text_string_to_metric_families) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def value(found: Series, name: str, **labels: str) -> float | None:
    """The value of one of our metrics; None where it is absent."""
    return found.get((f"prefect_watchdog_{name}", frozenset({"target": "prefect", **labels}.items())))


class MeasuredServer:
    """A server with a broken deployment and a healthy one, and checks of it that measure."""

    def __init__(self, server: Server, folder: Path, **settings: str) -> None:
        self.server = server
        self.folder = folder
        self.textfile = folder / "watchdog.prom"
        self.settings = {
            "WATCHDOG_METRICS__ENABLED": "true",
            "WATCHDOG_METRICS__TEXTFILE": str(self.textfile),
            "WATCHDOG_LOGS__FORMAT": "json",
            "WATCHDOG_LOGS__LEVEL": "DEBUG",
            "WATCHDOG_SLACK_TOKEN": SECRETS[1],
            "WATCHDOG_PING_URL": f"http://127.0.0.1:{free_port()}/{SECRETS[2]}",
            **settings,
        }
        self._checks: Checks | None = None
        self._checked_with: dict[str, str] = {}
        folder.mkdir(exist_ok=True)
        seed = Seed(server.database_url)
        # Before anything is broken, a first check sees a server that is well, and what it counts from.
        self.seed, self.good, self.bad = seed, seed.deployment("etl/good"), seed.deployment("etl/bad")
        seed.run(self.good, ended=seed.now - timedelta(minutes=50))

    def check(self, times: int = 1) -> str:
        """Run checks; return what all checks of these settings have written to stderr."""
        if self._checks is None or self._checked_with != self.settings:
            self.stop()
            self._checks = Checks(self.server, self.folder / "checks", self.settings)
            self._checked_with = dict(self.settings)
        for _ in range(times):
            ended = self._checks.run().ended
            assert (ended or "").startswith("COMPLETED"), ended
        return self._checks.log.read_text()

    def stop(self) -> None:
        """End the process that runs the checks."""
        if self._checks is not None:
            self._checks.stop()
            self._checks = None

    def work(self, runs: int) -> None:
        """Let so many runs of the healthy deployment complete."""
        for _ in range(runs):
            self.seed.run(self.good, ended=self.seed.now, run_time=timedelta(seconds=90))

    def break_it(self) -> None:
        """Let a run fail, with a secret in its message."""
        message = f"ValueError: password={SECRETS[0]}"
        self.seed.run(self.bad, "FAILED", ended=self.seed.now, message=message)

    def print(self) -> str:
        env = {**prefect_env(self.folder, self.server.api_url), **self.settings}
        result = watchdog("metrics", "print", env=env, cwd=self.folder)
        assert (result.status, result.stderr) == (0, "")
        return result.stdout


def lines(log: str) -> list[dict[str, Any]]:
    """Our lines among what a process wrote, all of them valid; whatever is not in Prefect's form is one of ours."""
    found = [json.loads(line) for line in log.splitlines() if not OTHERS.match(line)]
    for line in found:
        jsonschema.validate(line, SCHEMA)
    return found


def named(found: list[dict[str, Any]], event: str) -> list[Mapping[str, Any]]:
    return [line for line in found if line["event"] == event]


#: Makes one, with further settings of the environment.
MeasuredServers = Callable[..., MeasuredServer]
