"""A real browser, to see what people see."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

# Without these, Chromium looks for Google's servers at every start.
_QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]


def page(url: str, profile: Path) -> str:
    """Return a page's document as it stands after its scripts have run.

    Args:
        url: The page.
        profile: An empty folder for the browser's own files.
    """
    chromium = shutil.which("chromium")
    assert chromium, "chromium is needed: apt-get install chromium"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", *_QUIET, f"--user-data-dir={profile}"]
    shown = subprocess.run(
        [*command, "--virtual-time-budget=20000", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return shown.stdout
