"""How often the checks ``ghost`` and ``suspicious`` are right, with confidence intervals.

    python -m benchmarks.unusual_ends

Plants wrong ends of runs among ordinary ones: see ``benchmarks.ghosts`` and ``benchmarks.suspicious_runs``. The
defaults were chosen on some seeds, and the figures are those of others. Writes docs/unusual-ends.json and the tables of
docs/unusual-ends.md.
"""

from __future__ import annotations

import json
import platform
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import prefect

from benchmarks import ghosts, suspicious_runs
from benchmarks.intervals import per_thousand, percent
from monitoring.checks.ghost import Ghost
from tests.support.seeding import Seed
from tests.support.servers import Emptier, connected, start_server

#: On which the defaults were chosen, and on which they were not.
CHOOSING, HELD_OUT = (1, 2, 3), (101, 102, 103, 104, 105)
RAW, PAGE = Path("docs/unusual-ends.json"), Path("docs/unusual-ends.md")
_GRACE = f"{Ghost().grace.total_seconds() / 60:g}"


def total(of: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The sums of counts."""
    counts: Counter[str] = Counter()
    for part in of:
        counts.update(part)
    return counts


def tables(raw: Mapping[str, Any]) -> dict[str, str]:
    """The tables of the page in Markdown, by their names."""
    made = {
        "ghosts": _ghosts(raw["ghost"]["held out"]),
        "graces": _graces(raw["ghost"]["choosing"]),
        "suspicious": _suspicious(raw["suspicious"]["held out"]),
        "false": _false(raw["suspicious"]["held out"]),
        "settings": _settings(raw["suspicious"]["choosing"]),
    }
    measured = raw["measured"]
    made["measured"] = (
        f"Measured on {measured['date']} at {measured['commit']}, with Prefect {measured['prefect']} and Python "
        f"{measured['python']},\non {measured['machine']}."
    )
    return made


def _ghosts(seeds: Sequence[Mapping[str, Any]]) -> str:
    found, planted = total(seed["found"][_GRACE] for seed in seeds), total(seed["planted"] for seed in seeds)
    lines = ["| planted | found (95 % interval) |", "|---|---:|"]
    lines += [f"| {kind} | {percent(found[kind], planted[kind])} |" for kind in ghosts.KINDS]
    ordinary = sum(seed["ordinary"] for seed in seeds)
    false = per_thousand(found["false"], ordinary)
    return "\n".join([*lines, f"| false findings in 1,000 ordinary runs, of {ordinary:,} | {false} |"])


def _graces(seeds: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| grace | ghosts found | false findings in 1,000 ordinary runs |", "|---|---:|---:|"]
    planted, ordinary = total(seed["planted"] for seed in seeds).total(), sum(seed["ordinary"] for seed in seeds)
    for grace in ghosts.GRACES:
        found = total(seed["found"][f"{grace:g}"] for seed in seeds)
        false = found.pop("false", 0)
        lines.append(f"| {grace:g} min | {percent(found.total(), planted)} | {per_thousand(false, ordinary)} |")
    return "\n".join(lines)


def _suspicious(seeds: Sequence[Mapping[str, Any]]) -> str:
    counts = total(found for seed in seeds for by_pattern in seed.values() for found in by_pattern.values())
    lines = ["| planted | found (95 % interval) |", "|---|---:|"]
    for kind, name in suspicious_runs.PLANTED.items():
        lines.append(f"| {name} | {percent(counts[f'{kind} found'], counts[kind])} |")
    false = per_thousand(counts["ordinary found"], counts["ordinary"])
    return "\n".join([*lines, f"| false findings in 1,000 ordinary runs, of {counts['ordinary']:,} | {false} |"])


def _false(seeds: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| what varies | how | planted found | false findings in 1,000 ordinary runs |", "|---|---|---:|---:|"]
    for aspect, patterns in suspicious_runs.ASPECTS.items():
        for pattern in patterns:
            counts = total(seed[aspect][pattern] for seed in seeds)
            lines.append(f"| {aspect} | {pattern} | {' | '.join(_shares(counts))} |")
    return "\n".join(lines)


def _settings(choosing: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    lines = ["| settings | planted found | false findings in 1,000 ordinary runs |", "|---|---:|---:|"]
    for name, seeds in choosing.items():
        counts = total(found for seed in seeds for by_pattern in seed.values() for found in by_pattern.values())
        lines.append(f"| {name} | {' | '.join(_shares(counts))} |")
    return "\n".join(lines)


def _shares(counts: Mapping[str, int]) -> Iterator[str]:
    found = sum(counts.get(f"{kind} found", 0) for kind in suspicious_runs.PLANTED)
    yield percent(found, sum(counts.get(kind, 0) for kind in suspicious_runs.PLANTED))
    yield per_thousand(counts["ordinary found"], counts["ordinary"])


def measured_ghosts() -> dict[str, list[dict[str, Any]]]:
    """The ghosts that are found on a server of its own."""
    with tempfile.TemporaryDirectory() as home:
        server = start_server(Path(home), env={"PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false"})
        try:
            with connected(server):
                empty = Emptier(server)

                def judged(seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
                    for seed in seeds:
                        empty()
                        yield ghosts.judged(Seed(server.database_url), seed)

                return {"choosing": list(judged(CHOOSING)), "held out": list(judged(HELD_OUT))}
        finally:
            server.stop()


def main() -> None:
    """Measure, and write the raw figures and the tables."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    default = suspicious_runs.COMPARED["defaults"]
    raw = {
        "measured": {
            "commit": commit.stdout.strip(),
            "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
            "prefect": prefect.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "seeds": {"choosing": CHOOSING, "held out": HELD_OUT},
        },
        "ghost": measured_ghosts(),
        "suspicious": {
            "choosing": {
                name: [suspicious_runs.judged(seed, settings) for seed in CHOOSING]
                for name, settings in suspicious_runs.COMPARED.items()
            },
            "held out": [suspicious_runs.judged(seed, default) for seed in HELD_OUT],
        },
    }
    RAW.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables(raw).items():
        before, _, after = page.partition(f"<!-- {name} -->\n")
        _, end, after = after.partition(f"<!-- end of {name} -->")
        page = f"{before}<!-- {name} -->\n{table}\n{end}{after}"
        print(table, end="\n\n")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
