"""The program ``watchdog``: an interrupt ends it without a traceback, from its first moment on."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line."""
    # A shell that runs it in the background may let it ignore interrupts.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        # Python would print a traceback for an interrupt during an import.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from monitoring.cli import main as run

    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
