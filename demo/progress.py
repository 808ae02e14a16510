"""The progress of the demo: a line for each step that is done, and what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.text import Text

from demo.stack import StackError
from demo.stage import Steps

# Longer than any step takes on a slow machine; without a limit, a demo in CI could wait for ever.
TIMEOUT_SECONDS = 600
# Without a terminal, a new line shows this often that the wait continues.
SECONDS_BETWEEN_LINES = 15


class Progress:
    """Lines with the time since the start; on a terminal, a last line that changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = self._printed = time.monotonic()
        self._status: Status | None = None

    def print(self, text: str) -> None:
        """Print one line."""
        self._printed = time.monotonic()
        self._console.print(Text.assemble((f"{self._printed - self._started:4.0f} s  ", "dim"), text))

    @contextmanager
    def waiting(self, what: str = "") -> Iterator[None]:
        """Show what the demo waits for until the end of this block."""
        with self._console.status(what) as self._status:
            yield

    def run(self, refresh: Callable[[], None], stories: Mapping[str, Steps], outcomes: Mapping[str, str]) -> None:
        """Run stories side by side until all have ended, and print the outcome of each.

        Raises:
            StackError: The stories took too long.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        left = dict(stories)
        with self.waiting():
            while left:
                refresh()
                waits = {}
                for name, story in list(left.items()):
                    try:
                        waits[name] = next(story)
                    except StopIteration:
                        del left[name]
                        self.print(f"{name}: {outcomes[name]}")
                if waits:
                    self._show(waits)
                    time.sleep(0.5)
                if time.monotonic() > deadline:
                    raise StackError(f"waited {TIMEOUT_SECONDS} s in vain for {'; '.join(_lines(waits))}")

    def _show(self, waits: Mapping[str, str]) -> None:
        if self._console.is_terminal and self._status:
            self._status.update(Text("\n".join(_lines(waits))))
        elif time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self.print("waiting for " + "; ".join(_lines(waits)))


def _lines(waits: Mapping[str, str]) -> list[str]:
    """One line for each story that waits; those whose turn has not come are only counted."""
    lines = [f"{name}: {what}" for name, what in waits.items() if what != "its turn"]
    queued = len(waits) - len(lines)
    return [*lines, f"{queued} more not started yet"] if queued else lines
