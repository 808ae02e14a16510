"""What commands have in common: harmless output, and faults told in lines on stderr with exit status 3."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from rich.console import Console
from rich.text import Text

from monitoring.errors import WatchdogError
from monitoring.text.escaping import terminal

#: The exit status of monitoring plugins for "unknown": nothing can be said.
UNABLE = 3
_LONGEST_LINE = 2_000

Arguments = ParamSpec("Arguments")


def say(text: str) -> None:
    """Print text to stdout, made harmless line by line."""
    _print(Console(highlight=False), text)


def say_line(text: str) -> None:
    """Print text to stdout as one line, made harmless: what others wrote in it cannot begin another."""
    say(terminal(text, _LONGEST_LINE))


def complain(text: str) -> None:
    """Print text to stderr, made harmless line by line."""
    _print(Console(stderr=True, highlight=False), text)


def told(command: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """Make a command tell foreseeable faults on stderr, and return exit status 3 for them.

    Args:
        command: Returns its exit status; may raise ``WatchdogError``.
    """

    @wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
        try:
            return command(*args, **kwargs)
        except WatchdogError as error:
            complain(str(error))
            return UNABLE

    return run


def _print(console: Console, text: str) -> None:
    for line in text.splitlines():
        # A line that a script reads must not be broken where the terminal happens to end.
        console.print(Text(terminal(line, _LONGEST_LINE)), soft_wrap=True)
