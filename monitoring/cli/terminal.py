"""Output that all commands share: harmless text, and errors on stderr with exit status 3."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from rich.console import Console
from rich.text import Text

from monitoring.cli import UNABLE
from monitoring.errors import WatchdogError
from monitoring.text.escaping import clean

_MAX_LINE = 2_000

Arguments = ParamSpec("Arguments")


def print_lines(text: str) -> None:
    """Print text to stdout, made harmless line by line."""
    _print(Console(highlight=False), text)


def print_line(text: str) -> None:
    """Print text to stdout as one line, made harmless: text from others cannot begin another line."""
    print_lines(clean(text, _MAX_LINE))


def print_error(text: str) -> None:
    """Print text to stderr, made harmless line by line."""
    _print(Console(stderr=True, highlight=False), text)


def print_json(console: Console, document: object) -> None:
    """Print a document as JSON for programs: no colour, no wrapping, ASCII only."""
    console.print_json(data=document, ensure_ascii=True, highlight=False)


def reports_errors(command: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """Make a command print foreseeable errors to stderr, and return exit status 3 for them."""

    @wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
        try:
            return command(*args, **kwargs)
        except WatchdogError as error:
            print_error(str(error))
            return UNABLE

    return run


def _print(console: Console, text: str) -> None:
    for line in text.splitlines():
        # Scripts read these lines, so they must not be wrapped at the width of the terminal.
        console.print(Text(clean(line, _MAX_LINE)), soft_wrap=True)
