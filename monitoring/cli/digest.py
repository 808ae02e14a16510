"""``watchdog digest``: the daily report as it would be posted now, printed."""

from __future__ import annotations

import sys
from zoneinfo import ZoneInfo

from monitoring.cli.session import Address, ConfigPath, configuration, open_session
from monitoring.cli.terminal import reports_errors
from monitoring.messages import terminal
from monitoring.messages.report_messages import digest_message
from monitoring.usecases.digest import digest as put_together


@reports_errors
def digest(*, config: ConfigPath = None, target: Address = None) -> int:
    """Print the daily digest as it would be sent now; nothing is saved, sent or changed."""
    with open_session(configuration(config, target), target) as server:
        zone = ZoneInfo(server.config.digest.time_zone)
        saved, known = server.state().load()
        report = put_together(server.reader(), saved, known, server.policies, server.now, zone)
    terminal.console(sys.stdout).print(terminal.rendered(digest_message(report)))
    return 0
