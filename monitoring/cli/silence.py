"""``watchdog silence``: suppresses notifications of some incidents for a time."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from typing import Annotated, Literal

from cyclopts import App, Parameter

from monitoring.cli.saved_state import AsJson, By, open_saved_state, requester
from monitoring.cli.session import Address, ConfigPath
from monitoring.cli.terminal import print_json, print_line, print_lines, reports_errors
from monitoring.cli.timestamps import parse_time
from monitoring.config.match import KnownCheck
from monitoring.errors import ConfigError, WatchdogError
from monitoring.messages import terminal, words
from monitoring.messages.incident_json import SCHEMA, request_json
from monitoring.messages.incident_messages import named, silences_message
from monitoring.messages.json_contract import silence_json
from monitoring.model.silence import Silence
from monitoring.notifications.routing import silence_of
from monitoring.text.durations import parse_duration
from monitoring.text.escaping import clean

app = App(name="silence")

#: A longer silence would be forgotten, and would hide everything new.
_MAX_DURATION = timedelta(days=365)


def _text(name: str, description: str) -> Parameter:
    return Parameter(name=name, allow_leading_hyphen=True, help=description)


@app.command
@reports_errors
def add(
    *,
    reason: Annotated[str, _text("--reason", "The reason that reports show.")],
    deployment: Annotated[str | None, _text("--deployment", "Shell-style pattern on FLOW/DEPLOYMENT: 'etl/*'.")] = None,
    tag: Annotated[str | None, _text("--tag", "A tag of the deployment.")] = None,
    pool: Annotated[str | None, _text("--pool", "The work pool, or that of the deployment.")] = None,
    check: Annotated[KnownCheck | None, Parameter(name="--check", help="The check that finds it.")] = None,
    owner: Annotated[str | None, _text("--owner", "The owner.")] = None,
    severity: Annotated[
        Literal["warning", "critical"] | None, Parameter(name="--severity", help="The severity.")
    ] = None,
    for_: Annotated[str | None, Parameter(name="--for", help="How long: 4h, 90m, 3d.")] = None,
    until: Annotated[str | None, Parameter(name="--until", help="Until when: 2026-03-10T08:00:00+01:00.")] = None,
    from_: Annotated[str | None, Parameter(name="--from", help="From when. [default: now]")] = None,
    by: By = None,
    config: ConfigPath = None,
    target: Address = None,
) -> int:
    """Suppress notifications of incidents that match all given options, for a time. They are still found and shown."""
    who = requester(by)
    matchers: dict[str, str | None] = {
        "deployment": deployment,
        "tag": tag,
        "pool": pool,
        "check": check,
        "owner": owner,
        "severity": severity,
    }
    given = {name: value for name, value in matchers.items() if value is not None}
    if not given:
        raise ConfigError(f"expected at least one of {', '.join(f'--{name}' for name in matchers)}")
    for name, value in (*given.items(), ("reason", reason)):
        if not value.strip():
            raise ConfigError(f"--{name}: empty; expected text")
    starts, ends = _times(from_, for_, until, datetime.now(timezone.utc))
    with open_saved_state(config, target) as state:
        silence = Silence.model_validate(
            {**given, "starts_at": starts, "ends_at": ends, "author": who, "reason": reason.strip()}
        )
        when = state.next_check()
        state.server.leave_request("silence", who, note=silence.reason, silence=silence)
        matched = [incident for incident in state.saved.incidents.open.values() if silence.matches(incident.labels)]
    print_line(f"Silence of {words.matched(silence)} {words.period(silence)} requested by {who}; {when}")
    if matched:
        print_line(f"It matches {words.counted(len(matched), 'open incident')} now: {named(matched)}")
    else:
        print_lines("It matches no open incident now")
    return 0


@app.command(name="list")
@reports_errors
def list_(*, json: AsJson = False, config: ConfigPath = None, target: Address = None) -> int:
    """List active, future and recently ended silences, action requests, and maintenance windows."""
    with open_saved_state(config, target) as state:
        now = state.server.now
        known = sorted(state.saved.silences.known, key=lambda silence: (silence.ends_at <= now, silence.starts_at))
        requests = [request for request in state.saved.requests if request.what in ("silence", "expire")]
        windows = [*state.server.open_windows(), *state.server.next_windows()]
    console = terminal.console(sys.stdout)
    if json:
        document = {
            "schema": SCHEMA,
            "silences": [_silence_json(silence, now) for silence in known],
            "maintenance": [_silence_json(window, now) for window in windows],
            "requests": [request_json(request) for request in requests],
        }
        print_json(console, document)
        return 0
    terminal.show(console, silences_message([*known, *windows], requests, now))
    return 0


@app.command
@reports_errors
def expire(silence: str, /, *, by: By = None, config: ConfigPath = None, target: Address = None) -> int:
    """End a silence now. Incidents that it matched and that still fire are notified then.

    Args:
        silence: Its id: S-3.
    """
    who = requester(by)
    upper = silence.strip().upper()
    name = f"S-{upper}" if upper.isdecimal() else upper
    with open_saved_state(config, target) as state:
        found = next((silence for silence in state.saved.silences.known if silence.id == name), None)
        if found is None:
            raise WatchdogError(f"{clean(name, 60)}: no such silence; see `watchdog silence list`")
        if found.ends_at <= state.server.now:
            print_line(f"{name}: already ended at {words.timestamp(found.ends_at)}; nothing to do")
            return 0
        if any((request.what, request.subject) == ("expire", name) for request in state.saved.requests):
            print_line(f"{name}: its end is already requested, and the next check applies it; nothing to do")
            return 0
        when = state.next_check()
        state.server.leave_request("expire", who, subject=name)
        matched = [incident for incident in state.saved.incidents.open.values() if found.matches(incident.labels)]
        others = [
            silence for silence in (*state.saved.silences.known, *state.server.open_windows()) if silence.id != name
        ]
        covered = [incident for incident in matched if silence_of(incident, others, state.server.now)]
    print_line(f"{name}: end requested by {who}; {when}")
    if freed := [incident for incident in matched if incident not in covered]:
        print_line(f"Notified then, unless something else suppresses it: {named(freed)}")
    if covered:
        print_line(f"Still silenced by another silence or maintenance window: {named(covered)}")
    return 0


def _silence_json(silence: Silence, now: datetime) -> dict[str, object]:
    return {**silence_json(silence), "status": words.when(silence, now)}


def _times(from_: str | None, for_: str | None, until: str | None, now: datetime) -> tuple[datetime, datetime]:
    """When a silence begins and ends.

    Raises:
        ConfigError: The end is missing, not after the beginning, or too far away.
    """
    starts = max(now, parse_time("--from", from_)) if from_ is not None else now
    if (for_ is None) == (until is None):
        raise ConfigError("expected an end, either --for 4h or --until 2026-03-10T08:00:00+01:00")
    if until is not None:
        option, ends = "--until", parse_time("--until", until)
    else:
        try:
            option, ends = "--for", starts + parse_duration(for_ or "")
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"--for: {for_!r}: {error}") from None
    if ends <= starts:
        raise ConfigError(f"{option}: ends at {words.timestamp(ends)}; expected an end after {words.timestamp(starts)}")
    if ends - now > _MAX_DURATION:
        raise ConfigError(f"{option}: ends at {words.timestamp(ends)}; expected an end within 365 d from now")
    return starts, ends
