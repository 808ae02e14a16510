"""Where log events go, and how they look: JSON or lines for people on stderr, and lines in the Prefect UI."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from prefect.logging.handlers import APILogHandler
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.types import EventDict, Processor

from monitoring.config import Logs
from monitoring.logs import ROOT
from monitoring.render.escape import terminal

#: Characters of a field that a line for people shows.
_MOST = 2_000
#: What other libraries put on records of theirs, or of ours: none of it is said by us.
_FOREIGN = ("flow_run_id", "flow_run_name", "flow_name", "task_run_id", "send_to_api", "color_message")


def configure(settings: Logs, redact: Callable[[str], str], *, in_run: bool) -> None:
    """Send what the library logs to stderr, and to the Prefect UI where a flow run is under way.

    Args:
        settings: Level and form.
        redact: Takes secrets out of text.
        in_run: Whether this is a flow run, whose log people read in the UI.
    """
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_formatter(_as_json if settings.format == "json" else _for_people, redact))
    handlers: list[logging.Handler] = [stream]
    if in_run:
        ui = APILogHandler()
        ui.setFormatter(_formatter(_without_time, redact))
        handlers.append(ui)
    logger = logging.getLogger(ROOT)
    # Not more of the same, where one process runs many checks.
    logger.handlers[:] = handlers
    logger.setLevel(settings.level)
    # The root logger, which Prefect configures, would say everything a second time.
    logger.propagate = False


def redacting(redact: Callable[[str], str]) -> Processor:
    """Make a processor that takes secrets out of every text of an event, however deep it lies.

    Args:
        redact: Takes secrets out of text.
    """

    def processor(_: Any, __: str, event: EventDict) -> EventDict:
        return {name: _redacted(value, redact) for name, value in event.items()}

    return processor


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted(one, redact) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted(one, redact) for one in value]
    return redact(str(value))


def _formatter(render: Processor, redact: Callable[[str], str]) -> logging.Formatter:
    return ProcessorFormatter(
        foreign_pre_chain=[
            ExtraAdder(),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ],
        processors=[ProcessorFormatter.remove_processors_meta, redacting(redact), render],
    )


def _as_json(_: Any, __: str, event: EventDict) -> str:
    rendered = structlog.processors.JSONRenderer(sort_keys=True)(_, __, _own(event))
    return rendered if isinstance(rendered, str) else rendered.decode()


def _for_people(_: Any, __: str, event: EventDict) -> str:
    fields = _own(event)
    when, level = fields.pop("timestamp"), fields.pop("level").upper()
    return f"{when[:19].replace('T', ' ')} UTC {level:7} {_line(fields)}"


def _without_time(_: Any, __: str, event: EventDict) -> str:
    fields = _own(event)
    # The UI shows both beside the line.
    del fields["timestamp"], fields["level"]
    return _line(fields)


def _line(fields: dict[str, Any]) -> str:
    """An event in one line; what others wrote in it can neither begin another nor move the cursor."""
    name = str(fields.pop("event"))
    # These are the same on every line of a check.
    for known in ("logger", "target", "run"):
        fields.pop(known, None)
    exception = fields.pop("exception", None)
    says = fields.pop("says", None) or fields.pop("problem", None)
    words = [f"{name}:", terminal(str(says), _MOST)] if says else [name]
    words += [f"{key}={_word(value)}" for key, value in fields.items()]
    lines = [terminal(line, _MOST) for line in str(exception).splitlines()] if exception else []
    return "\n".join([" ".join(words), *lines])


def _word(value: Any) -> str:
    text = terminal(", ".join(map(str, value)) if isinstance(value, list) else str(value), _MOST)
    return f'"{text}"' if " " in text or not text else text


def _own(event: EventDict) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in _FOREIGN}
