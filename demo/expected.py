"""What the watchdog must find in the demo, and how its answer compares with that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """One finding, as far as the demo can foresee it; its subject says its kind, as in ``work-pool etl``."""

    check: str
    severity: str
    subject: str
    cause: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Finding:
        """Take what can be foreseen from a row of the artifact ``watchdog-findings``."""
        return cls(row["check"], row["severity"], row["subject"], row["cause"])


class Comparison(NamedTuple):
    """The findings that were expected and came, those that did not come, and those that nobody planted."""

    found: list[Finding]
    missed: list[Finding]
    extra: list[Finding]

    @property
    def is_right(self) -> bool:
        """Whether every planted fault was reported and nothing else was."""
        return not self.missed and not self.extra

    @property
    def verdict(self) -> str:
        """One sentence on how it went."""
        if self.is_right:
            return f"All {len(self.found)} expected findings were reported, and nothing else."
        planted, extra = len(self.found) + len(self.missed), len(self.extra)
        return f"Missed {len(self.missed)} of {planted} expected findings; reported beyond them: {extra}."


def compare(expected: Iterable[Finding], reported: Iterable[Finding]) -> Comparison:
    """Compare both as multisets: a finding that is told twice is one too many."""
    wanted, got = Counter(expected), Counter(reported)
    return Comparison(*(sorted(part.elements(), key=str) for part in (wanted & got, wanted - got, got - wanted)))
