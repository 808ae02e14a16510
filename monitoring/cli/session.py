"""What commands share: the options that name a server and its configuration, and how both are opened."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from monitoring.config.policy import Layer, Policies
from monitoring.config.source import load_policies
from monitoring.errors import ConfigError
from monitoring.model.target import Target
from monitoring.text.durations import parse_duration, spoken

if TYPE_CHECKING:
    from monitoring.wiring import Session

ConfigPath = Annotated[
    str | None, Parameter(name="--config", help="Configuration file. [default: WATCHDOG_CONFIG, then watchdog.yaml]")
]
Address = Annotated[str | None, Parameter(name="--target", help="API address to use instead of PREFECT_API_URL.")]


def configuration(config: str | None, target: str | None, stronger: Iterable[Layer] = ()) -> Policies:
    """Load the configuration. The server is needed, and Prefect imported, only where there is no file.

    Args:
        config: The file that was named, if any.
        target: The server's address, where it was given.
        stronger: Layers above the environment, weakest first.

    Raises:
        ConfigError: The configuration or the address cannot be used.
        CredentialsRefused: The server refuses our key.
        ServerProblem: The server cannot say whether a configuration was pushed.
    """
    return load_policies(config, read_pushed=partial(pushed_configuration, target), stronger=stronger)


def pushed_configuration(target: str | None) -> str | None:
    """Read the configuration that was pushed to the server. Errors are those of ``configuration``."""
    from monitoring.adapters.prefect.store.pushed_config import read_pushed

    return read_pushed(Target(address=target))


def open_session(policies: Policies, target: str | None) -> AbstractContextManager[Session]:
    """Open the server, as configured, at the time of the call.

    Raises:
        ConfigError: The address cannot be used.
    """
    from monitoring import wiring

    return wiring.open_session(Target(address=target), policies, datetime.now(timezone.utc))


def duration(option: str, text: str, minimum: timedelta = timedelta(seconds=1)) -> timedelta:
    """Read a duration that was given as an option.

    Args:
        option: Its name, for the error: ``--window``.
        text: What was given.
        minimum: The shortest duration that may be given.

    Raises:
        ConfigError: It is no duration, or a shorter one.
    """
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {text!r}: {error}") from None
    if span < minimum:
        raise ConfigError(f"{option}: {text!r}: expected a duration of at least {spoken(minimum)}")
    return span
