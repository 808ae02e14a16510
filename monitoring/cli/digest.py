"""``watchdog digest``: the daily report as it would be posted now, printed."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from monitoring.adapters.prefect.read.reader import OVERLAP
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.state import BlockState
from monitoring.cli.session import ConfigPath, Target, look
from monitoring.cli.terminal import told
from monitoring.messages import slack_digest as slack
from monitoring.messages import terminal
from monitoring.usecases.digest import digest as put_together


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
