"""Log events: short, permanent names with fields, through the standard library's logging.

A name such as ``alert not delivered`` never changes, and details are in fields: people search for both, and
docs/logs.md lists all of them. Fields of ``bound`` are on every line within its body: they tie the lines of a check
together. Programs that use the library configure logging themselves: fields are attributes of the records. Without
configuration nothing is written.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

import structlog
from structlog.stdlib import BoundLogger, filter_by_level, render_to_log_kwargs
from structlog.types import EventDict

#: The parent of all loggers of the library.
ROOT = "monitoring"

# Without a handler, the standard library would write the bare names of warnings to stderr.
logging.getLogger(ROOT).addHandler(logging.NullHandler())


class Event(str):
    """The name of an event on a record of the library: it contains no text from others, so it is not redacted."""

    __slots__ = ()


def get_logger(name: str) -> BoundLogger:
    """Make the logger of a module.

    Args:
        name: The module's ``__name__``.
    """
    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[filter_by_level, structlog.contextvars.merge_contextvars, _named, render_to_log_kwargs],
        wrapper_class=BoundLogger,
        context_class=dict,
    )
    return logger


def _named(_: logging.Logger, __: str, event: EventDict) -> EventDict:
    return {**event, "event": Event(event["event"])}


def bound(**fields: str) -> AbstractContextManager[None]:
    """Put fields on every line that is logged within the body of a ``with``."""
    return structlog.contextvars.bound_contextvars(**fields)
