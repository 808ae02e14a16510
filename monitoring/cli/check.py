"""``watchdog check``: a single check of the server that saves nothing."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from monitoring.cli import UNABLE
from monitoring.cli.session import Address, ConfigPath, configuration, duration, open_session
from monitoring.cli.terminal import print_error, print_json, reports_errors
from monitoring.cli.timestamps import parse_time
from monitoring.config.policy import Layer, Setting
from monitoring.config.source import load_policies
from monitoring.errors import ServerProblem, WatchdogError
from monitoring.messages import terminal
from monitoring.messages.json_contract import check_json
from monitoring.messages.report_messages import health_message
from monitoring.model.coverage import Coverage
from monitoring.model.finding import Status
from monitoring.model.incident import Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.report import HealthReport
from monitoring.model.request import Silences
from monitoring.usecases.assess import Assessment, assess, unreachable_report

if TYPE_CHECKING:
    from monitoring.wiring import Session

Window = Annotated[
    str | None,
    Parameter(name="--window", help="How far back ended runs are read: 24h. [default: target.window]"),
]
At = Annotated[
    str | None,
    Parameter(
        name="--at",
        help="Judge by another clock: 2026-03-10T02:00:00Z. Past states are not restored: runs and pauses are seen as "
        "they are now, and a run that ended later is not seen at all. For the past, use `watchdog backtest`.",
    ),
]
_EXIT: dict[Status, int] = {"ok": 0, "warning": 1, "critical": 2, "unknown": UNABLE}


@reports_errors
def check(
    *,
    config: ConfigPath = None,
    target: Address = None,
    window: Window = None,
    at: At = None,
    json: Annotated[bool, Parameter(negative="", help="Print JSON, as docs/json-contract.md describes it.")] = False,
) -> int:
    """Run ``watchdog check``; its help is in ``monitoring.cli``."""
    now = datetime.now(timezone.utc) if at is None else parse_time("--at", at)
    try:
        policies = configuration(config, target, _layers(window))
        with open_session(policies, target) as server, server.api.within(policies.config.server.deadline):
            seen = assess(server.reader(), Ledger(), server.policies, now, Coverage())
            report = _with_incidents(seen, server)
    except ServerProblem as problem:
        # A pushed configuration cannot be read either, and the report needs only the name of the target.
        name = load_policies(config, read_pushed=lambda: None).config.target.name
        report = unreachable_report(name, now, str(problem))
    console = terminal.console(sys.stdout)
    if json:
        print_json(console, check_json(report))
    else:
        terminal.show(console, health_message(report))
    return _EXIT[report.status]


def _layers(window: str | None) -> list[Layer]:
    return [] if window is None else [{"target.window": Setting(duration("--window", window), "--window")}]


def _with_incidents(seen: Assessment, server: Session) -> HealthReport:
    """Add the saved incidents of the findings, and the active silences."""
    incidents, silences = Incidents(), Silences()
    if not seen.report.server.problem:
        try:
            incidents, silences = server.incidents_and_silences()
        except WatchdogError as problem:
            print_error(f"Incidents and silences are not shown: {problem}")
    return seen.report.with_known(incidents.open.values(), (*silences.known, *seen.observation.maintenance))
