"""How far the answers of the server go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from monitoring.model.base import Value


class Query(Value):
    """One thing that was asked of the server, and how far the answer goes."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    outcome: Literal["complete", "partial", "failed"]
    detail: str = ""


#: What every observation asks of a server that answers; more is asked where it matters.
ALWAYS_QUERIED = ("flows", "deployments", "active-runs", "due-runs", "ended-runs", "work-pools", "work-queues")


class Coverage(Value):
    """Every query of an observation, by name. What is not complete is unknown: neither healthy nor broken."""

    queries: tuple[Query, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything that was asked was answered whole."""
        return not self.missing

    @property
    def missing(self) -> tuple[Query, ...]:
        """The queries whose answers are partial or absent."""
        return tuple(query for query in self.queries if query.outcome != "complete")

    def has(self, *names: str) -> bool:
        """Whether all the named queries were asked and answered whole."""
        whole = {query.name for query in self.queries if query.outcome == "complete"}
        return whole.issuperset(names)
