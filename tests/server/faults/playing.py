"""Checks of a server that misbehaves: by a command of its own, with what it cost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from demo.stack import prefect_env
from tests.server.faults.catalog import PlayedFault
from tests.server.faults.proxy import Fault, misbehaving

# Prints the peak after the command's own output, on the other stream.
_MEASURED = """
import re, sys
from pathlib import Path
from monitoring.cli import main
try:
    main()
finally:
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    print("peak", peak[1], file=sys.stderr)
"""


class Checked(NamedTuple):
    """How a check ended."""

    status: int
    #: What it printed; empty if it could not run.
    report: dict[str, Any]
    errors: str
    seconds: float
    #: Mebibytes of memory at the peak.
    peak: float
    requests: int

    @property
    def missing(self) -> set[str]:
        """The queries without a complete answer."""
        return {line.partition(":")[0] for line in self.report["coverage"]["missing"]}

    @property
    def found(self) -> list[str]:
        """The checks that found something."""
        return [finding["check"] for finding in self.report["findings"]]


def check(target: str, faults: Mapping[str, Fault], folder: Path, **settings: str) -> Checked:
    """Check a server that misbehaves on some paths, in a process of its own.

    Args:
        target: The server's address, without ``/api``.
        faults: By path below ``/api``.
        folder: The working directory, and Prefect's home.
        settings: Of the section ``server``.
    """
    with misbehaving(target, dict(faults)) as (address, paths):
        env = prefect_env(folder, address, {f"WATCHDOG_SERVER__{name.upper()}": of for name, of in settings.items()})
        started = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-c", _MEASURED, "check", "--json"],
            env=env,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
        seconds = time.monotonic() - started
        requests = len(paths)
    errors, _, peak = ended.stderr.strip().rpartition("peak ")
    report = json.loads(ended.stdout) if ended.stdout else {}
    return Checked(ended.returncode, report, errors.strip(), seconds, int(peak) / 1024, requests)


def problem_with(fault: PlayedFault, checked: Checked) -> str:
    """What is wrong with what a check made of a fault; empty if nothing is. The server has one failed run."""
    if "Traceback" in checked.errors:
        return "a traceback"
    if fault.outcome == "denied":
        fine = checked.status == 3 and not checked.report and checked.errors.count("\n") == 0 and checked.errors
        return "" if fine else f"status {checked.status}, {checked.errors!r}"
    if not checked.report:
        return f"no report; status {checked.status}, {checked.errors!r}"
    # The failed run, its deployment or the name of its flow may be among what is missing.
    found = checked.found if {"ended-runs", "deployments", "flows"} & checked.missing else list(fault.found)
    expected = {"seen": (1, True, found), "unknown": (3, False, found), "unusable": (2, False, ["server"])}[
        fault.outcome
    ]
    seen = (checked.status, checked.report["coverage"]["complete"], checked.found)
    return "" if seen == expected else f"{seen} in place of {expected}, missing {sorted(checked.missing)}"
