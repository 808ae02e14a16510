"""``watchdog digest``: the daily report as it would be posted now, printed."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from monitoring.adapters.prefect_server.documents import Documents
from monitoring.adapters.prefect_server.reader import OVERLAP
from monitoring.adapters.prefect_server.state import BlockState
from monitoring.cli.looking import ConfigPath, Target, look
from monitoring.cli.terminal import told
from monitoring.render import slack, terminal
from monitoring.service import digest as put_together


@told
def digest(*, config: ConfigPath = None, target: Target = None) -> int:
    """Print the daily digest as it would look in Slack if it were posted now; nothing is saved, sent or changed."""
    with look(config, target) as here:
        zone = ZoneInfo(here.policies.config.digest.time_zone)
        now = datetime.now(timezone.utc)
        saved, known = BlockState(Documents(here.api), here.policies.config.state, now).load()
        report = put_together(here.reader, saved, known, here.policies, now, OVERLAP, zone)
    terminal.console(sys.stdout).print(terminal.message(slack.digest(report)))
    return 0
