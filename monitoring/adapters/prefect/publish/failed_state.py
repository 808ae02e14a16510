"""How a flow run fails: with a reason in one line, and without a traceback.

Prefect's engine raises a failed state that a flow returns again, and logs the exception into the run's log and the
worker's. That explains nothing about, for instance, a rejected token. For an unforeseen exception it logs the
traceback, and writes its text into the state, with any secrets in it.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect import State
from prefect.exceptions import FailedRun
from prefect.states import Failed

# Where prefect/flow_engine.py (run_flow) and prefect/engine.py (handle_engine_signals) log it.
_LOGGERS = ("prefect.flow_runs", "prefect.engine")


def failed(why: str) -> State[Any]:
    """Return the state to end the run with; its message is the reason."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_news)
    return Failed(message=why)


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))
