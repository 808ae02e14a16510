"""What ``check`` and ``digest`` share: a look at the server that only reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter

from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.read.reader import ServerReader
from monitoring.adapters.prefect.store.pushed_config import pushed_reader
from monitoring.config.policy import Layer, Policies, Setting
from monitoring.config.source import load_policies
from monitoring.errors import ConfigError
from monitoring.text.durations import parse_duration
from monitoring.text.redaction import Redactor

ConfigPath = Annotated[
    str | None, Parameter(name="--config", help="Configuration file. [default: WATCHDOG_CONFIG, then watchdog.yaml]")
]
Target = Annotated[str | None, Parameter(name="--target", help="API address to use instead of PREFECT_API_URL.")]
Window = Annotated[
    str | None,
    Parameter(name="--window", help="How far back ended runs are read: 24h. [default: target.window]"),
]


@dataclass(frozen=True)
class Look:
    """A server that can be read, and how."""

    api: Api
    reader: ServerReader
    policies: Policies


@contextmanager
def look(config: str | None, target: str | None, window: str | None = None) -> Iterator[Look]:
    """Open the server for reading, as configured.

    Raises:
        ConfigError: The configuration, the address or the window cannot be used.
        CredentialsRefused: The server refuses our key.
        ServerProblem: The server cannot say whether a configuration was pushed.
    """
    stronger = [_window(window)] if window is not None else []
    policies = load_policies(config, read_pushed=pushed_reader(target), stronger=stronger)
    settings = policies.config
    with open_api(settings.server, target) as api:
        reader = ServerReader(api, settings, Redactor(settings.redact.patterns).redact)
        yield Look(api=api, reader=reader, policies=policies)


def _window(text: str) -> Layer:
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--window: {text!r}: {error}") from None
    if span < timedelta(seconds=1):
        raise ConfigError(f"--window: {text!r}: expected a duration of at least 1s")
    return {"target.window": Setting(span, "--window")}
