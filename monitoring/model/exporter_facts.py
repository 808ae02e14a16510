"""What the metrics of Prefect's own exporter are made of: see ``monitoring.metrics.compatible``."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from monitoring.model.base import Timestamp, Value
from monitoring.model.coverage import Coverage
from monitoring.model.prefect import FlowRun

#: The queries that the facts rest on, as the coverage names them.
FLOWS, DEPLOYMENTS = "compatible-flows", "compatible-deployments"
STARTED, ENDED = "compatible-started", "compatible-ended"
ONGOING, FAILED = "compatible-ongoing", "compatible-failed"
POOLS, QUEUES, LATE = "compatible-work-pools", "compatible-work-queues", "compatible-late"


class DeployedFlow(Value):
    """A deployment as the labels have it."""

    id: str
    name: str
    flow_id: str
    paused: bool
    path: str | None = None
    work_pool: str | None = None
    work_queue: str | None = None
    status: str | None = None
    tags: tuple[str, ...] = ()


class Pool(Value):
    """A work pool as the labels have it."""

    name: str
    type: str
    status: str | None = None
    paused: bool


class Queue(Value):
    """A work queue as the labels have it."""

    name: str
    work_pool: str | None = None
    priority: int
    status: str | None = None
    paused: bool
    last_polled: Timestamp | None = None
    #: How many runs are late there, as far as ``LATE`` was answered.
    late: int = 0


class ExporterFacts(Value):
    """What these metrics are made of. What the coverage does not have whole is unknown."""

    #: Names by id.
    flows: Mapping[str, str] = Field(default_factory=dict)
    deployments: tuple[DeployedFlow, ...] = ()
    #: Runs that began in the window, and those that are planned for later.
    started: tuple[FlowRun, ...] = ()
    #: Runs that ended in the window.
    ended: tuple[FlowRun, ...] = ()
    #: Runs that have begun and not ended.
    ongoing: tuple[FlowRun, ...] = ()
    #: Runs of deployments that failed or crashed in the window for these.
    failed: tuple[FlowRun, ...] = ()
    pools: tuple[Pool, ...] = ()
    queues: tuple[Queue, ...] = ()
    coverage: Coverage = Coverage()
