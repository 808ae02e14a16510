"""``watchdog automation``: an automation on the Prefect server that watches the watchdog."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from cyclopts import App, Parameter
from pydantic import TypeAdapter, ValidationError

from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.publish.automations import Automations
from monitoring.adapters.prefect.read.schedules import due_between
from monitoring.adapters.prefect.store.pushed_config import pushed_reader
from monitoring.cli.session import ConfigPath, Target
from monitoring.cli.terminal import say, told
from monitoring.config.fields import BlockReference
from monitoring.config.source import load_policies
from monitoring.doctor.silence_automation import SHORTEST, patience, silent_automation, silent_name
from monitoring.errors import ConfigError
from monitoring.model.prefect import CHECK_FLOW
from monitoring.model.target import Target as TargetServer
from monitoring.text.durations import parse_duration, spoken
from monitoring.text.links import automation_url, deployment_url

app = App(name="automation", help="Let the Prefect server itself tell when no check completes.")

_CHECK = f"{CHECK_FLOW}/check"
#: The longest pause of a schedule that goes by weekdays is in it.
_AHEAD = timedelta(days=8)
#: Of a schedule of every five minutes, three days and a half.
_MOST_DUE = 1_000
_REFERENCE: TypeAdapter[str] = TypeAdapter(BlockReference)


@app.command
@told
def deploy(
    *,
    notify: Annotated[str, Parameter(help="Type and name of the notification block to tell: slack-webhook/ops.")],
    within: Annotated[
        str | None,
        Parameter(help="How long no check may complete: 15m. [default: three intervals of the check's schedule]"),
    ] = None,
    config: ConfigPath = None,
    target: Target = None,
) -> int:
    """Make or change the automation that tells when no check has completed for a while, and again until one does.

    It runs on the server, and cannot see the death of that. The server must have the block's type installed.
    """
    try:
        reference = _REFERENCE.validate_python(notify)
    except ValidationError:
        raise ConfigError(f"--notify: {notify!r}: expected TYPE/NAME, such as slack-webhook/ops") from None
    span = _span(within) if within is not None else None
    settings = load_policies(config, read_pushed=pushed_reader(TargetServer(address=target))).config
    with open_api(settings.server, TargetServer(address=target)) as api:
        automations = Automations(api)
        block_id = automations.notification_block(reference)
        check = automations.deployment(_CHECK)
        span = span or _by_schedule(check)
        page = deployment_url(api.ui_url, str(check["id"]))
        deployed = automations.deploy(silent_automation(settings.target.name, span, block_id, page))
        url = automation_url(api.ui_url, deployed.id)
    became = {"made": "made", "changed": "changed", "unchanged": "there already"}[deployed.became]
    say(
        f"{silent_name(settings.target.name)}: {became}; tells {reference} when no check has completed for "
        f"{spoken(span)}: {url}"
    )
    return 0


@app.command
@told
def remove(*, config: ConfigPath = None, target: Target = None) -> int:
    """Delete the automation that `watchdog automation deploy` made."""
    settings = load_policies(config, read_pushed=pushed_reader(TargetServer(address=target))).config
    name = silent_name(settings.target.name)
    with open_api(settings.server, TargetServer(address=target)) as api:
        removed = Automations(api).remove(name)
        say(f"{name}: removed from {api.url}" if removed else f"{name}: there is none on {api.url}")
    return 0


def _span(text: str) -> timedelta:
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--within: {text!r}: {error}") from None
    if span < SHORTEST:
        raise ConfigError(f"--within: {text!r}: expected a duration of at least {spoken(SHORTEST)}")
    return span


def _by_schedule(check: Any) -> timedelta:
    now = datetime.now(timezone.utc)
    schedules = [one["schedule"] for one in check["schedules"] if one["active"]]
    try:
        span = patience(due_between(schedules, after=now, until=now + _AHEAD, limit=_MOST_DUE))
    except ValueError as error:
        raise ConfigError(f"{_CHECK}: {error}: give --within") from None
    if span is None:
        raise ConfigError(f"{_CHECK}: no active schedule that fires twice in a week: give --within, or a schedule")
    return max(span, SHORTEST)
