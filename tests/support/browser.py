"""A real browser, to see what people see."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
from websockets.sync.client import connect

T = TypeVar("T")

#: Seconds until a page on a busy machine is ready.
_PATIENCE = 240

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
    command = [_chromium(), "--headless", "--no-sandbox", "--disable-gpu", *_QUIET, f"--user-data-dir={profile}"]
    shown = subprocess.run(
        [*command, "--virtual-time-budget=20000", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=True,
    )
    return shown.stdout


def evaluate(url: str, profile: Path, width: int, expression: str) -> Any:
    """Return the value of a JavaScript expression in a page, as soon as it has one, in a window of that width.

    Args:
        url: The page.
        profile: An empty folder for the browser's own files.
        width: The width of the window, in pixels.
        expression: What to evaluate; null while the page is not ready.
    """
    options = ["--headless", "--no-sandbox", "--disable-gpu", *_QUIET, f"--window-size={width},1400"]
    command = [_chromium(), *options, f"--user-data-dir={profile}", "--remote-debugging-port=0", url]
    ready = profile / "DevToolsActivePort"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            port = _until(lambda: ready.read_text().splitlines()[0] if ready.exists() and ready.read_text() else None)
            pages = _until(lambda: [one for one in _targets(port) if one["type"] == "page"] or None)
            with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as page:

                def value() -> Any:
                    parameters = {"expression": expression, "returnByValue": True}
                    page.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": parameters}))
                    return json.loads(page.recv(timeout=_PATIENCE))["result"]["result"].get("value")

                return _until(value)
        finally:
            browser.terminate()


def _targets(port: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"http://127.0.0.1:{port}/json/list", timeout=_PATIENCE).json()
    return found


def _until(value: Callable[[], T | None]) -> T:
    """Wait for a value that is not None."""
    deadline = time.monotonic() + _PATIENCE
    while (found := value()) is None:
        assert time.monotonic() < deadline, "the page has not become ready"
        time.sleep(0.2)
    return found


def _chromium() -> str:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is needed: apt-get install chromium"
    return chromium
