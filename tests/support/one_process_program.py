"""Runs checks and digests in this process, one after another, and says after each what the process holds.

A line on standard input, ``check`` or ``digest``, runs one; a line of JSON on standard output says what became of it.
It is run as a file: the package of tests takes Prefect's settings out of the environment.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

from flows.check import check
from flows.digest import digest

_FLOWS: dict[str, Any] = {"check": check, "digest": digest}


def main() -> None:
    """Run what is ordered until there are no more orders."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        started = time.monotonic()
        try:
            state = _FLOWS[line.strip()](return_state=True)
            ended = f"{state.type.value} {state.message}"
        except Exception as error:  # noqa: BLE001 - Prefect itself could not make the flow run
            ended = f"NO RUN {error}".partition("\n")[0]
        held = {"ended": ended, "seconds": time.monotonic() - started, **_held()}
        print(json.dumps(held), file=answers, flush=True)


def _held() -> dict[str, int]:
    status = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", Path("/proc/self/status").read_text()))
    return {
        "memory_kib": int(status["VmRSS"]),
        "peak_kib": int(status["VmHWM"]),
        "file_descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
    }


if __name__ == "__main__":
    main()
