"""The facts about an installation of the watchdog, as read from its server; ``doctor`` judges them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal

from pydantic import Field

from monitoring.model.base import Timestamp, Value
from monitoring.model.coverage import Coverage
from monitoring.model.observation import ServerState
from monitoring.model.outbox import Outbox
from monitoring.model.policy import PolicyKey
from monitoring.model.prefect import Deployment, FlowRun, WorkPool
from monitoring.model.silence import Silence

#: The queries that only doctor makes; it shares the other queries with a check.
AUTOMATIONS, LOCK, STATE, SUBJECTS = "automations", "lock", "state", "subjects"


class Server(Value):
    """The Prefect server; None for facts that it does not report."""

    state: ServerState
    #: Prefect's version here.
    client: str
    #: Whether the server cannot be used because it rejects our credentials.
    rejected: bool = False
    #: The server's clock minus ours.
    clock_offset: timedelta | None = None
    #: Whether the server reaches its database.
    database: bool | None = None


class Automation(Value):
    """An automation that concerns the watchdog."""

    id: str
    name: str
    enabled: bool
    #: The deployments that it starts, by id.
    starts: tuple[str, ...] = ()
    #: Whether it fires when no check completes.
    watches: bool = False
    #: Whether it waits for checks under an earlier name of the target, which never complete.
    renamed: bool = False
    #: For how long it drops further events once it has fired.
    within: timedelta = timedelta(0)


class TimeZones(Value):
    """The time zones of a deployment of the digest."""

    #: Those of its active schedules.
    schedules: tuple[str, ...]
    #: In which its days begin and end.
    days: str


class Lock(Value):
    """The lock, while a check holds it."""

    #: The flow run that took it; None if the variable was edited.
    holder: str | None
    since: Timestamp
    renewed: Timestamp
    expired: bool
    #: Whether the flow run has ended since it renewed the lock.
    ended: bool = False


class Kept(Value):
    """The saved state."""

    #: Which documents could be read; the others are empty here.
    coverage: Coverage = Coverage()
    #: Why none of it can be used, such as that a newer watchdog wrote it.
    problem: str = ""
    #: Names of documents that were set aside.
    aside: tuple[str, ...] = ()
    outbox: Outbox = Outbox()
    #: Those that have not ended.
    silences: tuple[Silence, ...] = ()
    #: Until when all ended runs were read; None before the first time.
    cursor: Timestamp | None = None


class Secret(Value):
    """Where a secret was found, and what it looks like; never its value."""

    place: Literal["nowhere", "environment", "block"]
    looks: Literal["nothing", "text", "address"] = "nothing"
    #: Why it could not be read.
    problem: str = ""


class Installation(Value):
    """An installation, as read from its server. The coverage names the queries of each part."""

    at: Timestamp
    server: Server
    coverage: Coverage = Coverage()
    #: The watchdog's own.
    deployments: tuple[Deployment, ...] = ()
    #: The schedules that are not active, by deployment id.
    inactive: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    #: By deployment id.
    time_zones: Mapping[str, TimeZones] = Field(default_factory=dict)
    #: The ids of those of which the server says that nothing polls their runs.
    unpolled: frozenset[str] = frozenset()
    #: The ids of the deployments made for a work pool: they bring settings for its jobs, as in ``prefect.yaml``.
    for_pools: frozenset[str] = frozenset()
    #: By name.
    pools: Mapping[str, WorkPool] = Field(default_factory=dict)
    #: The newest ended runs of each deployment, oldest end first; messages are redacted.
    ended: tuple[FlowRun, ...] = ()
    automations: tuple[Automation, ...] = ()
    #: Everything that rules, routes, windows and silences can match; read only if there are any.
    subjects: tuple[PolicyKey, ...] = ()
    lock: Lock | None = None
    kept: Kept = Kept()
    #: Secrets by the name of their block.
    secrets: Mapping[str, Secret] = Field(default_factory=dict)
    #: The capabilities of blocks by reference; None where there is no such block.
    blocks: Mapping[str, tuple[str, ...] | None] = Field(default_factory=dict)

    def unread(self, *queries: str) -> str:
        """Why one of these queries is incomplete; empty if all are complete."""
        if self.server.state.problem:
            return "the server cannot be used"
        by_name = {query.name: query for query in self.coverage.queries}
        for name in queries:
            query = by_name.get(name)
            if query is None or query.outcome != "complete":
                return (query and query.detail) or f"{name} were not read"
        return ""

    def missing(self, query: str) -> str:
        """Why an optional query is incomplete; empty if it is complete, or was not made."""
        return next((lost.detail or lost.outcome for lost in self.coverage.missing if lost.name == query), "")

    def completed(self, deployment: Deployment) -> datetime | None:
        """When the last completed run of a deployment ended."""
        return max((run.ended_at for run in self._runs(deployment) if run.state_type == "COMPLETED"), default=None)

    def failures(self, deployment: Deployment) -> list[FlowRun]:
        """The streak of failed or crashed runs at the end, newest first; cancelled runs do not count."""
        judged = [run for run in self._runs(deployment) if run.state_type != "CANCELLED"]
        return list(takewhile(lambda run: run.state_type in ("FAILED", "CRASHED"), reversed(judged)))

    def _runs(self, deployment: Deployment) -> list[FlowRun]:
        return [run for run in self.ended if run.deployment_id == deployment.id]
