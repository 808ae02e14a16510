"""How complete the answers of the server are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from monitoring.model.base import Value


class Query(Value):
    """A query to the server, and how complete its answer is."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    outcome: Literal["complete", "partial", "failed"]
    detail: str = ""


#: The queries of every observation; others are made where they matter.
ALWAYS_QUERIED = ("flows", "deployments", "active-runs", "due-runs", "ended-runs", "work-pools", "work-queues")


class Coverage(Value):
    """Every query of an observation, by name. Anything incomplete is unknown: neither healthy nor broken."""

    queries: tuple[Query, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every query was answered completely."""
        return not self.missing

    @property
    def missing(self) -> tuple[Query, ...]:
        """The queries whose answers are partial or missing."""
        return tuple(query for query in self.queries if query.outcome != "complete")

    def has(self, *names: str) -> bool:
        """Whether all these queries were made and answered completely."""
        whole = {query.name for query in self.queries if query.outcome == "complete"}
        return whole.issuperset(names)
