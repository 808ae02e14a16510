"""What ``watchdog doctor`` says: for a person, and as JSON, which docs/doctor.md describes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from monitoring.doctor.examination import Examined, Outcome, worst
from monitoring.messages import words
from monitoring.text.escaping import clean

#: Raised when a field goes or changes its meaning.
SCHEMA = 1
#: A command that was cut is none.
_MAX_CHARACTERS = 500
_WORDS: dict[Outcome, str] = {"ok": "ok", "warning": "WARNING", "fault": "FAULT", "unknown": "unknown"}
_COLOURS: dict[Outcome, str] = {"ok": "green", "warning": "yellow", "fault": "bold red", "unknown": "magenta"}


def doctor(examined: Sequence[Examined]) -> RenderableType:
    """Render what was examined, each part on a line, what mends it below, and a sum at the end."""
    width = max((len(clean(one.name)) for one in examined), default=0)
    lines = [line for one in examined for line in _lines(one, width)]
    return Group(*lines, Text(), Text(headline(examined), style=_COLOURS[worst(examined)]))


def _lines(one: Examined, width: int) -> list[Text]:
    word = Text(f"{_WORDS[one.outcome]:<9}", style=_COLOURS[one.outcome])
    lines = [word.append(f"{clean(one.name):<{width}}  {clean(one.said, _MAX_CHARACTERS)}", style="default")]
    if one.mend:
        verb = "recommended" if one.recommended else "mend"
        lines.append(Text(f"{'':<9}{verb}: ").append(clean(one.mend, _MAX_CHARACTERS), style="bold"))
    return lines


def headline(examined: Sequence[Examined]) -> str:
    """Say in one sentence how the installation does."""
    outcomes = [one.outcome for one in examined]
    faults, warnings = outcomes.count("fault"), outcomes.count("warning")
    parts = [words.counted(faults, "fault")] if faults else []
    parts += [words.counted(warnings, "warning")] if warnings else []
    found = " and ".join(parts) or "Nothing is wrong"
    advice = sum(one.recommended for one in examined)
    more = [words.counted(advice, "recommendation")] if advice else []
    more += [f"{outcomes.count('unknown'):,} not examined"] if "unknown" in outcomes else []
    return f"{'; '.join([found, *more])}."


def doctor_json(examined: Sequence[Examined], target: str, at: datetime) -> dict[str, Any]:
    """Render what was examined as docs/doctor.md has it."""
    return {
        "schema": SCHEMA,
        "target": target,
        "examined_at": words.stamp(at),
        "status": worst(examined),
        "examined": [
            {
                "name": one.name,
                "outcome": one.outcome,
                "said": one.said,
                "mend": one.mend or None,
                "recommended": one.recommended,
            }
            for one in examined
        ],
    }
