"""What the demo says while it works: a line for what is done, and what it is waiting for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.text import Text

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

    def wait_for(self, waits: Mapping[str, str]) -> None:
        """Say what is waited for, by name; those whose turn has not come are only counted."""
        lines = [f"{name}: {what}" for name, what in waits.items() if what != "its turn"]
        if queued := len(waits) - len(lines):
            lines.append(f"{queued} more have yet to start")
        if self._console.is_terminal and self._status:
            self._status.update(Text("\n".join(lines)))
        elif time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            self.say("waiting for " + "; ".join(lines))
