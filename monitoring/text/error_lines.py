"""Errors in one line: what to do about a foreseeable one, and where an unforeseen one comes from."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from monitoring.errors import WatchdogError
from monitoring.text.escaping import clean

#: The library's package.
_ROOT = __name__.partition(".")[0]


def error_line(error: Exception, redact: Callable[[str], str]) -> str:
    """Return an error in one line. An unforeseen one is a fault of the watchdog, and named with its place."""
    if isinstance(error, WatchdogError):
        return redact(str(error))
    text = clean(redact("".join(traceback.format_exception_only(error))))
    return f"a fault of the watchdog at {_place(error)}, please report it: {text}"


def _place(error: Exception) -> str:
    """Module and line of the library or of a flow, the last on the way to the error; what those called is left out."""
    frames = [(_module(frame), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    return [f"{module}:{line}" for module, line in frames if module][-1]


def _module(frame: FrameType) -> str:
    """The name of a frame's module, where it is ours."""
    name, path = str(frame.f_globals.get("__name__", "")), Path(frame.f_code.co_filename)
    if name.startswith(f"{_ROOT}."):
        return name
    # Prefect gives the flow's own module any name.
    return f"flows.{path.stem}" if path.parent.name == "flows" else ""
