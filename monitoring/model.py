"""The values that travel through the watchdog: what was seen, what is found, what became of it.

Everything here is frozen. Times are timezone-aware (UTC), spans are ``timedelta``. Ids are the strings
that Prefect's API gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

StateType = Literal[
    "SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "CRASHED", "PAUSED", "CANCELLING"
]
Severity = Literal["info", "warning", "critical"]
Status = Literal["ok", "warning", "critical", "unknown"]
CheckName = Literal["failed", "crashed", "late", "stuck", "zombie", "slow", "stale", "server"]
SubjectKind = Literal["deployment", "flow", "flow-run", "work-pool", "work-queue", "server"]
CauseKind = Literal[
    "server",
    "scheduler",
    "work-pool",
    "work-queue",
    "deployment",
    "schedule",
    "tag",
    "global-concurrency-limit",
    "flow-run",
]
CauseReason = Literal[
    "no-live-worker", "paused", "limit-reached", "not-scheduling", "previous-run-running", "failed", "unreachable"
]  # fmt: skip
ResolutionReason = Literal["cleared", "succeeded", "paused", "deleted", "expired", "disabled"]

#: The watchdog's own flows, by name. They are kept out of every finding and figure.
CHECK_FLOW = "watchdog-check"
DIGEST_FLOW = "watchdog-digest"
OWN_FLOWS = (CHECK_FLOW, DIGEST_FLOW)

#: The states in which a run is over (prefect.client.schemas.objects.TERMINAL_STATES).
TERMINAL: frozenset[StateType] = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


class Value(BaseModel):
    """A frozen value; unknown fields, as an older or newer version may have written them, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# --- what was seen ---------------------------------------------------------------------------------


class FlowRun(Value):
    """A flow run as the API shows it, slim; its message is redacted."""

    id: str
    name: str
    flow_id: str
    deployment_id: str | None = None
    parent_task_run_id: str | None = None
    state_type: StateType
    state_name: str
    state_timestamp: AwareDatetime
    message: str = ""
    created: AwareDatetime
    expected_start_time: AwareDatetime | None = None
    next_scheduled_start_time: AwareDatetime | None = None
    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None
    auto_scheduled: bool = False
    #: Time in RUNNING over all attempts, without waits; moves only on leaving RUNNING.
    total_run_time: timedelta = timedelta(0)
    work_pool: str | None = None
    work_queue: str | None = None

    @property
    def key(self) -> str:
        """The key of what the run belongs to: its deployment, or its flow where it has none."""
        return self.deployment_id or flow_key(self.flow_id)


def flow_key(flow_id: str) -> str:
    """The key under which the runs of a flow are watched that have no deployment."""
    return f"flow:{flow_id}"


class Deployment(Value):
    """A deployment and what its schedules imply; or a flow, for its runs without a deployment."""

    id: str
    kind: Literal["deployment", "flow"] = "deployment"
    #: ``flow/deployment``: a deployment's own name is unique only within its flow. A flow's own name.
    name: str
    flow_id: str
    flow_name: str
    tags: tuple[str, ...] = ()
    created: AwareDatetime
    paused: bool = False
    #: Names its active schedules; another name means other schedules, and an empty one none: paused, or none active.
    schedule: str = ""
    #: When the newest of them was made. Every ``prefect deploy`` makes them anew.
    scheduled_since: AwareDatetime | None = None
    work_pool: str | None = None
    work_queue: str | None = None
    concurrency_limit: int | None = None
    #: The newest due times of its active schedules that are past the policy's grace, ascending; as many
    #: as the policy lets pass, or fewer where the deployment is younger than that.
    due: tuple[AwareDatetime, ...] = ()

    @property
    def scheduled(self) -> bool:
        """Not paused, and at least one schedule is active."""
        return bool(self.schedule)


class WorkQueue(Value):
    """A work queue of a pool."""

    id: str
    name: str
    paused: bool = False
    concurrency_limit: int | None = None


class WorkPool(Value):
    """A work pool; ``workers`` is None where nobody asked, or where the pool's type has none."""

    id: str
    name: str
    type: str
    paused: bool = False
    concurrency_limit: int | None = None
    queues: tuple[WorkQueue, ...] = ()
    #: How many workers sent a heartbeat within three of their own intervals.
    live_workers: int | None = None


MINIMUM_HEARTBEAT = timedelta(seconds=30)


class Heartbeats(Value):
    """What is known of a run's heartbeats: how many, the first and the last."""

    count: int
    first: AwareDatetime
    last: AwareDatetime

    def interval(self, default: timedelta) -> timedelta:
        """The time between two beats; ``default`` when there has been only one.

        Heartbeat events carry no interval, so it is taken from their spacing, and never for less than Prefect's
        own minimum (prefect/settings/models/flows.py, ``heartbeat_frequency``).
        """
        return max(MINIMUM_HEARTBEAT, (self.last - self.first) / (self.count - 1)) if self.count > 1 else default


class Query(Value):
    """One thing that was asked of the server, and how far the answer goes."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    outcome: Literal["complete", "partial", "failed"]
    detail: str = ""


#: What every observation asks of a server that answers; more is asked where it matters.
ALWAYS_ASKED = ("flows", "deployments", "active-runs", "due-runs", "ended-runs", "work-pools", "work-queues")


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


class ServerState(Value):
    """The server as a whole. ``problem`` says, for a person, why it cannot be used; None when it can."""

    api_url: str
    ui_url: str | None = None
    version: str | None = None
    problem: str | None = None


class Observation(Value):
    """All that one check saw: what is active now, and what ended between ``since`` and ``at``."""

    target: str
    at: AwareDatetime
    #: Start of the window of ended runs.
    since: AwareDatetime
    server: ServerState
    coverage: Coverage
    #: By ``FlowRun.key``.
    deployments: Mapping[str, Deployment] = Field(default_factory=dict)
    #: Overdue SCHEDULED runs, and all PENDING, RUNNING, CANCELLING and PAUSED ones.
    active: tuple[FlowRun, ...] = ()
    #: Runs that ended in the window, oldest first.
    ended: tuple[FlowRun, ...] = ()
    #: By run id: since when a PENDING run has been pending without a break.
    pending_since: Mapping[str, AwareDatetime] = Field(default_factory=dict)
    #: By run id: when a run that had started before began to wait for a concurrency slot.
    slot_wait_since: Mapping[str, AwareDatetime] = Field(default_factory=dict)
    #: By run id; a RUNNING run that is absent has never sent one.
    heartbeats: Mapping[str, Heartbeats] = Field(default_factory=dict)
    #: By the id of a failed or crashed run: the runs it started that failed or crashed, oldest end first.
    failed_children: Mapping[str, tuple[FlowRun, ...]] = Field(default_factory=dict)
    #: By deployment id, where asked: the newest success on the server, None when there is none.
    last_success: Mapping[str, FlowRun | None] = Field(default_factory=dict)
    #: By flow id: names needed to speak of failed children.
    flow_names: Mapping[str, str] = Field(default_factory=dict)
    #: By id, None for one that is gone: remembered runs that stand for a failure, read again.
    read_again: Mapping[str, FlowRun | None] = Field(default_factory=dict)
    #: When the oldest success began that the server still has; None when it was not asked, or has none.
    history_since: AwareDatetime | None = None
    work_pools: Mapping[str, WorkPool] = Field(default_factory=dict)


# --- what is remembered ----------------------------------------------------------------------------


class FailedChild(Value):
    """The subflow (or child run) that made its parent fail."""

    id: str
    name: str
    flow_name: str
    deployment_id: str | None = None


#: So much is kept of a message, and shown of it: the rest is behind the link.
MOST_MESSAGE = 500


class EndedRun(Value):
    """What is kept of a run that has ended."""

    id: str
    name: str
    state_type: StateType
    state_name: str
    message: str = ""
    ended: AwareDatetime
    run_time: timedelta = timedelta(0)
    #: The failed child that failed it, if that is known.
    failed_child: FailedChild | None = None


class Streak(Value):
    """Runs of one deployment that failed or crashed, one after the other."""

    since: AwareDatetime
    failed: int = 0
    crashed: int = 0
    #: The newest of them, newest first, at most ``MOST_STREAK_IDS``.
    run_ids: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """How many runs."""
        return self.failed + self.crashed


#: A streak's ids are kept for links; a hundred are more than anybody follows.
MOST_STREAK_IDS = 100


class Record(Value):
    """What later checks need of one deployment's runs that will not be read again.

    Cancelled runs are left out: somebody wanted them gone, which proves neither health nor failure.
    """

    last_ended: EndedRun | None = None
    last_success: EndedRun | None = None
    #: None when the last ended run succeeded, or when there has been none.
    streak: Streak | None = None
    #: The whole history on the server was searched for a success older than the ledger.
    success_searched: bool = False
    #: The deployment's schedules when it was last seen (``Deployment.schedule``); None before it was.
    schedule: str | None = None
    #: Since when it has had them, as far as is known: fires before that are nobody's fault.
    scheduled_since: AwareDatetime | None = None


class Ledger(Value):
    """The watchdog's memory of ended runs, by deployment id."""

    #: Everything that ended up to here has been read.
    cursor: AwareDatetime | None = None
    #: The runs that ended shortly before the cursor, so that a window that overlaps counts none twice:
    #: run id -> end time.
    recent: Mapping[str, AwareDatetime] = Field(default_factory=dict)
    records: Mapping[str, Record] = Field(default_factory=dict)


# --- what is found ---------------------------------------------------------------------------------


class Subject(Value):
    """What a finding is about."""

    kind: SubjectKind
    id: str
    name: str


class Cause(Value):
    """Why, by name and from evidence."""

    kind: CauseKind
    name: str
    reason: CauseReason


class Finding(Value):
    """How one subject stands now.

    ``flow_run_ids`` holds at most 1,000 ids, ``flow_run_count`` how many runs there are. ``since`` is
    when the condition began, not when it was noticed.
    """

    fingerprint: str
    check: CheckName
    severity: Severity
    subject: Subject
    flow: str | None = None
    deployment: str | None = None
    flow_run_ids: tuple[str, ...] = ()
    flow_run_count: int = 0
    summary: str
    observed: str
    expected: str
    since: AwareDatetime
    url: str | None = None
    cause: Cause | None = None
    symptom_of: str | None = None


#: How many run ids a finding carries.
MOST_RUN_IDS = 1000


def fingerprint(target: str, check: CheckName, kind: SubjectKind, subject_id: str) -> str:
    """Name a finding over time: no time and no address in it.

    Args:
        target: The target's configured name.
        check: The check that finds it.
        kind: The subject's kind.
        subject_id: The subject's id.
    """
    return f"{target}/{check}/{kind}/{subject_id}"


# --- what became of it -----------------------------------------------------------------------------


class Incident(Value):
    """A finding over time."""

    finding: Finding
    opened_at: AwareDatetime
    resolved_at: AwareDatetime | None = None
    resolution: ResolutionReason | None = None


class Transition(Value):
    """A move of one incident, with its reason."""

    incident: Incident
    to: Literal["firing", "resolved"]
    at: AwareDatetime
    reason: Literal["found"] | ResolutionReason
