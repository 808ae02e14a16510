"""``watchdog digest``: prints the daily report as it would be posted now."""

from __future__ import annotations

import sys

from monitoring.cli.session import Address, ConfigPath, configuration, open_session
from monitoring.cli.terminal import reports_errors
from monitoring.messages import terminal
from monitoring.messages.report_messages import digest_message
from monitoring.usecases.digest import digest_report


@reports_errors
def digest(*, config: ConfigPath = None, target: Address = None) -> int:
    """Run ``watchdog digest``; its help is in ``monitoring.cli``."""
    with open_session(configuration(config, target), target) as server:
        saved, known = server.state().load()
        report = digest_report(server.reader(), saved, known, server.policies, server.now)
    terminal.show(terminal.console(sys.stdout), digest_message(report))
    return 0
