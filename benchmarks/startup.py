"""How soon commands that need no server are done, beside a cyclopts app without commands of ours.

    python -m benchmarks.startup

Whole processes, in turns. Exits with status 1 where ``watchdog --help`` takes more than 1.5 times the empty app's.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROUNDS = 15
MAX_RATIO = 1.5
EMPTY = 'from cyclopts import App; App(name="empty", help="Do nothing.")(["--help"])'
WATCHDOG = "import sys; sys.argv[0] = 'watchdog'; from monitoring.cli import main; main()"
COMMANDS = {
    "empty app --help": [EMPTY],
    "watchdog --help": [WATCHDOG, "--help"],
    "watchdog silence add --help": [WATCHDOG, "silence", "add", "--help"],
    "watchdog config check": [WATCHDOG, "config", "check"],
}


def seconds(words: list[str], folder: Path) -> float:
    """How long a process takes, from its start to its end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", *words], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure, and print."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "watchdog.yaml").write_text("late: {after: 10m}\n")
        for words in COMMANDS.values():
            seconds(words, folder)
        rounds = [[seconds(words, folder) for words in COMMANDS.values()] for _ in range(ROUNDS)]
    print(f"medians of {ROUNDS} rounds")
    ratios = {}
    for column, command in enumerate(COMMANDS):
        ratios[command] = statistics.median(row[column] / row[0] for row in rounds)
        print(f"{command}: {statistics.median(row[column] for row in rounds):.2f} s, ratio {ratios[command]:.2f}")
    if ratios["watchdog --help"] > MAX_RATIO:
        sys.exit(1)


if __name__ == "__main__":
    main()
