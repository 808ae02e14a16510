"""Log events: short, lasting names with fields, through the standard library's logging.

A name such as ``alert not delivered`` is the same for ever, and what differs is a field: people search for both, and
docs/logs.md lists them all. Fields of ``bound`` are on every line within: they tie the lines of one check together. Who
uses the library configures logging as they like: fields are attributes of the records. Until somebody does, nothing is
written.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

import structlog
from structlog.stdlib import BoundLogger, filter_by_level, render_to_log_kwargs
from structlog.types import EventDict

#: The logger above all of the library's own.
ROOT = "monitoring"

# Without a handler, the standard library would write bare names of warnings to stderr.
logging.getLogger(ROOT).addHandler(logging.NullHandler())


class Event(str):
    """The name of an event, as it lies on a record of ours: nothing that others wrote is in it, nor in our ids."""

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
