"""For how long which incidents are suppressed."""

from __future__ import annotations

from pydantic import AwareDatetime

from monitoring.model.matcher import Matcher


class Silence(Matcher):
    """The incidents that match are suppressed for a time."""

    #: Its id for people: ``S-3``; empty for a maintenance window.
    id: str = ""
    #: The name of its action request: a request that comes twice makes one silence.
    request: str = ""
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    author: str = ""
    reason: str = ""

    def active(self, now: AwareDatetime) -> bool:
        """Whether it is active at that time."""
        return self.starts_at <= now < self.ends_at
