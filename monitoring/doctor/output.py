"""The output of ``watchdog doctor``, for people and as JSON, which docs/doctor.md describes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from monitoring.doctor.examination import Examined, Outcome, worst
from monitoring.messages import words
from monitoring.model.message import Element, Level, List, Message, Prose, code, inline, strong

#: Increased if a field is removed or changes its meaning.
SCHEMA = 1
_LEVELS: dict[Outcome, Level] = {"ok": "ok", "warning": "warning", "fault": "critical", "unknown": "unknown"}
_WORDS: dict[Outcome, str] = {"ok": "ok", "warning": "WARNING", "fault": "FAULT", "unknown": "unknown"}


def doctor_message(examined: Sequence[Examined]) -> Message:
    """Show each examined part in a line, with its fix below, under a headline that summarizes them."""
    title = headline(examined)
    return Message(
        title=title,
        level=_LEVELS[worst(examined)],
        fallback=title,
        elements=tuple(element for part in examined for element in _part(part)),
    )


def _part(part: Examined) -> Iterator[Element]:
    yield Prose(
        spans=inline(f"{_WORDS[part.outcome]}: ", strong(part.name), f": {part.detail}"), level=_LEVELS[part.outcome]
    )
    if part.fix:
        yield List(items=(inline("recommended: " if part.recommended else "fix: ", code(part.fix)),))


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
