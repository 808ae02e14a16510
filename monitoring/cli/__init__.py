"""The command line: the use cases for people at a terminal and for scripts.

The module of a command is imported only when the command runs or prints its own help, because importing Prefect takes
a second. The help texts are here, so that the list of commands is printed without importing the commands.
"""

from __future__ import annotations

import sys

from cyclopts import App, CycloptsError, CycloptsPanel, MissingArgumentError

from monitoring import __version__

#: The exit status of monitoring plugins for "unknown": the command could not run.
UNABLE = 3
#: That of a shell for a command that was interrupted: 128 and the number of SIGINT.
_INTERRUPTED = 130

app = App(
    name="watchdog",
    version=__version__,
    help="Show what is wrong on a Prefect server, why, and since when.",
)
app.command(
    "monitoring.cli.check:check",
    help="""Check the server now and show what is wrong. Nothing is saved, sent or changed.

    Exit status: 0 ok, 1 warning, 2 critical, 3 unknown, or the check could not run.
    """,
)
app.command(
    "monitoring.cli.digest:digest",
    help="Print the daily digest as it would be sent now. Nothing is saved, sent or changed.",
)
app.command(
    "monitoring.cli.doctor:doctor",
    help="""Examine the watchdog's own installation, and show how to fix each fault. Nothing is saved, sent or changed.

    Run it where the worker runs, with its environment. Exit status: 0 ok, 1 warnings, 2 faults, 3 could not run.
    """,
)
app.command(
    "monitoring.cli.backtest:backtest",
    help="""Replay the server's own history as checks: which incidents would have been opened, when, and by which rule.

    The configuration is found as for `watchdog check`. Checks that history cannot replay are listed.
    """,
)
app.command(
    "monitoring.cli.explain:explain",
    help="Show what each check compares for a deployment, with which limits, and why it fires or not.",
)
app.command("monitoring.cli.config:app", name="config", help="Check, show or push the configuration.")
app.command(
    "monitoring.cli.incidents:app", name="incidents", help="List and show incidents, acknowledge or close them."
)
app.command("monitoring.cli.silence:app", name="silence", help="Add, list and end silences.")
app.command("monitoring.cli.notify:app", name="notify", help="Send a test notification by each route.")
app.command(
    "monitoring.cli.metrics:app",
    name="metrics",
    help="Print the metrics of the last check, or serve them to Prometheus.",
)
app.command(
    "monitoring.cli.automation:app",
    name="automation",
    help="Let the Prefect server itself notify you when no check completes.",
)


def main() -> None:
    """Run the command line, and exit as monitoring plugins do: 0 ok, 1 warning, 2 critical, 3 unknown or unable."""
    try:
        status = app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _print_usage_error(error)
        # The exit status of cyclopts would mean "warning".
        sys.exit(UNABLE)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - Python's own exit status would mean "warning"
        sys.exit(_unforeseen(error))
    sys.exit(status if isinstance(status, int) else 0)


def _print_usage_error(error: CycloptsError) -> None:
    """Print what is wrong with the arguments."""
    if isinstance(error, MissingArgumentError) and error.argument and not error.argument.tokens and not error.keyword:
        # Cyclopts says that the option "requires an argument", as if it had been given without one.
        command = " ".join(("watchdog", *(error.command_chain or ())))
        missing = f"{error.argument.name} is missing; see `{command} --help`."
        error = CycloptsError(msg=missing, console=error.console)
    if error.console:
        error.console.print(CycloptsPanel(error))


def _unforeseen(error: Exception) -> int:
    if KeyboardInterrupt.__name__ in str(error):
        # While it serializes, pydantic-core turns an interrupt into an error of its own.
        return _INTERRUPTED
    from monitoring.cli.terminal import print_error
    from monitoring.text.error_lines import error_line
    from monitoring.text.redaction import Redactor

    print_error(error_line(error, Redactor().redact))
    return UNABLE
