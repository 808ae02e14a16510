"""Kills many checks and digests, and prints what became of their messages: ``python -m tests.killed --kills 200``."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from monitoring.notifications.events import OPENED
from tests.support.killing import FINE, Death, killed, staged
from tests.support.servers import start_server
from tests.support.slack import SlackEmulator


def main() -> None:
    """Kill, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.killed", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many checks and digests are killed")
    parser.add_argument("--blind", action="store_true", help="the token may not read the channel's history")
    parser.add_argument("--with-server", action="store_true", help="the server is killed together with the run")
    options = parser.parse_args()
    # The relay before Slack would log each request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    deaths: list[Death] = []
    with tempfile.TemporaryDirectory() as folder:
        slack, server = SlackEmulator(Path(folder) / "slack"), start_server(Path(folder) / "server")
        try:
            slack.start()
            with staged(server, slack, Path(folder) / "checks", blind=options.blind) as stage:
                for death in killed(stage, options.kills, with_server=options.with_server):
                    deaths.append(death)
                    if death.after != FINE:
                        sys.stdout.write(f"kill {len(deaths)}: {death}\n")
                        sys.stdout.flush()
                stage.settle()
                differing, events = stage.unseen(), stage.events()
                fired = {name for about, name in stage.notified if about == "fired"}
        finally:
            slack.stop()
            server.kill()
    table = {
        "kills": len(deaths),
        "different points": len({(death.kind, death.at, death.point) for death in deaths}),
        "alerts lost": sum(len(death.after.lost) for death in deaths if "digest" not in death.kind),
        "digests lost": sum(len(death.after.lost) for death in deaths if "digest" in death.kind),
        "digests run again": sum(death.rerun for death in deaths),
        "repeats": sum(death.after.repeats for death in deaths),
        "most repeats of one kill": max((death.after.repeats for death in deaths), default=0),
        "states unreadable": sum(bool(death.after.unreadable) for death in deaths),
        "locks left behind": sum(death.after.lock_left for death in deaths),
        "messages that Slack shows otherwise": len(differing),
        "openings without an event": len(fired - {about for name, about in events if name == OPENED}),
        "events stored twice": sum(times - 1 for times in events.values()),
    }
    for name, figure in table.items():
        sys.stdout.write(f"{name:36} {figure:6,}\n")


if __name__ == "__main__":
    main()
