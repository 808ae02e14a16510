"""``watchdog digest``: the daily report as it would be posted now, printed."""

from __future__ import annotations

import sys
from zoneinfo import ZoneInfo

from monitoring.cli.session import ConfigPath, Target, open_session
from monitoring.cli.terminal import told
from monitoring.messages import slack_digest as slack
from monitoring.messages import terminal
from monitoring.usecases.digest import digest as put_together


@told
def digest(*, config: ConfigPath = None, target: Target = None) -> int:
    """Print the daily digest as it would look in Slack if it were posted now; nothing is saved, sent or changed."""
    with open_session(config, target) as session:
        zone = ZoneInfo(session.config.digest.time_zone)
        saved, known = session.state().load()
        report = put_together(session.reader(), saved, known, session.policies, session.now, zone)
    terminal.console(sys.stdout).print(terminal.message(slack.digest(report)))
    return 0
