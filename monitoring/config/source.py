"""Finds the configuration: a named file, ``watchdog.yaml``, the pushed configuration, or the defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from monitoring.config.environment import environment
from monitoring.config.file import MAX_TEXT, ConfigFile, parse
from monitoring.config.policy import Layer, Policies
from monitoring.errors import ConfigError

FILE_NAME = "watchdog.yaml"
PUSHED_ORIGIN = "pushed configuration"
DEFAULTS_ORIGIN = "defaults"


@dataclass(frozen=True)
class Source:
    """The text of a configuration, and its name: a path, ``pushed configuration`` or ``defaults``."""

    origin: str
    text: str


def find(path: str | Path | None, environ: Mapping[str, str], read_pushed: Callable[[], str | None]) -> Source:
    """Find the configuration.

    Without ``path``, WATCHDOG_CONFIG may name the file. Only if there is none, the pushed configuration is read.

    Raises:
        ConfigError: A file was named, or is in the working directory, and cannot be read; or the pushed
            configuration is empty.
        ServerProblem: There is no file, and the pushed configuration cannot be read. CredentialsRefused likewise.
    """
    named = path or environ.get("WATCHDOG_CONFIG")
    if named:
        return read_file(named)
    # A broken link is a file that cannot be read, not a missing file.
    if os.path.lexists(FILE_NAME):
        return read_file(FILE_NAME)
    pushed = read_pushed()
    if pushed is None:
        return Source(DEFAULTS_ORIGIN, "")
    if not pushed.strip():
        # An empty configuration is never pushed: somebody has emptied the block, and does not want the defaults.
        raise ConfigError(f"{PUSHED_ORIGIN}: empty; push it again with `watchdog config push`")
    return Source(PUSHED_ORIGIN, pushed)


def read_file(path: str | Path) -> Source:
    """Read a configuration file.

    Raises:
        ConfigError: It does not exist, cannot be read, or is not text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(4 * MAX_TEXT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}; expected a configuration file") from None
    try:
        # utf-8-sig: editors on Windows write a byte order mark before the text.
        return Source(str(path), content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8; expected text in UTF-8") from None


def load_policies(
    path: str | Path | None = None,
    *,
    read_pushed: Callable[[], str | None],
    environ: Mapping[str, str] | None = None,
    weaker: Layer | None = None,
    stronger: Iterable[Layer] = (),
) -> Policies:
    """Find, read and merge all layers of the configuration.

    Above the environment, which is that of the process if none is given, are the ``stronger`` layers, weakest first;
    ``weaker`` is below everything that is configured.

    Raises:
        ConfigError: The file or the environment cannot be used; the message has a line for each problem of both.
        ServerProblem: There is no file, and the pushed configuration cannot be read. CredentialsRefused likewise.
    """
    variables = os.environ if environ is None else environ
    found: list[str] = []
    file = ConfigFile()
    origin = DEFAULTS_ORIGIN
    from_environment: list[Layer] = []
    try:
        from_environment = environment(variables)
    except ConfigError as error:
        found.append(str(error))
    try:
        source = find(path, variables, read_pushed)
        origin = source.origin
        file = parse(source.text, source.origin)
    except ConfigError as error:
        found.insert(0, str(error))
    if found:
        raise ConfigError("\n".join(found))
    return Policies(
        file.config, origin=origin, lines=file.lines, weaker=weaker, stronger=[*from_environment, *stronger]
    )
