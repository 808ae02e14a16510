"""What the demo says while it works: a line for what is done, and what it is waiting for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.text import Text

from demo.stack import StackError
from demo.stage import Steps

# Longer than anything here takes on a slow machine; without an end, a demo in CI could wait for ever.
PATIENCE_SECONDS = 600
# Where no line can be rewritten, one as often as this says that the wait goes on.
SECONDS_BETWEEN_LINES = 15


class Progress:
    """Lines with the time since the start; on a terminal, a last line that changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = self._said = time.monotonic()
        self._status: Status | None = None

    def say(self, text: str) -> None:
        """Print one line."""
        self._said = time.monotonic()
        self._console.print(Text.assemble((f"{self._said - self._began:4.0f} s  ", "dim"), text))

    @contextmanager
    def waiting(self, what: str = "") -> Iterator[None]:
        """Show what is waited for until the end of this block."""
        with self._console.status(what) as self._status:
            yield

    def tell(self, refresh: Callable[[], None], stories: Mapping[str, Steps], outcomes: Mapping[str, str]) -> None:
        """Tell stories side by side until all have ended, and say of each what has come of it.

        Raises:
            StackError: It took too long.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
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
                        self.say(f"{name}: {outcomes[name]}")
                if waits:
                    self._show(waits)
                    time.sleep(0.5)
                if time.monotonic() > deadline:
                    raise StackError(f"waited {PATIENCE_SECONDS} s in vain for {'; '.join(_lines(waits))}")

    def _show(self, waits: Mapping[str, str]) -> None:
        if self._console.is_terminal and self._status:
            self._status.update(Text("\n".join(_lines(waits))))
        elif time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            self.say("waiting for " + "; ".join(_lines(waits)))


def _lines(waits: Mapping[str, str]) -> list[str]:
    """One line for each that is waited for; those whose turn has not come are only counted."""
    lines = [f"{name}: {what}" for name, what in waits.items() if what != "its turn"]
    queued = len(waits) - len(lines)
    return [*lines, f"{queued} more that have yet to start"] if queued else lines
