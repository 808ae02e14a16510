"""``watchdog incidents``: lists and shows incidents, and requests to acknowledge or close them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated, Literal

from cyclopts import App, Parameter

from monitoring.cli import UNABLE
from monitoring.cli.saved_state import AsJson, By, StateSession, open_saved_state, requester
from monitoring.cli.session import Address, ConfigPath
from monitoring.cli.terminal import print_error, print_json, print_line, reports_errors
from monitoring.errors import WatchdogError
from monitoring.messages import terminal
from monitoring.messages.incident_json import SCHEMA, incident_json
from monitoring.messages.incident_messages import incident_message, incidents_message, ordered
from monitoring.messages.words import resolution, timestamp
from monitoring.model.incident import Incident
from monitoring.text.escaping import clean

app = App(name="incidents")

Note = Annotated[str, Parameter(name="--note", allow_leading_hyphen=True, help="A note for other people.")]


@app.command(name="list")
@reports_errors
def list_(
    *,
    all_: Annotated[
        bool, Parameter(name="--all", negative="", help="Include incidents that were closed recently.")
    ] = False,
    json: AsJson = False,
    config: ConfigPath = None,
    target: Address = None,
) -> int:
    """List the open incidents, most severe first."""
    with open_saved_state(config, target) as state:
        saved = state.saved
        rows = state.rows([*ordered(saved.incidents.open.values()), *(saved.closed if all_ else ())])
    console = terminal.console(sys.stdout)
    if json:
        print_json(console, {"schema": SCHEMA, "incidents": [incident_json(row) for row in rows]})
    else:
        checked = saved.incidents.began_at is not None
        terminal.show(console, incidents_message(rows, saved.requests, closed=all_, checked=checked))
    return 0


@app.command
@reports_errors
def show(incident: str, /, *, json: AsJson = False, config: ConfigPath = None, target: Address = None) -> int:
    """Show everything known about an incident, open or closed.

    Args:
        incident: Its id: W-12.
    """
    with open_saved_state(config, target) as state:
        found = _find(state, incident)
        if found is None:
            raise WatchdogError(_unknown(incident))
        [row] = state.rows([found])
        cause = state.saved.incidents.open.get(found.finding.symptom_of or "")
    console = terminal.console(sys.stdout)
    if json:
        print_json(console, {"schema": SCHEMA, **incident_json(row)})
    else:
        terminal.show(console, incident_message(row, cause.id if cause else ""))
    return 0


@app.command
@reports_errors
def ack(
    incidents: tuple[str, ...], /, *, by: By = None, note: Note = "", config: ConfigPath = None, target: Address = None
) -> int:
    """Acknowledge incidents: no reminders are sent, but their resolution is still notified.

    Args:
        incidents: Their ids: W-12 W-13.
    """
    return _request("acknowledge", incidents, by, note, config, target)


@app.command
@reports_errors
def close(
    incidents: tuple[str, ...], /, *, by: By = None, note: Note = "", config: ConfigPath = None, target: Address = None
) -> int:
    """Close incidents by hand. Each stays closed until a check finds a new run of it, or it gets worse.

    Args:
        incidents: Their ids: W-12 W-13.
    """
    return _request("close", incidents, by, note, config, target)


def _request(
    what: Literal["acknowledge", "close"],
    names: tuple[str, ...],
    by: str | None,
    note: str,
    config: str | None,
    target: str | None,
) -> int:
    who = requester(by)
    unable = False
    with open_saved_state(config, target) as state:
        when = state.next_check()
        for name in dict.fromkeys(map(_id, names)):
            incident = _find(state, name)
            if incident is None or incident.resolved_at is not None:
                print_error(_unknown(name) if incident is None else _resolved(incident))
                unable = True
            elif already := _already(state, what, incident, who, note):
                print_line(f"{name}: {already}; nothing to do")
            else:
                state.server.leave_request(what, who, subject=incident.id, note=note.strip())
                print_line(f"{name}: {what} requested by {who}; {when}")
    return UNABLE if unable else 0


def _already(state: StateSession, what: str, incident: Incident, who: str, note: str) -> str:
    """Who has already done or requested the same; empty if another person or note makes a difference."""
    for request in state.saved.requests:
        mine = request.by == who and (not note or note.strip() == request.note)
        if (request.what, request.subject) == (what, incident.id) and (mine or what == "close"):
            return f"{what} already requested by {request.by} at {timestamp(request.at)}, and the next check applies it"
    mark = incident.acknowledged
    if what == "acknowledge" and mark and mark.by == who and (not note or note.strip() == mark.note):
        return f"already acknowledged by {mark.by} at {timestamp(mark.at)}"
    return ""


def _id(name: str) -> str:
    """``W-12`` for ``w-12`` and ``12``."""
    upper = name.strip().upper()
    return f"W-{upper}" if upper.isdecimal() else upper


def _find(state: StateSession, name: str) -> Incident | None:
    recent = (*state.saved.incidents.open.values(), *state.saved.closed)
    return _named(name, recent) or _named(name, state.server.state().all_closed())


def _named(name: str, incidents: Iterable[Incident]) -> Incident | None:
    return next((incident for incident in incidents if incident.number and incident.id == _id(name)), None)


def _unknown(name: str) -> str:
    return f"{clean(_id(name), 60)}: no such incident, open or closed; see `watchdog incidents list --all`"


def _resolved(incident: Incident) -> str:
    at = timestamp(incident.resolved_at) if incident.resolved_at else ""
    return f"{incident.id}: already resolved at {at} ({resolution(incident)}); nothing to do"
