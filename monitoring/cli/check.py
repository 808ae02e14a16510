"""``watchdog check``: one look at the server, saved nowhere."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.store.action_requests import known
from monitoring.cli.session import ConfigPath, Target, Window, open_session
from monitoring.cli.terminal import UNABLE, complain, told
from monitoring.cli.timestamps import moment
from monitoring.config.source import load_policies
from monitoring.errors import ServerProblem, WatchdogError
from monitoring.messages import terminal
from monitoring.messages.json_contract import check_json
from monitoring.model.coverage import Coverage
from monitoring.model.finding import Status
from monitoring.model.incident import Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.report import HealthReport
from monitoring.model.request import Silences
from monitoring.usecases.assess import Assessment, assess
from monitoring.usecases.reporting import unreachable_report

At = Annotated[
    str | None,
    Parameter(
        name="--at",
        help="Judge by another clock: 2026-03-10T02:00:00Z. Past states are not rebuilt: what waits, runs or is paused "
        "is seen as it is now, and a run that ended later is not seen at all. For the past, see `watchdog backtest`.",
    ),
]
_EXIT: dict[Status, int] = {"ok": 0, "warning": 1, "critical": 2, "unknown": UNABLE}


@told
def check(
    *,
    config: ConfigPath = None,
    target: Target = None,
    window: Window = None,
    at: At = None,
    json: Annotated[bool, Parameter(negative="", help="Print JSON, as docs/json-contract.md describes it.")] = False,
) -> int:
    """Look at the server now and say what is wrong; nothing is saved, sent or changed.

    Exit status: 0 ok, 1 warning, 2 critical, 3 unknown or unable.
    """
    now = datetime.now(timezone.utc) if at is None else moment("--at", at)
    try:
        with open_session(config, target, window) as session:
            seen = assess(session.reader(), Ledger(), session.policies, now, Coverage())
            report = _with_known(seen, session.api)
    except ServerProblem as problem:
        # Whether a configuration was pushed is unknown; that the server cannot be used says it all.
        name = load_policies(config, read_pushed=lambda: None).config.target.name
        report = unreachable_report(name, now, str(problem))
    console = terminal.console(sys.stdout)
    if json:
        print_json(console, check_json(report))
    else:
        console.print(terminal.health(report))
    return _EXIT[report.status]


def _with_known(seen: Assessment, api: Api) -> HealthReport:
    """Add what the checks remember: which incidents these are, and what is silenced."""
    incidents, silences = Incidents(), Silences()
    if not seen.report.server.problem:
        try:
            incidents, silences = known(api)
        except WatchdogError as problem:
            complain(f"Incidents and silences are not shown: {problem}")
    return seen.report.with_known(incidents.open.values(), (*silences.known, *seen.observation.maintenance))


def print_json(console: Console, document: object) -> None:
    """Print a document as JSON that a program reads: no colour, no wrapping, ASCII only."""
    console.print_json(data=document, ensure_ascii=True, highlight=False)
