"""Faults of the life of a server and of the saved state, and what becomes of each."""

from __future__ import annotations

import json
import re
import resource
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from textwrap import shorten
from typing import Any, Literal

from demo.stack import Server
from monitoring.adapters.prefect.store.documents import SLUG
from monitoring.adapters.prefect.store.lock import NAME as LOCK
from tests.server.faults.life import Life
from tests.support.aging import date_back
from tests.support.servers import TEST_SETTINGS, empty_database

_ADDRESS = re.compile(r"http://\S+")
#: What a check may hold at its peak: a document of 20 MB is there as an answer, as text and as a copy set aside.
MAX_PEAK_KIB = 320 << 10
#: On which database it is played.
Database = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class LifeFault:
    """A fault that is over when ``play`` returns."""

    name: str
    play: Callable[[Life], None]
    #: How what a check said meanwhile begins, or what follows it.
    seen: str
    #: Whether people are notified of what they knew once more, because the saved state is lost.
    repeats: bool = False
    database: Database = "sqlite"
    #: Whether it needs a server of its own, or minutes: tests leave it to ``make reliability``.
    long: bool = True

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def played(fault: LifeFault, life: Life) -> dict[str, Any]:
    """Play a fault, and return what was seen, what was lost, and how long it took until all was well."""
    try:
        life.begin()
        fault.play(life)
        seconds = life.recover()
        return {
            "fault": fault.name,
            "said": [_shown(said) for said in life.said],
            "lost": len(life.lost),
            "repeated": len(life.repeated),
            "seconds": round(seconds, 1),
            "peak_mib": round(life.peak_kib / 1024),
            "problem": problem_with(fault, life),
        }
    finally:
        life.checks.close()


def _shown(said: str) -> str:
    """What a check said, in short, and without what differs from time to time."""
    if said.startswith("NO RUN"):
        return "nothing: Prefect cannot run anything"
    return shorten(_ADDRESS.sub("...", said).replace(f"{SLUG}/", ""), 48, placeholder=" ...")


def problem_with(fault: LifeFault, life: Life) -> str:
    """What is wrong with what became of a fault; empty if nothing is."""
    if not any(said.startswith(fault.seen) for said in life.said):
        return f"{life.said} in place of {fault.seen!r}"
    if life.lost:
        return f"nobody was notified of {life.lost}"
    if bool(life.repeated) != fault.repeats:
        return f"people were notified more than once of {life.repeated}"
    return f"{life.peak_kib} KiB" if life.peak_kib > MAX_PEAK_KIB else ""


def restart(life: Life) -> None:
    """Restart the server in the middle of a check."""
    life.fail()
    life.checks.start()
    time.sleep(0.3)
    life.server.kill()
    _start(life.server)
    life.ended()


def lock_database(life: Life, seconds: float = 40) -> None:
    """Write to SQLite for a long time."""
    life.fail()
    path = life.server.home / "prefect.db"
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        life.checks.start()
        time.sleep(seconds)
        writer.execute("ROLLBACK")
    life.ended()


def fill_disk(life: Life) -> None:
    """Let the server write no file any more."""
    life.fail()
    _, hard = resource.prlimit(life.server.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    life.check()
    resource.prlimit(life.server.pid, resource.RLIMIT_FSIZE, (hard, hard))


def stop_database(life: Life) -> None:
    """Stop PostgreSQL, and start it again."""
    assert life.postgres is not None
    life.fail()
    life.postgres.halt()
    life.check()
    life.postgres.resume()


def wipe(life: Life) -> None:
    """Make the server anew at the same address."""
    life.server.kill()
    for file in life.server.home.glob("prefect.db*"):
        file.unlink()
    empty_database(life.server.home)
    _start(life.server)
    life.check()
    life.failed.clear()
    life.fail()


def move(life: Life) -> None:
    """Move the server to another address."""
    life.server.kill()
    new = Server(life.folder / "moved", env=TEST_SETTINGS)
    new.home.mkdir(parents=True)
    for file in life.server.home.glob("prefect.db*"):
        shutil.copy(file, new.home)
    life.server = new
    _start(new)
    life.fail()
    life.checks.close()
    life.checks = life.another()
    life.check()


def spoil(life: Life, document: str, spoilt: Callable[[str], str]) -> None:
    """Change a document of the saved state."""
    life.fail()
    with life.documents() as documents:
        documents.write(document, spoilt(documents.read(document) or ""))
    life.check()


def write_newer(life: Life) -> None:
    """Let a newer watchdog write a document, and be taken back."""
    life.fail()
    with life.documents() as documents:
        body = documents.read("incidents") or ""
        documents.write("incidents", json.dumps({**json.loads(body), "schema": 99}))
        life.check()
        documents.write("incidents", body)


def delete_lock(life: Life) -> None:
    """Delete the lock while a check holds it."""
    life.fail()
    life.checks.start()
    while not (found := life.server.request("POST", "/variables/filter", {"variables": {"name": {"any_": [LOCK]}}})):
        time.sleep(0.01)
    life.server.request("DELETE", f"/variables/{found[0]['id']}")
    life.ended()


def check_twice(life: Life) -> None:
    """Run two checks at once."""
    life.fail()
    with life.another() as other:
        other.start()
        life.check()
        life.said.append(other.end().ended)


def miss_a_day(life: Life) -> None:
    """Let no check run for a day, half way through which something fails."""
    date_back(life.server, timedelta(hours=12))
    life.fail()
    date_back(life.server, timedelta(hours=12))
    life.check()


def _start(server: Server) -> None:
    server.start()
    server.wait_ready()


def _truncated(body: str) -> str:
    return body[: len(body) // 2]


def _edited(body: str) -> str:
    return json.dumps({**json.loads(body), "data": {"queue": "none"}})


def _long(body: str) -> str:
    return json.dumps({**json.loads(body), "data": "x" * (20 << 20)})


LIVES: tuple[LifeFault, ...] = (
    LifeFault("the server is restarted in the middle of a check", restart, ""),
    LifeFault("SQLite is locked for 40 s", lock_database, ""),
    LifeFault("PostgreSQL is stopped, and started again", stop_database, "NO RUN", database="postgresql"),
    LifeFault("the disk of the server is full", fill_disk, "NO RUN"),
    LifeFault("the server is wiped, and made anew at the same address", wipe, "COMPLETED Nothing is wrong."),
    LifeFault("the server is moved to another address", move, "COMPLETED"),
    LifeFault("saved incidents: cut short", partial(spoil, document="incidents", spoilt=_truncated), "COMPLETED", True),
    LifeFault("saved outbox: edited", partial(spoil, document="outbox", spoilt=_edited), "COMPLETED", True),
    LifeFault("saved ledger: 20 MB long", partial(spoil, document="ledger", spoilt=_long), "COMPLETED"),
    LifeFault("saved incidents: of a newer version", write_newer, "FAILED", long=False),
    LifeFault("the lock is deleted during a check", delete_lock, "FAILED", long=False),
    LifeFault("two checks at once", check_twice, "COMPLETED", long=False),
    LifeFault("no check for 24 h", miss_a_day, "COMPLETED", long=False),
)
