"""The page about reliability, made of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.measured_on import in_words

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


_LIFE = """
## The life of a server

A server on which one deployment is failing, of which people were notified in Slack, and a deployed check. While the
fault lasts, another deployment fails. Afterwards checks go on until people have been notified of that one, too: the
time is counted from the end of the fault. What a check says while the fault lasts is the state of its flow run. If
saved incidents or notifications are lost, people are notified of what is open once more, in one message that says so.
Lost and repeated are counted in alerts.
"""


def page(figures: Mapping[str, Any]) -> str:
    """The whole page, in Markdown."""
    answers, life = figures["answers"], figures["life"]
    lines = [
        _HEAD,
        in_words(answers["measured"]),
        "",
        "| fault | what a check says | exit status | time | peak of memory | requests |",
        "|---|---|---:|---:|---:|---:|",
        *map(_answer, answers["faults"]),
        _LIFE,
        in_words(life["measured"]),
        "",
        "| fault | what checks say meanwhile | lost | repeated | well after | peak of memory |",
        "|---|---|---:|---:|---:|---:|",
        *map(_lived, life["faults"]),
    ]
    return "\n".join(lines) + "\n"


def _answer(row: Mapping[str, Any]) -> str:
    said = f"**{row['problem']}**" if row["problem"] else _OUTCOMES[row["outcome"]]
    return _row(row["fault"], said, row["status"], f"{row['seconds']:.1f} s", f"{row['peak_mib']} MiB", row["requests"])


def _lived(row: Mapping[str, Any]) -> str:
    said = f"**{row['problem']}**" if row["problem"] else "; ".join(row["said"])
    return _row(row["fault"], said, row["lost"], row["repeated"], f"{row['seconds']:.0f} s", f"{row['peak_mib']} MiB")


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
