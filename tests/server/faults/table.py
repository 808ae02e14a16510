"""The page about reliability, made of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).parents[3] / "docs"
FIGURES, PAGE = _DOCS / "reliability.json", _DOCS / "reliability.md"

_OUTCOMES = {
    "seen": "all was seen",
    "unknown": "unknown, and what is missing is named",
    "unusable": "critical: the server cannot be used",
    "denied": "the key is rejected; nothing is judged",
}

_HEAD = """# Reliability

What `watchdog check` makes of a server that misbehaves. A proxy before a real Prefect server, which has one failed run,
plays each fault for one query, or for every request. Whatever the server answers, a check ends, holds little, and calls
nothing healthy that it did not see.

The exit status is that of monitoring plugins: 1 warning (the failed run), 2 critical, 3 unknown or unable. The time is
that of the whole command, of which starting takes about 2 s; the peak of memory is that of its process, of which
Prefect's client alone is about 100 MiB.

```bash
make reliability
```
"""


def page(figures: Mapping[str, Any]) -> str:
    """The whole page, in Markdown."""
    measured = figures["measured"]
    lines = [
        _HEAD,
        f"Measured on {measured['date']} at {measured['commit']}, with Prefect {measured['prefect']} and Python "
        f"{measured['python']}, on {measured['machine']}:",
        "",
        "| fault | what a check says | exit status | time | peak of memory | requests |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in figures["faults"]:
        outcome = f"**{row['problem']}**" if row["problem"] else _OUTCOMES[row["outcome"]]
        cells = [
            row["fault"],
            outcome,
            str(row["status"]),
            f"{row['seconds']:.1f} s",
            f"{row['peak_mib']} MiB",
            str(row["requests"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
