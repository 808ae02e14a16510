"""Settings from environment variables: ``WATCHDOG_LATE__AFTER=20m`` sets ``late.after``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError
from pydantic_settings.sources.types import EnvNoneType

from monitoring.config.policy import Layer, layer, leaves
from monitoring.config.problems import dotted, fields_at, is_text, nearest, problems, quoted, shown
from monitoring.config.settings import Config
from monitoring.errors import ConfigError

PREFIX = "WATCHDOG_"
#: Variables with the prefix that are not settings: the path of the file, secrets, and two variables of systemd.
RESERVED = frozenset({"WATCHDOG_CONFIG", "WATCHDOG_SLACK_TOKEN", "WATCHDOG_PING_URL", "WATCHDOG_USEC", "WATCHDOG_PID"})
_NONE = "null"


def environment(environ: Mapping[str, str]) -> list[Layer]:
    """Read the settings in an environment, one layer per variable, weakest first.

    An empty variable counts as not set, because Compose files and CI leave such variables. A variable for a whole
    section, as JSON, is weaker than a variable for a field of the section.

    Raises:
        ConfigError: One line for each variable that is unknown or cannot be read.
    """
    layers: list[Layer] = []
    found: list[str] = []
    for name in sorted(environ, key=lambda name: (name.count("__"), name)):
        if not name.startswith(PREFIX) or name in RESERVED:
            continue
        try:
            layers.append(_read(name, environ[name]))
        except ConfigError as error:
            found.append(str(error))
    if found:
        raise ConfigError("\n".join(found))
    return layers


class _Settings(Config, BaseSettings):  # type: ignore[misc]  # both type model_config, each as its own dict
    """The fields, for pydantic-settings."""


def _read(name: str, raw: str) -> Layer:
    path = tuple(name.removeprefix(PREFIX).lower().split("__"))
    if path[0] in ("rules", "routes", "maintenance"):
        raise ConfigError(f"{name}: {path[0]} cannot be set in the environment; set them in the file")
    if path[-1] not in fields_at(path[:-1]):
        near = nearest(name, _names())
        hint = f"did you mean {near}?" if near else "expected section and field, such as WATCHDOG_LATE__AFTER"
        raise ConfigError(f"{quoted(name)[1:-1]}: unknown variable; {hint}")
    if not raw:
        return {}
    if not is_text(raw):
        raise ConfigError(f"{name}: {shown(path, raw)}: expected text in the encoding of the locale")
    source = EnvSettingsSource(_Settings, env_prefix=PREFIX, env_nested_delimiter="__", env_parse_none_str=_NONE)
    # One variable at a time, so that every value and every problem is attributed to its variable.
    source.env_vars = {name.lower(): EnvNoneType(raw) if raw == _NONE else raw}
    try:
        values: dict[str, Any] = source()
        config = Config.model_validate(values)
    except (SettingsError, RecursionError):
        raise ConfigError(f"{name}: {shown(path, raw)}: expected JSON") from None
    except ValidationError as error:
        lines = []
        for problem in problems(error):
            # A problem within JSON names the field: the variable's whole value would not help, and may contain secrets.
            where = shown(path, raw) if problem.loc == path else quoted(dotted(problem.loc))[1:-1]
            lines.append(f"{name}: {where}: {problem.words}")
        raise ConfigError("\n".join(lines)) from None
    return layer(config, f"environment {name}")


def _names() -> list[str]:
    return [PREFIX + field.replace(".", "__").upper() for field, _ in leaves(Config(), unset=True)]
