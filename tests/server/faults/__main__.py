"""Plays every fault of the catalog and measures it: ``python -m tests.server.faults`` writes docs/reliability.*."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.server.faults.catalog import FAULTS, PlayedFault
from tests.server.faults.life import Life
from tests.server.faults.lives import LIVES, played
from tests.server.faults.playing import check, problem_with
from tests.server.faults.table import FIGURES, PAGE, page
from tests.support.measured_on import measured_on
from tests.support.seed_values import HOUR
from tests.support.seeding import Seed
from tests.support.servers import Postgres, start_server
from tests.support.slack import SlackEmulator


def main() -> int:
    """Play, write, and return 1 if a fault was not survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.server.faults", description=__doc__)
    parser.add_argument("--only", default="", help="play the faults whose name contains this, and write nothing")
    parser.add_argument("--part", choices=tuple(_PARTS), help="measure only one of the tables anew")
    options = parser.parse_args()
    figures = json.loads(FIGURES.read_text())
    problems = 0
    for part in [options.part] if options.part else _PARTS:
        with tempfile.TemporaryDirectory() as folder:
            rows = list(_PARTS[part](options.only, Path(folder)))
        problems += sum(bool(row["problem"]) for row in rows)
        figures[part] = {"measured": measured_on(), "faults": rows}
        if not options.only:
            FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
            PAGE.write_text(page(figures))
    return 1 if problems else 0


def _answers(only: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Play the faults of a server's answers."""
    server = start_server(folder / "server")
    try:
        world = Seed(server.database_url, datetime.now(timezone.utc))
        world.run(world.deployment("etl/nightly", pool=world.pool("workers")), "FAILED", ended=world.now - HOUR)
        for fault in FAULTS:
            if only in fault.name:
                yield _shown(_played(fault, server.ui_url, folder))
    finally:
        server.kill()


def _life(only: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Play the faults of the life of a server, each on a server of its own."""
    slack, postgres = SlackEmulator(folder / "slack"), Postgres()
    try:
        slack.start()
        postgres.start()
        for number, fault in enumerate(fault for fault in LIVES if only in fault.name):
            database = postgres if fault.database == "postgresql" else None
            home = folder / f"server-{number}"
            server = start_server(home, database_url=database.new_database() if database else None)
            slack.clear()
            life = Life(server, slack, folder / f"life-{number}", postgres=database)
            try:
                yield _shown(played(fault, life))
            finally:
                server.kill()
                life.server.kill()
    finally:
        postgres.stop()
        slack.stop()


def _played(fault: PlayedFault, target: str, folder: Path) -> dict[str, Any]:
    # Rows that are written to the database have no events, and what would have them grows old in half an hour.
    checked = check(target, {fault.path: fault.make()}, folder, events_missing="30d")
    return {
        "fault": fault.name,
        "outcome": fault.outcome,
        "status": checked.status,
        "missing": sorted(checked.missing) if checked.report else [],
        "problem": problem_with(fault, checked),
        "seconds": round(checked.seconds, 1),
        "peak_mib": round(checked.peak),
        "requests": checked.requests,
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    sys.stdout.write(f"{json.dumps(row)}\n")
    sys.stdout.flush()
    return row


_PARTS = {"answers": _answers, "life": _life}

if __name__ == "__main__":
    sys.exit(main())
