"""``watchdog automation``: an automation on the Prefect server that watches the watchdog."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from cyclopts import App, Parameter
from pydantic import TypeAdapter, ValidationError

from monitoring.cli.session import Address, ConfigPath, configuration, duration, open_session
from monitoring.cli.terminal import print_line, print_lines, reports_errors
from monitoring.doctor.silence_automation import SHORTEST, patience, silent_automation, silent_name
from monitoring.errors import ConfigError
from monitoring.model.fields import BlockReference
from monitoring.model.prefect import CHECK_FLOW
from monitoring.text.durations import humanized
from monitoring.text.links import automation_url, deployment_url

app = App(name="automation")

_CHECK = f"{CHECK_FLOW}/check"
#: Long enough for the longest gap of a schedule by weekdays.
_AHEAD = timedelta(days=8)
#: Three and a half days of a schedule that runs every five minutes.
_MAX_DUE = 1_000
_REFERENCE: TypeAdapter[str] = TypeAdapter(BlockReference)


@app.command
@reports_errors
def deploy(
    *,
    notify: Annotated[str, Parameter(help="Type and name of the notification block: slack-webhook/ops.")],
    within: Annotated[
        str | None,
        Parameter(help="How long checks may fail to complete: 15m. [default: three intervals of the check's schedule]"),
    ] = None,
    config: ConfigPath = None,
    target: Address = None,
) -> int:
    """Create or change the automation that notifies you when no check has completed for a while, until one does.

    It runs on the server, so it cannot notice that the server is down. The block's type must be installed there.
    """
    from monitoring.adapters.prefect.publish.automations import Automations

    try:
        reference = _REFERENCE.validate_python(notify)
    except ValidationError:
        raise ConfigError(f"--notify: {notify!r}: expected TYPE/NAME, such as slack-webhook/ops") from None
    span = duration("--within", within, SHORTEST) if within is not None else None
    with open_session(configuration(config, target), target) as server:
        automations = Automations(server.api)
        block_id = automations.notification_block(reference)
        check = automations.deployment(_CHECK)
        span = span or _by_schedule(check)
        page = deployment_url(server.api.ui_url, str(check["id"]))
        name = server.config.target.name
        deployed = automations.deploy(silent_automation(name, span, block_id, page))
        url = automation_url(server.api.ui_url, deployed.id)
    became = {"made": "created", "changed": "changed", "unchanged": "unchanged"}[deployed.became]
    print_lines(
        f"{silent_name(name)}: {became}; notifies {reference} when no check has completed for {humanized(span)}: {url}"
    )
    return 0


@app.command
@reports_errors
def remove(*, config: ConfigPath = None, target: Address = None) -> int:
    """Delete the automation that `watchdog automation deploy` created."""
    from monitoring.adapters.prefect.publish.automations import Automations

    with open_session(configuration(config, target), target) as server:
        removed, address = Automations(server.api).remove(), server.api.url
    for name in removed:
        print_line(f"{name}: removed from {address}")
    if not removed:
        print_lines(f"{silent_name(server.config.target.name)}: not found on {address}")
    return 0


def _by_schedule(check: Any) -> timedelta:
    from monitoring.adapters.prefect.read.schedules import due_between

    now = datetime.now(timezone.utc)
    schedules = [schedule["schedule"] for schedule in check["schedules"] if schedule["active"]]
    try:
        span = patience(due_between(schedules, after=now, until=now + _AHEAD, limit=_MAX_DUE))
    except ValueError as error:
        raise ConfigError(f"{_CHECK}: {error}; pass --within") from None
    if span is None:
        raise ConfigError(f"{_CHECK}: no active schedule with two runs in a week; pass --within, or add a schedule")
    return max(span, SHORTEST)
