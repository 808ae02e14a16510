"""The same use cases for a person at a terminal and for scripts.

The module of a command is imported when the command runs or prints its own help: Prefect takes a second to import.
The text of the help stands here, since the list of commands is printed without importing them.
"""

from __future__ import annotations

import sys

from cyclopts import App, CycloptsError

from monitoring import __version__

#: The exit status of monitoring plugins for "unknown": the command could not do its work.
UNABLE = 3

app = App(
    name="watchdog",
    version=__version__,
    help="Say what is wrong on a Prefect server, why, and since when.",
)
app.command(
    "monitoring.cli.check:check",
    help="""Look at the server now and say what is wrong; nothing is saved, sent or changed.

    Exit status: 0 ok, 1 warning, 2 critical, 3 unknown or unable.
    """,
)
app.command(
    "monitoring.cli.digest:digest",
    help="Print the daily digest as it would be sent now; nothing is saved, sent or changed.",
)
app.command(
    "monitoring.cli.doctor:doctor",
    help="""Examine the watchdog's own installation, and say what mends each fault; nothing is saved, sent or changed.

    Run it where the worker runs, with its environment. Exit status: 0 nothing is wrong, 1 warnings, 2 faults, 3 unable.
    """,
)
app.command(
    "monitoring.cli.backtest:backtest",
    help="""Replay the server's own history as checks: what would have been opened and resolved, when, by which rule.

    The configuration is the one that every check here finds. Only what history shows is replayed; the rest is named.
    """,
)
app.command(
    "monitoring.cli.explain:explain",
    help="Say what each check sees of a deployment, by which limits, and why it finds something or does not.",
)
app.command("monitoring.cli.config:app", name="config", help="Check, show or push the configuration.")
app.command(
    "monitoring.cli.incidents:app", name="incidents", help="List and show incidents, acknowledge or close them."
)
app.command("monitoring.cli.silence:app", name="silence", help="Add, list and end silences.")
app.command(
    "monitoring.cli.metrics:app", name="metrics", help="Show the numbers of the last check, or have them scraped."
)
app.command(
    "monitoring.cli.automation:app",
    name="automation",
    help="Let the Prefect server itself send a notification when no check completes.",
)


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
