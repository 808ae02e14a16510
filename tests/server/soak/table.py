"""The page about the soak, made of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from tests.support.measured_on import in_words

_DOCS = Path(__file__).parents[3] / "docs"
FIGURES, PAGE = _DOCS / "soak.json", _DOCS / "soak.md"

#: What may grow: incidents that are resolved are kept for 90 days.
_HISTORY = "saved closed"
#: By which part of itself, and by what on top, a measure may be larger in the last quarter than in the one before.
_TOLERANCE = 0.1
#: In MiB, in kB, and for the rest as they are counted.
_ON_TOP = {"memory": 4.0, "saved": 4.0}

_HEAD = """# Soak

The check, again and again in one process, with saved state, lock, artifacts and notifications in a Slack emulator, on a
real server that changes all the time: runs complete, fail and crash, deployments are paused, deleted and made, work
pools lose their workers. After every {burst} checks {hours:.0f} hours pass: everything on the server and in the saved
state is dated back. So {checks:,} checks are {days:.0f} days, and what is kept for a week has gone by the middle. Rows
are those that the watchdog has left on the server; of the flow runs, one a day is a digest, which stays.

```bash
make soak
```
"""


def page(figures: Mapping[str, Any]) -> str:
    """The whole page, in Markdown."""
    samples = figures["samples"]
    checks, burst = samples[-1]["check"], figures["burst"]
    hours = figures["pause_hours"]
    shown = [samples[round(part * (len(samples) - 1))] for part in (0, 0.25, 0.5, 0.75, 1)]
    columns = [measures(sample) for sample in shown]
    grown = growing(samples)
    lines = [
        _HEAD.format(burst=burst, hours=hours, checks=checks, days=checks / burst * hours / 24),
        in_words(figures["measured"]),
        "",
        f"| after checks | {' | '.join(str(sample['check']) for sample in shown)} | flat |",
        f"|---|{'---:|' * len(shown)}---|",
    ]
    for name in columns[-1]:
        cells = (f"{column.get(name, 0):,.{_digits(name)}f}" for column in columns)
        flat = "kept for 90 days" if name == _HISTORY else "**no**" if name in grown else "yes"
        lines.append(f"| {_WORDS.get(name, name)} | {' | '.join(cells)} | {flat} |")
    return "\n".join(lines) + "\n"


def measures(sample: Mapping[str, Any]) -> dict[str, float]:
    """The measures of a sample, by name."""
    return {
        "memory": sample["memory_kib"] / 1024,
        "file descriptors": sample["file_descriptors"],
        "threads": sample["threads"],
        **{f"saved {name}": size / 1000 for name, size in sorted(sample["saved"].items())},
        **{f"rows: {name}": rows for name, rows in sample["rows"].items()},
    }


def growing(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """The measures that are larger in the last quarter of the samples than in the one before."""
    quarter = max(1, len(samples) // 4)
    before, last = (list(map(measures, part)) for part in (samples[-2 * quarter : -quarter], samples[-quarter:]))
    return [name for name in last[-1] if name != _HISTORY and _grows(name, before, last)]


def _grows(name: str, before: Sequence[Mapping[str, float]], last: Sequence[Mapping[str, float]]) -> bool:
    mean_before, mean_last = (mean(sample.get(name, 0) for sample in part) for part in (before, last))
    on_top = next((most for prefix, most in _ON_TOP.items() if name.startswith(prefix)), 10.0)
    return mean_last > (1 + _TOLERANCE) * mean_before + on_top


def _digits(name: str) -> int:
    return 1 if name.startswith("saved") else 0


_WORDS = {"memory": "memory, MiB"} | {
    f"saved {name}": f"saved {name}, kB"
    for name in ("artifacts", "closed", "incidents", "ledger", "outbox", "silences")
}
