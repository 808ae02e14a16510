"""``watchdog silence``: for so long nobody is told of some incidents."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from typing import Annotated, Literal

from cyclopts import App, Parameter

from monitoring.adapters.prefect.read.maintenance import next_windows
from monitoring.adapters.prefect.store.action_requests import new_name
from monitoring.cli.check import print_json
from monitoring.cli.saved_state import AsJson, By, asking, remembered
from monitoring.cli.session import ConfigPath, Target
from monitoring.cli.terminal import say, say_line, told
from monitoring.cli.timestamps import moment
from monitoring.errors import ConfigError, WatchdogError
from monitoring.messages import incident_list as render
from monitoring.messages import incident_words, terminal, words
from monitoring.messages.json_contract import silence_json
from monitoring.model.finding import CheckName
from monitoring.model.request import Request
from monitoring.model.silence import Silence
from monitoring.text.durations import parse_duration
from monitoring.text.escaping import clean

app = App(name="silence", help="Add, list and end silences.")

#: A silence that outlasts this was forgotten, and hides whatever comes.
LONGEST = timedelta(days=365)


def _text(name: str, what: str) -> Parameter:
    return Parameter(name=name, allow_leading_hyphen=True, help=what)


@app.command
@told
def add(
    *,
    reason: Annotated[str, _text("--reason", "What for, as reports say it.")],
    deployment: Annotated[str | None, _text("--deployment", "Shell-style pattern on FLOW/DEPLOYMENT: 'etl/*'.")] = None,
    tag: Annotated[str | None, _text("--tag", "A tag of the deployment.")] = None,
    pool: Annotated[str | None, _text("--pool", "The work pool, or the deployment's.")] = None,
    check: Annotated[CheckName | None, Parameter(name="--check", help="The check that finds it.")] = None,
    owner: Annotated[str | None, _text("--owner", "The owner.")] = None,
    severity: Annotated[
        Literal["warning", "critical"] | None, Parameter(name="--severity", help="The severity.")
    ] = None,
    for_: Annotated[str | None, Parameter(name="--for", help="How long: 4h, 90m, 3d.")] = None,
    until: Annotated[str | None, Parameter(name="--until", help="Until when: 2026-03-10T08:00:00+01:00.")] = None,
    from_: Annotated[str | None, Parameter(name="--from", help="From when. [default: now]")] = None,
    by: By = None,
    config: ConfigPath = None,
    target: Target = None,
) -> int:
    """Tell nobody of incidents that match all that is given, for a time. They are found and shown all the same."""
    who = asking(by)
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
    with remembered(config, target) as memory:
        silence = Silence.model_validate(
            {**given, "starts_at": starts, "ends_at": ends, "author": who, "reason": reason.strip()}
        )
        when = memory.next_check()
        request = Request(name=new_name(), what="silence", at=memory.now, by=who, note=silence.reason, silence=silence)
        memory.ask(request)
        matched = [one for one in memory.saved.incidents.open.values() if silence.matches(one.labels)]
    say_line(f"Asked to silence {incident_words.matched(silence)} {incident_words.period(silence)}, by {who}; {when}")
    if matched:
        say_line(f"It matches {words.counted(len(matched), 'open incident')} now: {render.named(matched)}")
    else:
        say("It matches no open incident now")
    return 0


@app.command(name="list")
@told
def list_(*, json: AsJson = False, config: ConfigPath = None, target: Target = None) -> int:
    """List silences that hold, wait or ended in the last days, what was asked for, and the maintenance windows."""
    with remembered(config, target) as memory:
        known = sorted(memory.saved.silences.known, key=lambda one: (one.ends_at <= memory.now, one.starts_at))
        asked = [one for one in memory.saved.requests if one.what in ("silence", "expire")]
        windows = [*memory.open_windows, *next_windows(memory.config.maintenance, memory.now)]
        now = memory.now
    console = terminal.console(sys.stdout)
    if json:
        document = {
            "schema": render.SCHEMA,
            "silences": [{**silence_json(one), "status": incident_words.when(one, now)} for one in known],
            "maintenance": [{**silence_json(one), "status": incident_words.when(one, now)} for one in windows],
            "requests": [render.request_json(one) for one in asked],
        }
        print_json(console, document)
        return 0
    if known or windows:
        console.print(render.silences([*known, *windows], now))
    else:
        say("Nothing is silenced.")
    console.print(render.requests(asked))
    return 0


@app.command
@told
def expire(silence: str, /, *, by: By = None, config: ConfigPath = None, target: Target = None) -> int:
    """End a silence now. What it matched and still fires is told then.

    Args:
        silence: Its id: S-3.
    """
    who = asking(by)
    upper = silence.strip().upper()
    name = f"S-{upper}" if upper.isdecimal() else upper
    with remembered(config, target) as memory:
        found = next((one for one in memory.saved.silences.known if one.id == name), None)
        if found is None:
            raise WatchdogError(f"{clean(name, 60)}: no such silence; see `watchdog silence list`")
        if found.ends_at <= memory.now:
            say_line(f"{name}: ended at {words.moment(found.ends_at)} already; nothing more to do")
            return 0
        if any((one.what, one.subject) == ("expire", name) for one in memory.saved.requests):
            say_line(f"{name}: somebody asked to end it already, and the next check does; nothing more to do")
            return 0
        when = memory.next_check()
        memory.ask(Request(name=new_name(), what="expire", at=memory.now, by=who, subject=name))
        matched = [one for one in memory.saved.incidents.open.values() if found.matches(one.labels)]
    say_line(f"{name}: asked to end it, by {who}; {when}")
    if matched:
        say_line(f"Told then, unless something else holds it: {render.named(matched)}")
    return 0


def _times(from_: str | None, for_: str | None, until: str | None, now: datetime) -> tuple[datetime, datetime]:
    """When a silence begins and ends.

    Raises:
        ConfigError: That cannot be.
    """
    starts = max(now, moment("--from", from_)) if from_ is not None else now
    if (for_ is None) == (until is None):
        raise ConfigError("expected an end, either --for 4h or --until 2026-03-10T08:00:00+01:00")
    if until is not None:
        option, ends = "--until", moment("--until", until)
    else:
        try:
            option, ends = "--for", starts + parse_duration(for_ or "")
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"--for: {for_!r}: {error}") from None
    if ends <= starts:
        raise ConfigError(f"{option}: ends at {words.moment(ends)}; expected an end after {words.moment(starts)}")
    if ends - now > LONGEST:
        raise ConfigError(f"{option}: ends at {words.moment(ends)}; expected an end within 365 d from now")
    return starts, ends
