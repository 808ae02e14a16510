"""``watchdog check``: a single check of the server that saves nothing."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone
from typing import Annotated

from cyclopts import Parameter

from monitoring.cli import UNABLE
from monitoring.cli.session import Address, ConfigPath, configuration, duration, open_session
from monitoring.cli.start import Fresh, begin, print_unreadable
from monitoring.cli.terminal import print_json, reports_errors
from monitoring.cli.timestamps import parse_time
from monitoring.config.policy import Layer, Setting
from monitoring.config.source import load_policies
from monitoring.errors import ServerProblem
from monitoring.messages import terminal
from monitoring.messages.json_contract import check_json
from monitoring.messages.report_messages import health_message
from monitoring.model.finding import Status
from monitoring.usecases.assess import unreachable_report
from monitoring.usecases.by_hand import assess_by_hand

Window = Annotated[
    str | None,
    Parameter(name="--window", help="How far back ended runs are read: 24h. Implies --fresh. [default: target.window]"),
]
At = Annotated[
    str | None,
    Parameter(
        name="--at",
        help="Judge by another clock: 2026-03-10T02:00:00Z. Past states are not restored: runs and pauses are seen as "
        "they are now, and a run that ended later is not seen at all. Implies --fresh. For the past, use "
        "`watchdog backtest`.",
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
    fresh: Fresh = False,
    json: Annotated[bool, Parameter(negative="", help="Print JSON, as docs/json-contract.md describes it.")] = False,
) -> int:
    """Run ``watchdog check``; its help is in ``monitoring.cli``."""
    started = time.monotonic()
    now = datetime.now(timezone.utc) if at is None else parse_time("--at", at)
    try:
        policies = configuration(config, target, _layers(window))
        with open_session(policies, target) as server, server.api.within(policies.config.server.deadline, started):
            begun = begin(server, now, _without(fresh, at, window))
            report = assess_by_hand(server.reader(), begun, server.policies, now).report
    except ServerProblem as problem:
        # A pushed configuration cannot be read either, and the report needs only the name of the target.
        name = load_policies(config, read_pushed=lambda: None).config.target.name
        report = unreachable_report(name, now, str(problem))
    print_unreadable(report.basis)
    console = terminal.console(sys.stdout)
    if json:
        print_json(console, check_json(report))
    else:
        terminal.show(console, health_message(report))
    return _EXIT[report.status]


def _layers(window: str | None) -> list[Layer]:
    return [] if window is None else [{"target.window": Setting(duration("--window", window), "--window")}]


def _without(fresh: bool, at: str | None, window: str | None) -> str | None:
    """The option that leaves out the saved state: it continues from the last check until now, and no other period."""
    given = {"--fresh": fresh, "--at": at is not None, "--window": window is not None}
    return next((option for option, is_given in given.items() if is_given), None)
