"""``watchdog doctor``: whether the watchdog itself is set up correctly, and how to fix each fault."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from monitoring.cli.session import Address, ConfigPath, open_session, pushed_configuration
from monitoring.cli.terminal import print_json, reports_errors
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.config.source import DEFAULTS_ORIGIN, FILE_NAME, load_policies
from monitoring.doctor import output as render
from monitoring.doctor.examination import Examined, Outcome, examine, not_examined, worst
from monitoring.doctor.installation import Installation
from monitoring.doctor.matches import examine_matches
from monitoring.doctor.receivers import Workspace, channels, covered, examine_alerts
from monitoring.errors import ConfigError, CredentialsRefused, ServerProblem, Unreachable, WatchdogError
from monitoring.messages import terminal

if TYPE_CHECKING:
    from monitoring.adapters.prefect.client.api import Api

_EXIT: dict[Outcome, int] = {"ok": 0, "warning": 1, "fault": 2}


@reports_errors
def doctor(
    *,
    config: ConfigPath = None,
    target: Address = None,
    json: Annotated[bool, Parameter(negative="", help="Print JSON, as docs/doctor.md describes it.")] = False,
) -> int:
    """Run ``watchdog doctor``; its help is in ``monitoring.cli``."""
    now = datetime.now(timezone.utc)
    policies, examined = _configuration(config, target)
    usable = policies is not None
    policies = policies or Policies(Config(), origin=DEFAULTS_ORIGIN)
    found, workspace = _read(policies, target, now)
    examined += examine(found, policies.config)
    if usable:
        examined += examine_matches(found, policies)
        examined += examine_alerts(found, workspace, policies.config)
    else:
        examined.append(not_examined("alerts", "the configuration cannot be used"))
    console = terminal.console(sys.stdout)
    if json:
        print_json(console, render.doctor_json(examined, policies.config.target.name, now))
    else:
        terminal.show(console, render.doctor_message(examined))
    return _EXIT[worst(examined)]


def _configuration(path: str | None, target: str | None) -> tuple[Policies | None, list[Examined]]:
    """Examine the configuration; None in its place if it cannot be used."""
    name = "configuration"
    try:
        policies = load_policies(path, read_pushed=lambda: _pushed(target))
    except ConfigError as error:
        fix = "correct it, then: watchdog config check"
        return None, [Examined(name, "fault", line, fix) for line in str(error).splitlines()]
    except (ServerProblem, CredentialsRefused):
        # There is no file, so only the environment is known.
        policies = load_policies(path, read_pushed=lambda: None)
        return policies, [not_examined(name, "the server cannot be used, and it may have a pushed configuration")]
    nothing_else = (
        f"; there is no {FILE_NAME} here, and no pushed configuration" if policies.origin == DEFAULTS_ORIGIN else ""
    )
    valid = Examined(name, "ok", f"{policies.origin}: valid{nothing_else}")
    return policies, [valid, *covered(policies.config.routes, policies.origin)]


def _pushed(target: str | None) -> str | None:
    try:
        return pushed_configuration(target)
    except ConfigError as error:
        # An invalid address is reported with the examination of the server.
        raise Unreachable(str(error)) from None


def _read(policies: Policies, target: str | None, now: datetime) -> tuple[Installation, Workspace | None]:
    from monitoring.adapters.prefect.read.installation import read_installation, unusable
    from monitoring.adapters.slack.examine import examine as examine_slack

    config = policies.config
    try:
        with open_session(policies, target) as server:
            found = read_installation(server.api, server.state(), policies, server.redact, now)
            token = _token(server.api, config, found)
    except ConfigError as error:
        found = unusable("", now, error, config)
        token = os.environ.get("WATCHDOG_SLACK_TOKEN", "").strip()
    return found, examine_slack(token, config.slack, channels(config)) if token and channels(config) else None


def _token(api: Api, config: Config, found: Installation) -> str | None:
    if found.secrets[config.slack.token_secret].looks == "nothing":
        return None
    try:
        return api.secret(config.slack.token_secret, "WATCHDOG_SLACK_TOKEN")
    except WatchdogError:
        # It was there a little earlier. The next examination will show what has changed.
        return None
