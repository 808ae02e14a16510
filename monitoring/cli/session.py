"""What commands share: how they open the server, and the options for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Annotated

from cyclopts import Parameter

from monitoring import wiring
from monitoring.config.policy import Layer, Setting
from monitoring.errors import ConfigError
from monitoring.model.target import Target as TargetServer
from monitoring.text.durations import parse_duration
from monitoring.wiring import Session, load_configuration

ConfigPath = Annotated[
    str | None, Parameter(name="--config", help="Configuration file. [default: WATCHDOG_CONFIG, then watchdog.yaml]")
]
Target = Annotated[str | None, Parameter(name="--target", help="API address to use instead of PREFECT_API_URL.")]
Window = Annotated[
    str | None,
    Parameter(name="--window", help="How far back ended runs are read: 24h. [default: target.window]"),
]


@contextmanager
def open_session(config: str | None, target: str | None, window: str | None = None) -> Iterator[Session]:
    """Open the server, as configured.

    Raises:
        ConfigError: The configuration, the address or the window cannot be used.
        CredentialsRefused: The server refuses our key.
        ServerProblem: The server cannot say whether a configuration was pushed.
    """
    server = TargetServer(address=target)
    policies = load_configuration(server, config, [_window(window)] if window is not None else [])
    with wiring.open_session(server, policies, datetime.now(timezone.utc)) as session:
        yield session


def _window(text: str) -> Layer:
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--window: {text!r}: {error}") from None
    if span < timedelta(seconds=1):
        raise ConfigError(f"--window: {text!r}: expected a duration of at least 1s")
    return {"target.window": Setting(span, "--window")}
