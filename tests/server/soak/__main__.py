"""Soaks: ``python -m tests.server.soak`` writes docs/soak.*."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.server.soak.soaking import BURST, PAUSE, SERVER, Sample, soak
from tests.server.soak.table import FIGURES, PAGE, growing, page
from tests.support.measured_on import measured_on
from tests.support.servers import start_server
from tests.support.slack import SlackEmulator


def main() -> int:
    """Soak, write, and return 1 if something grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.server.soak", description=__doc__)
    parser.add_argument("--checks", type=int, default=2_000, help="how often the server is checked")
    parser.add_argument("--seed", type=int, default=1, help="of what happens on the server")
    options = parser.parse_args()
    measured = measured_on()

    def report(sample: Sample) -> None:
        sys.stdout.write(f"{json.dumps(sample)}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as folder:
        server, slack = start_server(Path(folder) / "server", env=SERVER), SlackEmulator(Path(folder) / "slack")
        try:
            slack.start()
            samples = soak(server, slack, Path(folder) / "checks", options.checks, options.seed, report)
        finally:
            slack.stop()
            server.kill()
    pause = PAUSE.total_seconds() / 3600
    figures = {"measured": measured, "seed": options.seed, "burst": BURST, "pause_hours": pause, "samples": samples}
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(page(figures))
    return 1 if growing(samples) else 0


if __name__ == "__main__":
    sys.exit(main())
