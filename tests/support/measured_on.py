"""What figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version

from tests.support.paths import PROJECT


def measured_on() -> dict[str, str]:
    """The last commit that changed the watchdog, the date, the versions and the machine."""
    command = ["git", "log", "-1", "--format=%h", "--", "monitoring", "flows"]
    commit = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return {
        "commit": commit.stdout.strip(),
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "prefect": version("prefect"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }


def in_words(measured: Mapping[str, str]) -> str:
    """How a page begins to tell of its figures."""
    return (
        f"Measured on {measured['date']} at {measured['commit']}, with Prefect {measured['prefect']} and Python "
        f"{measured['python']}, on {measured['machine']}:"
    )
