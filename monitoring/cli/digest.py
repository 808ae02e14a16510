"""``watchdog digest``: the daily report as it would be posted now, printed."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from monitoring.adapters.prefect_server.reader import OVERLAP
from monitoring.cli.looking import ConfigPath, Target, look
from monitoring.cli.terminal import told
from monitoring.model import Coverage
from monitoring.ports import SavedState
from monitoring.render import slack, terminal
from monitoring.service import digest as put_together


@told
def digest(*, config: ConfigPath = None, target: Target = None) -> int:
    """Print the daily digest as it would look in Slack if it were posted now; nothing is saved, sent or changed."""
    with look(config, target) as here:
        zone = ZoneInfo(here.policies.config.digest.time_zone)
        report = put_together(
            here.reader, SavedState(), Coverage(), here.policies, datetime.now(timezone.utc), OVERLAP, zone
        )
    terminal.console(sys.stdout).print(terminal.message(slack.digest(report)))
    return 0
