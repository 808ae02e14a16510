"""Judges all labelled servers and prints a table: how right each check is.

    python -m tests.corpus [--database sqlite|postgresql] [--only TEXT]

It ends with status 1 if anything is missed, or found that is not there.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterable, Mapping
from typing import get_args

from monitoring.checks.registry import BY_NAME
from tests.corpus.bench import Database, bench
from tests.corpus.judging import Tally, Verdict, judge, prepare, tallies
from tests.corpus.scenario import background, scenarios


def main() -> int:
    """Read the command line, judge, print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database", choices=get_args(Database), default="sqlite")
    parser.add_argument("--only", metavar="TEXT", default="", help="scenarios whose name contains this")
    chosen = parser.parse_args()
    started = time.monotonic()
    # The relay in front of some servers logs what passes.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    verdicts = []
    with bench(chosen.database) as place:
        around = background()
        for scenario in scenarios(chosen.only):
            prepare(place, scenario, around)
            verdicts.append(judge(place, scenario))
            for deviation in verdicts[-1].deviations:
                sys.stdout.write(f"{scenario.name}: {deviation}\n")
    sys.stdout.write(table(verdicts))
    took = time.monotonic() - started
    sys.stdout.write(f"{len(verdicts)} scenarios on {chosen.database} in {took:.0f} s\n")
    return int(any(verdict.deviations for verdict in verdicts) or not verdicts)


def table(verdicts: Iterable[Verdict]) -> str:
    """Make the table of all checks, and a line for all of them together."""
    verdicts = list(verdicts)
    counted = tallies(verdicts)
    lines = [_line("check", "scenarios", "planted", "found", "missed", "false", "precision", "recall")]
    lines += [_row(check, counted.get(check, Tally())) for check in BY_NAME]
    return "".join([*lines, _row("all", _sum(counted, len(verdicts)))])


def _sum(counted: Mapping[str, Tally], scenario_count: int) -> Tally:
    total = Tally(scenarios=scenario_count)
    for tally in counted.values():
        total.planted += tally.planted
        total.found += tally.found
        total.missed += tally.missed
        total.false += tally.false
    return total


def _row(check: str, tally: Tally) -> str:
    rates = ("-" if rate is None else f"{rate:.2f}" for rate in (tally.precision, tally.recall))
    return _line(check, tally.scenarios, tally.planted, tally.found, tally.missed, tally.false, *rates)


def _line(check: str, *cells: object) -> str:
    return f"{check:<12}" + "".join(f"{cell!s:>11}" for cell in cells) + "\n"


if __name__ == "__main__":
    sys.exit(main())
