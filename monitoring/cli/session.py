"""The options for the server and its configuration, which commands share, and how to open both."""

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
from monitoring.text.durations import humanized, parse_duration

if TYPE_CHECKING:
    from monitoring.wiring import Session

ConfigPath = Annotated[
    str | None, Parameter(name="--config", help="Configuration file. [default: WATCHDOG_CONFIG, then watchdog.yaml]")
]
Address = Annotated[str | None, Parameter(name="--target", help="API address to use instead of PREFECT_API_URL.")]


def configuration(config: str | None, target: str | None, stronger: Iterable[Layer] = ()) -> Policies:
    """Load the configuration, with layers above the environment, weakest first.

    Only if there is no file, Prefect is imported and the server queried.

    Raises:
        ConfigError: The configuration or the address cannot be used.
        CredentialsRefused: The server rejects the API key.
        ServerProblem: There is no file, and the pushed configuration cannot be read.
    """
    return load_policies(config, read_pushed=partial(pushed_configuration, target), stronger=stronger)


def pushed_configuration(target: str | None) -> str | None:
    """Read the configuration that was pushed to the server. Errors are those of ``configuration``."""
    from monitoring.adapters.prefect.store.documents import read_pushed

    return read_pushed(Target(address=target))


def open_session(policies: Policies, target: str | None) -> AbstractContextManager[Session]:
    """Open a session with the server, as configured, at the time of the call.

    Raises:
        ConfigError: The address cannot be used.
    """
    from monitoring import wiring

    return wiring.open_session(Target(address=target), policies, datetime.now(timezone.utc))


def duration(option: str, text: str, minimum: timedelta = timedelta(seconds=1)) -> timedelta:
    """Parse the duration in an option, such as ``--window``.

    Raises:
        ConfigError: It is not a duration, or too short.
    """
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {text!r}: {error}") from None
    if span < minimum:
        raise ConfigError(f"{option}: {text!r}: expected a duration of at least {humanized(minimum)}")
    return span
