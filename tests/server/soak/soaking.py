"""Checks a changing server thousands of times in one process, and samples what that process and the server hold."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from demo.stack import Server
from tests.server.soak.changes import ChangingServer
from tests.support.aging import date_back
from tests.support.one_process import OneProcess
from tests.support.slack import SlackEmulator

#: So many checks follow one another, then so much time passes: 2,000 checks are longer than anything is kept.
BURST, PAUSE = 4, timedelta(hours=8)
BURSTS_A_DAY = int(timedelta(days=1) / PAUSE)
#: At the end of every second burst, so that each is taken at the same place.
SAMPLED = 2 * BURST
#: The server forgets events within a pause, so each is sent up to three times, and it looks for what is due more often.
SERVER = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "2",
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "PT1H",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "5",
}

Sample = dict[str, Any]


def soak(
    server: Server, slack: SlackEmulator, folder: Path, checks: int, seed: int, report: Callable[[Sample], None]
) -> list[Sample]:
    """Check a server on SQLite so often; ``report`` is called with each sample."""
    changing = ChangingServer(server, random.Random(seed))
    taken: list[Sample] = []
    try:
        with OneProcess(server, slack, folder) as process:
            for sample in _samples(server, changing, process, checks):
                taken.append(sample)
                report(sample)
    finally:
        changing.close()
    return taken


def _samples(server: Server, changing: ChangingServer, process: OneProcess, checks: int) -> Iterator[Sample]:
    seconds, failed = 0.0, 0
    for check in range(1, checks + 1):
        changing.happen()
        ended = process.run()
        # On a busy machine a server on SQLite can stand still for a minute, which a check says.
        assert ended.ended.startswith(("COMPLETED", "FAILED no answer from")), ended
        failed += ended.ended.startswith("FAILED")
        seconds += ended.seconds
        if check % SAMPLED == 0:
            yield {
                "check": check,
                "seconds": round(seconds / SAMPLED, 3),
                "failed": failed,
                "memory_kib": ended.memory_kib,
                "file_descriptors": ended.file_descriptors,
                "threads": ended.threads,
                "saved": _saved(server),
                "rows": _rows(server),
            }
            seconds = 0.0
        if check % BURST == 0:
            if check // BURST % BURSTS_A_DAY == 0:
                process.run("digest")
            date_back(server, PAUSE)


def _saved(server: Server) -> dict[str, int]:
    """The bytes of the saved documents, by name; those of a kind together."""
    body = {"block_types": {"slug": {"any_": ["watchdog-document"]}}, "include_secrets": True}
    sizes: dict[str, int] = {}
    for row in server.request("POST", "/block_documents/filter", body):
        kind = row["name"].partition("-")[0]
        sizes[kind] = sizes.get(kind, 0) + len(row["data"]["body"])
    return sizes


_MINE = "SELECT fr.id FROM flow_run fr JOIN flow f ON fr.flow_id = f.id WHERE f.name LIKE 'watchdog-%'"
_ROWS = {
    "flow runs": f"SELECT count(*) FROM ({_MINE})",
    "states": f"SELECT count(*) FROM flow_run_state WHERE flow_run_id IN ({_MINE})",
    "log lines": "SELECT count(*) FROM log",
    "artifacts": "SELECT count(*) FROM artifact",
    "block documents": "SELECT count(*) FROM block_document",
    "block types": "SELECT count(*) FROM block_type",
    "variables": "SELECT count(*) FROM variable",
    "events": "SELECT count(*) FROM events WHERE event LIKE 'watchdog.%' OR related LIKE '%watchdog-%'",
}


def _rows(server: Server) -> dict[str, int]:
    """How many rows the watchdog has left on the server; nobody else there has logs, artifacts, documents."""
    with closing(sqlite3.connect(server.home / "prefect.db", timeout=60)) as database:
        return {name: database.execute(query).fetchone()[0] for name, query in _ROWS.items()}
