"""All that one check observed of the server."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from monitoring.model.base import Timestamp, Value
from monitoring.model.coverage import Coverage
from monitoring.model.exporter_facts import ExporterFacts
from monitoring.model.failure import Failure
from monitoring.model.ledger import Traces
from monitoring.model.prefect import Deployment, FlowRun, WorkPool
from monitoring.model.silence import Silence

MIN_HEARTBEAT = timedelta(seconds=30)


class Backlog(Value):
    """How many runs of a work pool were due and waiting, at several times up to now, ascending."""

    samples: tuple[tuple[Timestamp, int], ...]


class Holder(Value):
    """A flow run that holds a slot of a limit, itself or by a task run."""

    flow_run_id: str
    name: str
    #: The name of its state: ``Running``.
    state_name: str
    #: When it started; for a run that has ended, when it ended.
    since: Timestamp
    #: The slot of a run that has ended stays taken until somebody releases it.
    ended: bool = False
    slots: int = 1


class LimitSlots(Value):
    """The slots of a tag's or a global concurrency limit, and how many are taken."""

    kind: Literal["tag", "global-concurrency-limit"]
    name: str
    limit: int
    taken: int


class ConcurrencyLimit(LimitSlots):
    """A limit that is full."""

    id: str
    #: Who holds its slots, as far as the server shows it.
    holders: tuple[Holder, ...] = ()
    #: Whether other runs may hold slots, too.
    more_holders: bool = False
    #: RUNNING flow runs that wait for a slot, by run id: since when. Waiters of a global limit show nowhere.
    waiting: Mapping[str, Timestamp] = Field(default_factory=dict)

    @property
    def held_up(self) -> Mapping[str, Timestamp]:
        """The runs that it holds up. A run that holds slots of it itself queues its task runs, as intended."""
        holders = {holder.flow_run_id for holder in self.holders}
        return {run_id: since for run_id, since in self.waiting.items() if run_id not in holders}


class Heartbeats(Value):
    """A run's heartbeats: how many, the first and the last, by the clock of the machine that sent them."""

    count: int
    first: Timestamp
    last: Timestamp
    #: When the server received the last one, by its own clock; None where that was not read.
    received: Timestamp | None = None

    @property
    def heard(self) -> datetime:
        """When the run was last heard of: a clock that is behind sends old times."""
        return max(self.last, self.received or self.last)

    def interval(self, default: timedelta) -> timedelta:
        """The time between two heartbeats; ``default`` if there has been only one.

        Heartbeat events carry no interval, so it is derived from their spacing, with Prefect's own minimum
        (prefect/settings/models/flows.py, ``heartbeat_frequency``).
        """
        return max(MIN_HEARTBEAT, (self.last - self.first) / (self.count - 1)) if self.count > 1 else default


class ServerState(Value):
    """The server's addresses and version. ``problem`` says, for people, why it cannot be used; None if it can."""

    api_url: str
    ui_url: str | None = None
    version: str | None = None
    problem: str | None = None


class Vitals(Value):
    """The server's own health; None for what was not measured."""

    #: The median time of its answers, and how many there were.
    answer_time: timedelta | None = None
    answers: int = 0
    #: The server's clock minus ours.
    clock_offset: timedelta | None = None
    #: The newest event of about the last day; None if there is none, or it was not queried.
    newest_event: Timestamp | None = None
    #: A run that ended after that event, and long enough ago that its own events should be there.
    unheard: FlowRun | None = None


#: The longest normal delay of an event after its cause, by the server's timestamps.
EVENTS_DELAY = timedelta(minutes=1)


#: Missed scheduled runs are counted up to here.
MAX_MISSED = 1_000


class MissedRuns(Value):
    """The scheduled runs of a deployment since its last success."""

    first: Timestamp
    #: How many up to now, at most ``MAX_MISSED``.
    count: int


class OwnRuns(Value):
    """The watchdog's own deployments and runs, by which it watches itself."""

    #: Their due times judge whether the watchdog itself is late, without the policy's grace.
    deployments: tuple[Deployment, ...] = ()
    #: The newest ended runs of each deployment, oldest end first.
    ended: tuple[FlowRun, ...] = ()
    #: Runs that are active or overdue now.
    active: tuple[FlowRun, ...] = ()
    #: When the newest of their runs that are planned was made by the server's scheduler; None if none is planned.
    planned_at: Timestamp | None = None


class LaterSign(Value):
    """A run that had ended, as read again, and its newest sign of life."""

    run: FlowRun
    #: Where it runs or ran, such as ``host:4711``; empty if unknown.
    infrastructure: str = ""
    kind: Literal["heartbeat", "log line", "task run"]
    #: By the clock of the machine that sent it, and by that of the server.
    occurred: Timestamp
    received: Timestamp

    @property
    def after_end(self) -> timedelta:
        """How long after its end the run was alive, for certain.

        Events and logs may arrive late, and the clock of the machine that sends them may be ahead: only what both
        occurred and was received after the end was sent after it.
        """
        return min(self.occurred, self.received) - self.run.ended_at


class RunFacts(Value):
    """The runs that are active now or ended in the window, and what is known of them beside their rows."""

    #: Overdue SCHEDULED runs, and all PENDING, RUNNING, CANCELLING and PAUSED runs.
    active: tuple[FlowRun, ...] = ()
    #: PENDING, RUNNING, CANCELLING and PAUSED runs of deleted deployments: they may hold slots of pools and queues.
    of_deleted: tuple[FlowRun, ...] = ()
    #: Runs that ended in the window, oldest first.
    ended: tuple[FlowRun, ...] = ()
    #: By run id: since when a PENDING run has been pending without a break.
    pending_since: Mapping[str, Timestamp] = Field(default_factory=dict)
    #: By run id: when a run that had started before began to wait for a concurrency slot.
    slot_wait_since: Mapping[str, Timestamp] = Field(default_factory=dict)
    #: By run id; a RUNNING run that is absent has never sent a heartbeat.
    heartbeats: Mapping[str, Heartbeats] = Field(default_factory=dict)
    #: Runs that have ended and of which something has been received since, lately.
    later_signs: tuple[LaterSign, ...] = ()
    #: By deployment key, where read: what its newest completed run in the window left behind.
    traces: Mapping[str, Traces] = Field(default_factory=dict)
    #: By run id, of RUNNING runs without heartbeats that run far longer than usual: the newest log, task or event.
    signs_of_life: Mapping[str, Timestamp] = Field(default_factory=dict)


class HistoryFacts(Value):
    """Runs of the time before the window, read once for the ledger."""

    #: By deployment id, where queried: the newest success on the server, None when there is none.
    last_success: Mapping[str, FlowRun | None] = Field(default_factory=dict)
    #: When the oldest success on the server began; None when it was not queried, or there is none.
    oldest_success: Timestamp | None = None
    #: By deployment key, where queried: its newest completed runs, newest first, from which run times are learned.
    samples: Mapping[str, tuple[FlowRun, ...]] = Field(default_factory=dict)
    #: By id: the runs that the ledger holds for the latest failure, read again; None for a run that is gone.
    read_again: Mapping[str, FlowRun | None] = Field(default_factory=dict)


class FailureFacts(Value):
    """Why runs failed or crashed."""

    #: By the id of a failed or crashed run that stands for its deployment: why.
    reasons: Mapping[str, Failure] = Field(default_factory=dict)
    #: By the id of a failed or crashed run: the runs it started that failed or crashed, oldest end first.
    children: Mapping[str, tuple[FlowRun, ...]] = Field(default_factory=dict)
    #: By flow id: the names of the children's flows.
    flow_names: Mapping[str, str] = Field(default_factory=dict)


class ScheduleFacts(Value):
    """What schedules imply: runs that should have been, and runs that should be planned."""

    #: By deployment key, where its freshness is in doubt: its scheduled runs since its last success.
    missed: Mapping[str, MissedRuns] = Field(default_factory=dict)
    #: By deployment key: when it was changed after scheduled times for which there is no run. It may have been paused.
    resumed: Mapping[str, Timestamp] = Field(default_factory=dict)
    #: Paused deployments whose ``serve()`` process has ended, by id: the first time after that at which they were due.
    unserved: Mapping[str, Timestamp] = Field(default_factory=dict)
    #: Deployments that should have runs scheduled ahead and have none, by id: their own newest due time before now.
    nothing_ahead: Mapping[str, Timestamp] = Field(default_factory=dict)
    #: Other deployments with a schedule and no planned run, rightly so far: they say nothing about the scheduler.
    unplanned: frozenset[str] = frozenset()


class WorkPoolFacts(Value):
    """The work pools, and the runs that wait in them or will."""

    #: By name.
    work_pools: Mapping[str, WorkPool] = Field(default_factory=dict)
    #: By work pool, where there is a backlog.
    backlogs: Mapping[str, Backlog] = Field(default_factory=dict)
    #: SCHEDULED runs that are due soon and may not be able to start, soonest first.
    upcoming: tuple[FlowRun, ...] = ()
    #: Work pools (``pool``), queues (``pool/queue``) and deployments with more upcoming runs than were read.
    upcoming_cut: frozenset[str] = frozenset()
    #: By the key of a deployment with such runs: how many more its schedules will make in that time. The server makes
    #: runs only three, and an hour, ahead.
    upcoming_later: Mapping[str, int] = Field(default_factory=dict)


class LimitFacts(Value):
    """Tag and global concurrency limits, and how far their slots can be accounted for."""

    #: The limits that are full.
    full: tuple[ConcurrencyLimit, ...] = ()
    #: All limits, full or not.
    slots: tuple[LimitSlots, ...] = ()
    #: Ids of deployments with runs that ended while slots were counted: who held their slots is unknown.
    moving: frozenset[str] = frozenset()


class ServerFacts(Value):
    """The server itself."""

    state: ServerState
    vitals: Vitals = Field(default_factory=Vitals)


class Observation(Value):
    """All that one check observed: what is active now, and what ended between ``since`` and ``at``."""

    #: The configured name of the server.
    target: str
    #: What identifies it over time (``Incidents.target_id``); empty without saved state.
    target_id: str = ""
    at: Timestamp
    #: Start of the window of ended runs.
    since: Timestamp
    server: ServerFacts
    coverage: Coverage
    #: By ``Deployment.key``.
    deployments: Mapping[str, Deployment] = Field(default_factory=dict)
    runs: RunFacts = Field(default_factory=RunFacts)
    history: HistoryFacts = Field(default_factory=HistoryFacts)
    failures: FailureFacts = Field(default_factory=FailureFacts)
    schedules: ScheduleFacts = Field(default_factory=ScheduleFacts)
    pools: WorkPoolFacts = Field(default_factory=WorkPoolFacts)
    limits: LimitFacts = Field(default_factory=LimitFacts)
    own: OwnRuns = Field(default_factory=OwnRuns)
    #: The facts for the metrics of Prefect's own exporter; None if these metrics are off.
    exporter: ExporterFacts | None = None
    #: Maintenance windows that are open now.
    maintenance: tuple[Silence, ...] = ()

    @property
    def identity(self) -> str:
        """What the fingerprints of its findings begin with: the server's id, or its name where it has none."""
        return self.target_id or self.target
