"""For how long which incidents are suppressed."""

from __future__ import annotations

from collections.abc import Iterable

from monitoring.model.base import Timestamp
from monitoring.model.matcher import Labels, Matcher


class Silence(Matcher):
    """The incidents that match are suppressed for a time."""

    #: Its id for people: ``S-3``; empty for a maintenance window.
    id: str = ""
    #: The name of its action request: a request that comes twice makes one silence.
    request: str = ""
    starts_at: Timestamp
    ends_at: Timestamp
    author: str = ""
    reason: str = ""

    def active(self, now: Timestamp) -> bool:
        """Whether it is active at that time."""
        return self.starts_at <= now < self.ends_at


def active_silence(labels: Labels, silences: Iterable[Silence], now: Timestamp) -> Silence | None:
    """The active silence that matches; of several, the silence that ends last."""
    matching = (silence for silence in silences if silence.active(now) and silence.matches(labels))
    return max(matching, key=lambda silence: silence.ends_at, default=None)
