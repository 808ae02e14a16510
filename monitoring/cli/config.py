"""``watchdog config``: the configuration, whether it is valid, and where each value comes from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cyclopts import App
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitoring.cli import UNABLE
from monitoring.cli.session import Address, ConfigPath, configuration, open_session
from monitoring.cli.terminal import print_error, print_line, print_lines, reports_errors
from monitoring.config.file import parse
from monitoring.config.policy import Layer, Policies, format_value
from monitoring.config.problems import secret_like
from monitoring.config.source import DEFAULTS_ORIGIN, FILE_NAME, PUSHED_ORIGIN, find, read_file
from monitoring.config.unmatched import parts, unmatched
from monitoring.errors import BadAnswer, ConfigError, CredentialsRefused, ServerProblem, WatchdogError
from monitoring.messages.words import counted
from monitoring.model.base import Value
from monitoring.text.escaping import clean

if TYPE_CHECKING:
    from monitoring.adapters.prefect.client.api import Api

app = App(name="config")

_PIPE_WIDTH = 160


@app.command
@reports_errors
def check(path: str | None = None, /, *, config: ConfigPath = None, target: Address = None) -> int:
    """Show which configuration is used and whether it is valid: exit status 0, or 3 with a line for each problem.

    Args:
        path: The file; the same as --config.
    """
    if path and config:
        raise ConfigError(f"expected one file, but got {path} and --config {config}")
    policies = configuration(path or config, target)
    _refuse_slow_patterns(policies, policies.origin)
    nothing_else = (
        f"; there is no {FILE_NAME} here, and no pushed configuration" if policies.origin == DEFAULTS_ORIGIN else ""
    )
    print_lines(f"{policies.origin}: valid{nothing_else}")
    if any(parts(policies, ())):
        _print_unmatched(policies, target)
    return 0


@app.command
@reports_errors
def show(deployment: str | None = None, /, *, config: ConfigPath = None, target: Address = None) -> int:
    """Show every field with its value and where it was set, or the policy of a deployment.

    Args:
        deployment: FLOW/DEPLOYMENT. Its tags and work pool are read from the server. If the server cannot be reached,
            rules by tag or pool are left out, with a message, and the exit status is 3.
    """
    policies = configuration(config, target)
    if deployment is None:
        _print_settings(policies.settings(), f"Configuration: {policies.origin}")
        if policies.config.rules:
            print_lines("Not shown: the changes by rules. Name a deployment to see its policy.")
        if policies.config.routes or policies.config.maintenance:
            routes, windows = len(policies.config.routes), len(policies.config.maintenance)
            print_lines(
                f"Not shown: {counted(routes, 'route')} and {counted(windows, 'maintenance window')}, see the file; "
                "`watchdog silence list` shows the windows."
            )
        return 0
    return _show_deployment(policies, deployment, target)


@app.command
@reports_errors
def push(path: str | None = None, /, *, target: Address = None) -> int:
    """Save a configuration on the server, for checks that find no file, such as those from an installed package.

    Args:
        path: The file. [default: WATCHDOG_CONFIG, then watchdog.yaml]
    """
    source = read_file(path) if path else find(None, os.environ, lambda: None)
    if source.origin == DEFAULTS_ORIGIN:
        raise ConfigError(f"{FILE_NAME}: not found in this folder; pass the path of the file")
    if not source.text.strip():
        raise ConfigError(f"{source.origin}: empty; expected a configuration")
    policies = Policies(parse(source.text, source.origin).config)
    _refuse_slow_patterns(policies, source.origin)
    with open_session(policies, target) as server:
        if server.push_configuration(source.text):
            print_lines(
                f"{source.origin}: valid, and pushed to {server.api.url}; used wherever no {FILE_NAME} is found"
            )
        else:
            print_lines(f"{source.origin}: valid, and already the pushed configuration on {server.api.url}")
    return 0


def _print_unmatched(policies: Policies, target: str | None) -> None:
    """Print what matches nothing on the server, if an address is given: Prefect's profiles take a second to import."""
    if not (target or os.environ.get("PREFECT_API_URL") or policies.origin == PUSHED_ORIGIN):
        print_error("Set PREFECT_API_URL to see whether all rules, routes and windows match something on the server")
        return
    from monitoring.adapters.prefect.read.collection import Collection
    from monitoring.adapters.prefect.read.subjects import read_subjects

    try:
        with open_session(policies, target) as server, server.api.within(policies.config.server.deadline):
            collection = Collection(server.api, policies.config, server.redact, server.now, policies)
            subjects = read_subjects(collection)
            saved, _ = server.state().load()
        problem = next((query.detail for query in collection.coverage.missing), None)
    except WatchdogError as error:
        problem = str(error)
    if problem:
        print_error(f"Not compared with what is on the server: {problem}")
        return
    silences = [silence for silence in saved.silences.known if silence.ends_at > server.now]
    for part, detail in unmatched(policies, silences, subjects):
        print_line(f"warning: {part}: {detail}")


def _refuse_slow_patterns(policies: Policies, origin: str) -> None:
    """Try each pattern of the user's on texts that are hard for it.

    Raises:
        ConfigError: One is too slow: what a run writes could keep it busy for ever. The pattern itself is not in the
            message, as it may be a secret.
    """
    patterns = policies.config.redact.patterns
    if not patterns:
        return
    from monitoring.text.own_patterns import is_slow

    slow = [number for number, pattern in enumerate(patterns, 1) if is_slow(pattern)]
    if slow:
        raise ConfigError(
            "\n".join(
                f"{origin}: redact.patterns[{number}]: too slow on some long texts, which would be withheld; "
                "expected a pattern without repetitions of repetitions such as (a+)+, and with bounds such as {1,100}"
                for number in slow
            )
        )


class _Deployment(Value):
    tags: tuple[str, ...] = ()
    work_pool_name: str | None = None


def _show_deployment(policies: Policies, name: str, target: str | None) -> int:
    flow, slash, own_name = name.partition("/")
    if not (flow and slash and own_name) or "/" in own_name:
        raise WatchdogError(f"{name}: expected FLOW/DEPLOYMENT, such as etl/nightly")
    try:
        with open_session(policies, target) as server:
            found = _find(server.api, flow, own_name)
    except (ServerProblem, CredentialsRefused, ConfigError) as error:
        _print_settings(policies.explain(name), name)
        print_error(f"{error}\n{name}: its tags and work pool are unknown, so rules by tag or pool are left out above")
        return UNABLE
    _print_settings(policies.explain(name, found.tags, found.work_pool_name), name)
    return 0


def _find(api: Api, flow: str, name: str) -> _Deployment:
    try:
        answer: Any = api.get(f"/deployments/name/{quote(flow, safe='')}/{quote(name, safe='')}")
        return _Deployment.model_validate(answer)
    except ValidationError:
        raise BadAnswer(f"{api.url} returned an unreadable description of {flow}/{name}") from None
    except BadAnswer as problem:
        if problem.status == 404:
            raise WatchdogError(
                f"{flow}/{name}: no such deployment on {api.url}; see `prefect deployment ls`"
            ) from None
        raise


def _print_settings(settings: Layer, title: str) -> None:
    table = Table(title=Text(clean(title)), title_justify="left", box=None, pad_edge=False)
    for heading in ("field", "value", "source"):
        # Folded and never cut: a cut value is wrong.
        table.add_column(heading, overflow="fold")
    for name, setting in settings.items():
        value = format_value(setting.value)
        shown = "(looks like a secret: not shown)" if secret_like(value) else clean(value)
        table.add_row(name, Text(shown), Text(clean(setting.source)))
    console = Console(highlight=False)
    if not console.is_terminal:
        # Rich assumes a narrow terminal in a pipe, and would fold the table.
        console.width = max(console.width, _PIPE_WIDTH)
    console.print(table)
