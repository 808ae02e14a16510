"""For how long which incidents are suppressed."""

from __future__ import annotations

from pydantic import AwareDatetime

from monitoring.model.base import Value
from monitoring.model.finding import CheckName, Severity


class Silence(Value):
    """For so long nobody is told of these incidents. All that is given must match."""

    #: What people call it: ``S-3``; empty for a maintenance window.
    id: str = ""
    #: The name of the request that it was made for: asked twice, it is made once.
    request: str = ""
    deployment: str | None = None
    tag: str | None = None
    pool: str | None = None
    check: CheckName | None = None
    severity: Severity | None = None
    owner: str | None = None
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    author: str = ""
    reason: str = ""

    def active(self, now: AwareDatetime) -> bool:
        """Whether it holds at that moment."""
        return self.starts_at <= now < self.ends_at
