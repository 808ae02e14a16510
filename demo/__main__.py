"""``python -m demo``: a local Prefect server with planted faults, and the watchdog that finds them."""

from __future__ import annotations

import argparse
import fcntl
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from rich.console import Console

from demo.play import play, stay
from demo.stack import Server, StackError, stop_leftovers
from demo.stage import ROOT

HOME = ROOT / ".demo"
INTERRUPTED = 130
# A pipe has no width, and tables need one.
WIDTH_IN_A_PIPE = 160


def main() -> int:
    """Run the demo, or stop the processes of an earlier one; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop at the end; status 0 if every fault was reported")
    parser.add_argument("--stop", action="store_true", help="only stop the processes that a killed demo left behind")
    options = parser.parse_args()
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE)
    if options.stop:
        console.print(f"stopped {stop_leftovers(HOME)} processes")
        return 0
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("error: a demo is running already in this clone", style="red")
            return 1
        with _stopping(console):
            return _run(console, once=options.once)


def _run(console: Console, *, once: bool) -> int:
    status = INTERRUPTED
    try:
        # An earlier demo that was killed may still hold the database.
        stop_leftovers(HOME)
        stage, comparison = play(Server(HOME), console)
        status = 0 if comparison.is_right else 1
        if not once:
            console.print("\nThe demo stays up for you to look around. Ctrl-C stops it.")
            stay(stage)
    except StackError as error:
        console.print(f"error: {error}", style="red")
        return 1
    except httpx.HTTPError as error:
        request = f"{error.request.method} {error.request.url}"
        console.print(f"error: the demo's server failed at {request} ({error}): see {HOME / 'server.log'}", style="red")
        return 1
    except KeyboardInterrupt:
        # Ctrl-C is the normal end of a demo that stays up.
        pass
    return status


@contextmanager
def _stopping(console: Console) -> Iterator[None]:
    """Stop all processes at the end, whatever happens."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.default_int_handler)
    try:
        yield
    finally:
        # A second Ctrl-C must not leave processes behind.
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        console.print("Stopping all processes")
        stop_leftovers(HOME)


if __name__ == "__main__":
    sys.exit(main())
