"""Writes log events: JSON or lines for people to stderr, and lines to the Prefect UI."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog
from prefect.logging.handlers import APILogHandler
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.types import EventDict, Processor

from monitoring.config.environment import PREFIX, environment
from monitoring.config.general_settings import Logs
from monitoring.config.policy import Layer, Policies
from monitoring.config.settings import Config
from monitoring.errors import ConfigError
from monitoring.logs import ROOT, Event
from monitoring.text.escaping import clean
from monitoring.text.redaction import MARK, names_secret

#: Fields that logging adds to every line.
_ADDED = frozenset({"timestamp", "level", "logger"})
#: And our own fields that connect lines; the user's redaction patterns do not apply to them.
_OURS = _ADDED | {"event", "run", "target", "incident", "incidents", "delivery"}
#: The most characters of a field in a line for people.
_MAX_FIELD = 2_000
#: Fields that other libraries add to records; none is ours.
_FOREIGN = ("flow_run_id", "flow_run_name", "flow_name", "task_run_id", "send_to_api", "color_message")
#: Values that need no quotes in a line for people.
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)


def from_environment(environ: Mapping[str, str]) -> Logs:
    """Read the log settings from the environment, before the configuration is read.

    An invalid variable counts as not set; reading the configuration reports it.
    """
    layers: list[Layer] = []
    for name in sorted(environ):
        if name.startswith(f"{PREFIX}LOGS"):
            with suppress(ConfigError):
                layers += environment({name: environ[name]})
    return Policies(Config(), stronger=layers).config.logs


def configure(settings: Logs, redact: Callable[[str], str], *, in_run: bool) -> None:
    """Send the library's logs to stderr, and in a flow run also to the Prefect UI."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_formatter(_as_json if settings.format == "json" else _for_people, redact))
    handlers: list[logging.Handler] = [stream]
    if in_run:
        ui = APILogHandler()
        ui.setFormatter(_formatter(_without_time, redact))
        handlers.append(ui)
    logger = logging.getLogger(ROOT)
    # Replaced, not added: one process may run many checks.
    logger.handlers[:] = handlers
    logger.setLevel(settings.level)
    # The root logger, which Prefect configures, would repeat every line.
    logger.propagate = False


def redacting(redact: Callable[[str], str]) -> Processor:
    """Make a processor that redacts secrets in every field that may contain text of others, at any depth.

    It must be the first of a ``ProcessorFormatter``, whose additional fields it removes.
    """

    def processor(logger: Any, method: str, event: EventDict) -> EventDict:
        # Other code may log below our logger, with fields of any name.
        kept = _OURS if isinstance(event["_record"].msg, Event) else _ADDED
        fields = ProcessorFormatter.remove_processors_meta(logger, method, event)
        return {name: value if name in kept else _redacted(name, value, redact) for name, value in fields.items()}

    return processor


def _redacted(key: str, value: Any, redact: Callable[[str], str]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if names_secret(key):
        return MARK
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Mapping):
        return {redact(_text(name)): _redacted(_text(name), field, redact) for name, field in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted(key, element, redact) for element in value]
    return redact(_text(value))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, (bytes, bytearray)) else str(value)


def _formatter(render: Processor, redact: Callable[[str], str]) -> logging.Formatter:
    return ProcessorFormatter(
        foreign_pre_chain=[
            ExtraAdder(),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[redacting(redact), render],
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
    """Write an event in one line: its name, its fields and, after the first colon outside of quotes, its text.

    Text of others can neither begin another line, nor look like another field, nor move the cursor.
    """
    name = clean(str(fields.pop("event")), _MAX_FIELD)
    # These are the same on every line of a check.
    for known in ("logger", "target", "run"):
        fields.pop(known, None)
    text = fields.pop("says", None) or fields.pop("problem", None)
    line = " ".join([name, *(f"{key}={_word(value)}" for key, value in fields.items())])
    return f"{line}: {clean(str(text), _MAX_FIELD)}" if text else line


def _word(value: Any) -> str:
    text = clean(", ".join(map(str, value)) if isinstance(value, list) else str(value), _MAX_FIELD)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _own(event: EventDict) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in _FOREIGN}
