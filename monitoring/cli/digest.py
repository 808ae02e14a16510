"""``watchdog digest``: prints the daily report as it would be posted now."""

from __future__ import annotations

import sys

from monitoring.cli.session import Address, ConfigPath, configuration, open_session
from monitoring.cli.start import Fresh, begin, print_unreadable
from monitoring.cli.terminal import reports_errors
from monitoring.errors import BadAnswer
from monitoring.messages import terminal
from monitoring.messages.report_messages import digest_message
from monitoring.usecases.digest import digest_report


@reports_errors
def digest(*, config: ConfigPath = None, target: Address = None, fresh: Fresh = False) -> int:
    """Run ``watchdog digest``; its help is in ``monitoring.cli``."""
    with open_session(configuration(config, target), target) as server:
        begun = begin(server, server.now, "--fresh" if fresh else None)
        report = digest_report(server.reader(), begun.saved, begun.known, server.policies, server.now, begun.basis)
    if report.health.server.problem:
        raise BadAnswer(report.health.server.problem)
    print_unreadable(begun.basis)
    terminal.show(terminal.console(sys.stdout), digest_message(report))
    return 0
