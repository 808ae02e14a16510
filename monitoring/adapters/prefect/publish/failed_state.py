"""How a flow run fails: with a reason in one line, and without a traceback.

Prefect's engine raises a failed state that a flow returns again, and logs the exception into the run's log and the
worker's. That explains nothing about, for instance, a rejected token. For an unforeseen exception it logs the
traceback, and writes its text into the state, with any secrets in it.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from prefect import State
from prefect.exceptions import FailedRun
from prefect.states import Failed

from monitoring.errors import WatchdogError
from monitoring.logs import ROOT
from monitoring.text.escaping import clean

# Where prefect/flow_engine.py (run_flow) and prefect/engine.py (handle_engine_signals) log it.
_LOGGERS = ("prefect.flow_runs", "prefect.engine")


def reason(error: Exception, redact: Callable[[str], str]) -> str:
    """Return in one line why a run fails. An unforeseen error is a fault of the watchdog, and named with its place."""
    if isinstance(error, WatchdogError):
        return str(error)
    text = clean(redact("".join(traceback.format_exception_only(error))))
    return f"a fault of the watchdog at {_place(error)}, please report it: {text}"


def _place(error: Exception) -> str:
    """Module and line of the library or of a flow, the last on the way to the error; what those called is left out."""
    frames = [(_module(frame), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    return [f"{module}:{line}" for module, line in frames if module][-1]


def _module(frame: FrameType) -> str:
    """The name of a frame's module, where it is ours."""
    name, path = str(frame.f_globals.get("__name__", "")), Path(frame.f_code.co_filename)
    if name.startswith(f"{ROOT}."):
        return name
    # Prefect gives the flow's own module any name.
    return f"flows.{path.stem}" if path.parent.name == "flows" else ""


def failed(why: str) -> State[Any]:
    """Return the state to end the run with; its message is the reason."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_news)
    return Failed(message=why)


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))
