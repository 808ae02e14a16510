"""Plays every fault of the catalog and measures it: ``python -m tests.server.faults`` writes docs/reliability.*."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.server.faults.catalog import FAULTS, PlayedFault
from tests.server.faults.playing import check, problem_with
from tests.server.faults.table import FIGURES, PAGE, page
from tests.support.seed_values import HOUR
from tests.support.seeding import Seed
from tests.support.servers import start_server


def main() -> int:
    """Play, write, and return 1 if a fault was not survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.server.faults", description=__doc__)
    parser.add_argument("--only", default="", help="play the faults whose name contains this, and write nothing")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "server")
        try:
            world = Seed(server.database_url, datetime.now(timezone.utc))
            world.run(world.deployment("etl/nightly", pool=world.pool("workers")), "FAILED", ended=world.now - HOUR)
            rows = [_played(fault, server.ui_url, Path(folder)) for fault in FAULTS if only in fault.name]
        finally:
            server.kill()
    if not only:
        figures = {"measured": _machine(), "faults": rows}
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
        PAGE.write_text(page(figures))
    return 1 if any(row["problem"] for row in rows) else 0


def _played(fault: PlayedFault, target: str, folder: Path) -> dict[str, Any]:
    # Rows that are written to the database have no events, and what would have them grows old in half an hour.
    checked = check(target, {fault.path: fault.make()}, folder, events_missing="30d")
    row = {
        "fault": fault.name,
        "outcome": fault.outcome,
        "status": checked.status,
        "missing": sorted(checked.missing) if checked.report else [],
        "problem": problem_with(fault, checked),
        "seconds": round(checked.seconds, 1),
        "peak_mib": round(checked.peak),
        "requests": checked.requests,
    }
    sys.stdout.write(f"{json.dumps(row)}\n")
    sys.stdout.flush()
    return row


def _machine() -> dict[str, str]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return {
        "commit": commit.stdout.strip(),
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "prefect": version("prefect"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


if __name__ == "__main__":
    sys.exit(main())
