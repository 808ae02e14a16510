"""The output of ``watchdog doctor``, for people and as JSON, which docs/doctor.md describes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from monitoring.doctor.examination import Examined, Outcome, worst
from monitoring.messages import words
from monitoring.text.escaping import clean

#: Increased if a field is removed or changes its meaning.
SCHEMA = 1
#: Long enough for whole commands.
_MAX_CHARACTERS = 500
_WORDS: dict[Outcome, str] = {"ok": "ok", "warning": "WARNING", "fault": "FAULT", "unknown": "unknown"}
_COLOURS: dict[Outcome, str] = {"ok": "green", "warning": "yellow", "fault": "bold red", "unknown": "magenta"}


def doctor(examined: Sequence[Examined]) -> RenderableType:
    """Render the examined parts, each on a line with its fix below, and a summary at the end."""
    width = max((len(clean(part.name)) for part in examined), default=0)
    lines = [line for part in examined for line in _lines(part, width)]
    return Group(*lines, Text(), Text(headline(examined), style=_COLOURS[worst(examined)]))


def _lines(part: Examined, width: int) -> list[Text]:
    word = Text(f"{_WORDS[part.outcome]:<9}", style=_COLOURS[part.outcome])
    lines = [word.append(f"{clean(part.name):<{width}}  {clean(part.detail, _MAX_CHARACTERS)}", style="default")]
    if part.fix:
        label = "recommended" if part.recommended else "fix"
        lines.append(Text(f"{'':<9}{label}: ").append(clean(part.fix, _MAX_CHARACTERS), style="bold"))
    return lines


def headline(examined: Sequence[Examined]) -> str:
    """Summarize the state of the installation in a sentence."""
    outcomes = [part.outcome for part in examined]
    faults, warnings = outcomes.count("fault"), outcomes.count("warning")
    parts = [words.counted(faults, "fault")] if faults else []
    parts += [words.counted(warnings, "warning")] if warnings else []
    found = " and ".join(parts) or "Nothing is wrong"
    advice = sum(part.recommended for part in examined)
    more = [words.counted(advice, "recommendation")] if advice else []
    more += [f"{outcomes.count('unknown'):,} not examined"] if "unknown" in outcomes else []
    return f"{'; '.join([found, *more])}."


def doctor_json(examined: Sequence[Examined], target: str, at: datetime) -> dict[str, Any]:
    """Render the examined parts as docs/doctor.md describes."""
    return {
        "schema": SCHEMA,
        "target": target,
        "examined_at": words.stamp(at),
        "status": worst(examined),
        "examined": [
            {
                "name": part.name,
                "outcome": part.outcome,
                "said": part.detail,
                "mend": part.fix or None,
                "recommended": part.recommended,
            }
            for part in examined
        ],
    }
