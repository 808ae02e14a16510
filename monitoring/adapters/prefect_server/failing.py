"""How a flow's run ends that fails for a foreseeable reason: with one line that says why, and no traceback.

Prefect's engine raises the failure that a flow has returned once more, and logs what it raised, into the run's log and
the worker's own. Nobody learns anything from that about a token that was refused.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect import State
from prefect.exceptions import FailedRun
from prefect.states import Failed

from monitoring.errors import WatchdogError

# Where prefect/flow_engine.py (run_flow) and prefect/engine.py (handle_engine_signals) log it.
_LOGGERS = ("prefect.flow_runs", "prefect.engine")


def failed(error: WatchdogError) -> State[Any]:
    """Return the state to end the run with.

    Args:
        error: Why; its message is the state's.
    """
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_news)
    return Failed(message=str(error))


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))
