"""The same use cases for a person at a terminal and for scripts."""

from __future__ import annotations

import sys

from cyclopts import App, CycloptsError

from monitoring import __version__
from monitoring.cli import automation, backtest, check, config, digest, doctor, explain, incidents, metrics, silence
from monitoring.cli.terminal import UNABLE

app = App(
    name="watchdog",
    version=__version__,
    help="Say what is wrong on a Prefect server, why, and since when.",
)
app.command(check.check)
app.command(digest.digest)
app.command(doctor.doctor)
app.command(backtest.backtest)
app.command(explain.explain)
app.command(config.app)
app.command(incidents.app)
app.command(silence.app)
app.command(metrics.app)
app.command(automation.app)


def main() -> None:
    """Run the command line, and exit as monitoring plugins do: 0 ok, 1 warning, 2 critical, 3 unknown or unable."""
    try:
        status = app(exit_on_error=False)
    except CycloptsError:
        # Cyclopts has printed what is wrong with the words; its own status would read as "warning".
        sys.exit(UNABLE)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
