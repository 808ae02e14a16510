"""A server on which something is wrong, the checks of it, and the people who are notified, while a fault is played.

When it begins, one deployment is failing, and people were notified of it. While the fault lasts, another one fails.
Afterwards checks go on until people have been notified of that one, too.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from demo.stack import Server
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.config.settings import Config
from monitoring.messages.words import SIGN
from monitoring.model.target import Target
from tests.support.one_process import CHANNEL, Ended, OneProcess
from tests.support.seeding import Seed
from tests.support.servers import Postgres
from tests.support.slack import SlackEmulator

_NAME = re.compile(r"etl-\d+/nightly")
#: What seeded history would otherwise be found to lack.
_UNSEEDED = {"WATCHDOG_SERVER__LATE_MARKING": "36500d", "WATCHDOG_SERVER__EVENTS_MISSING": "36500d"}
_OVER = SIGN["resolved"]
#: A fault is over for long before that, and a lock that nobody has given back has expired.
_PATIENCE = 300.0


@dataclass
class Life:
    """One deployment is failing, and people were notified of it, when it begins."""

    server: Server
    slack: SlackEmulator
    folder: Path
    #: Further settings of the watchdog.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: What the server's database is on, unless it is SQLite.
    postgres: Postgres | None = None
    #: What checks said while the fault lasted.
    said: list[str] = field(default_factory=list, init=False)
    #: Whoever has failed since the server began.
    failed: list[str] = field(default_factory=list, init=False)
    #: How often people had been notified of each before the fault.
    notified_before: Counter[str] = field(default_factory=Counter, init=False)
    peak_kib: int = field(default=0, init=False)
    checks: OneProcess = field(init=False)

    def begin(self) -> None:
        """Let a first check see a server that is well, and a second one that a deployment has failed."""
        self.checks = self.another()
        for _ in range(2):
            assert self.checks.run().ended.startswith("COMPLETED")
            self.notified_before = self.notified()
            if not self.failed:
                self.fail()
        assert self.notified_before == {self.failed[0]: 1}, self.notified_before

    def another(self) -> OneProcess:
        """Start a process that checks the server."""
        settings = {**_UNSEEDED, "WATCHDOG_ALERTS__GROUP_INTERVAL": "1s", **self.settings}
        return OneProcess(self.server, self.slack, self.folder / "checks", settings)

    def fail(self) -> None:
        """Let a run of a new deployment fail."""
        seed = Seed(self.server.database_url)
        self.failed.append(f"etl-{time.time_ns()}/nightly")
        seed.run(seed.deployment(self.failed[-1]), "FAILED", ended=datetime.now(timezone.utc))

    def check(self) -> Ended:
        """Check while the fault lasts."""
        self.checks.start()
        return self.ended()

    def ended(self) -> Ended:
        """Wait for a check that was begun, and note what it says."""
        ended = self.checks.end()
        self.said.append(ended.ended)
        self.peak_kib = max(self.peak_kib, ended.peak_kib)
        return ended

    def recover(self) -> float:
        """Check until people have been notified of everything, or patience ends; return how many seconds it took."""
        began = time.monotonic()
        while True:
            ended = self.checks.run()
            self.peak_kib = max(self.peak_kib, ended.peak_kib)
            took = time.monotonic() - began
            if not self.lost or took > _PATIENCE:
                return took
            time.sleep(1)

    @property
    def lost(self) -> list[str]:
        """Those who have failed and of whom nobody was notified."""
        # The message about the first one may say by now that it is resolved.
        return sorted(set(self.failed) - self.notified().keys() - self.notified_before.keys())

    @property
    def repeated(self) -> list[str]:
        """Those of whom people were notified once more than before, or more than once of what is new."""
        found = self.notified()
        return sorted(name for name in found if found[name] > max(1, self.notified_before[name]))

    def notified(self) -> Counter[str]:
        """How many messages said of whom that it fails, as they are now."""
        messages = [message for message in self.slack.messages(CHANNEL) if not message["text"].startswith(_OVER)]
        return Counter(name for message in messages for name in set(_NAME.findall(json.dumps(message["blocks"]))))

    @contextmanager
    def documents(self) -> Iterator[Documents]:
        """The saved state, for a fault to change."""
        with open_api(Config().server, Target(address=self.server.api_url)) as api:
            yield Documents(api)
