"""The findings that the demo expects, compared with those of the watchdog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """A finding, as far as the demo can predict it; the subject begins with its kind, as in ``work-pool etl``."""

    check: str
    severity: str
    subject: str
    cause: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Finding:
        """Take the predictable part of a row of the artifact ``watchdog-findings``."""
        return cls(row["check"], row["severity"], row["subject"], row["cause"])


class Comparison(NamedTuple):
    """The expected findings that were reported, those that were missed, and unexpected ones."""

    found: list[Finding]
    missed: list[Finding]
    extra: list[Finding]

    @property
    def is_right(self) -> bool:
        """Whether every planted fault was reported and nothing else was."""
        return not self.missed and not self.extra

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if self.is_right:
            return f"All {len(self.found)} expected findings were reported, and nothing else."
        planted, extra = len(self.found) + len(self.missed), len(self.extra)
        return f"Missed {len(self.missed)} of {planted} expected findings; unexpected findings: {extra}."


def compare(expected: Iterable[Finding], reported: Iterable[Finding]) -> Comparison:
    """Compare both as multisets: a finding that is reported twice is unexpected once."""
    wanted, got = Counter(expected), Counter(reported)
    return Comparison(*(sorted(part.elements(), key=str) for part in (wanted & got, wanted - got, got - wanted)))
