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
CheckName = Literal[
    "failed",
    "crashed",
    "late",
    "stuck",
    "zombie",
    "slow",
    "stale",
    "unscheduled",
    "paused",
    "work-pool",
    "work-queue",
    "ahead",
    "concurrency",
    "server",
    "watchdog",
]
SubjectKind = Literal[
    "deployment",
    "flow",
    "flow-run",
    "work-pool",
    "work-queue",
    "tag",
    "global-concurrency-limit",
    "error",
    "scheduler",
    "server",
    "route",
    "metrics-outlet",
]
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
ResolutionReason = Literal["cleared", "succeeded", "paused", "deleted", "expired", "disabled", "closed"]
StepTo = Literal["pending", "firing", "updated", "resolved"]
#: Why an incident moved: it was found, lasted for its hold, came back; got worse or better; somebody acknowledged it;
#: it became the symptom of another, or stopped being one; and why it was over.
StepReason = (
    Literal["found", "held", "reopened", "worse", "better", "acknowledged", "explained", "freed"] | ResolutionReason
)

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
    #: How often the run was started; more than 1 after a retry.
    run_count: int = 0
    #: When a PAUSED or SUSPENDED run gives up by itself.
    pause_timeout: AwareDatetime | None = None
    #: Time in RUNNING over all attempts, without waits; moves only on leaving RUNNING.
    total_run_time: timedelta = timedelta(0)
    work_pool: str | None = None
    work_queue: str | None = None
    #: It awaits its retry in its own process: no worker will take it (prefect/server/database/sql/).
    retries_in_process: bool = False

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
    #: Since when, at the least, it has been paused or all its schedules inactive: nobody has touched either since.
    #: None where it is active, or has no schedules and is not paused.
    inactive_since: AwareDatetime | None = None
    work_pool: str | None = None
    work_queue: str | None = None
    concurrency_limit: int | None = None
    #: Slots of the deployment's own limit that are taken, as the server counts them; None without a limit.
    slots_taken: int | None = None
    #: What comes while that limit is full is cancelled and does not wait (the collision strategy CANCEL_NEW).
    skips_overlaps: bool = False
    #: When it or one of its schedules was last changed, however little; None where that is not known.
    changed: AwareDatetime | None = None
    #: When its active schedules fire next, where that was asked; None where they never do.
    next_due: AwareDatetime | None = None
    #: By when a scheduler that lives has planned that fire, where it was asked whether it has.
    planned_by: AwareDatetime | None = None
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
    #: PENDING and RUNNING runs in it, as the server counts them; None without a limit, or from an older server.
    slots_taken: int | None = None


class WorkPool(Value):
    """A work pool; ``workers`` is None where nobody asked, or where the pool's type has none."""

    id: str
    name: str
    type: str
    paused: bool = False
    concurrency_limit: int | None = None
    #: As for a queue.
    slots_taken: int | None = None
    queues: tuple[WorkQueue, ...] = ()
    #: How many workers sent a heartbeat within three of their own intervals.
    live_workers: int | None = None
    #: When any of its workers was last heard of; None where none ever was, or nobody asked.
    last_heartbeat: AwareDatetime | None = None


MINIMUM_HEARTBEAT = timedelta(seconds=30)


class Backlog(Value):
    """How many runs of a work pool were due and waiting, at moments ascending to now."""

    samples: tuple[tuple[AwareDatetime, int], ...]


class Holder(Value):
    """A run that holds a slot of a limit: a flow run, or the flow run of a task run that does."""

    flow_run_id: str
    name: str
    #: The name of its state: ``Running``.
    state_name: str
    #: When it began; of one that has ended, when it did.
    since: AwareDatetime
    #: A slot of a run that has ended is lost until somebody frees it.
    ended: bool = False
    slots: int = 1


class ConcurrencyLimit(Value):
    """A tag's or a global concurrency limit that is full."""

    kind: Literal["tag", "global-concurrency-limit"]
    id: str
    name: str
    limit: int
    taken: int
    #: Who holds its slots, as far as the server shows it.
    holders: tuple[Holder, ...] = ()
    #: Whether others than these may hold slots.
    more_holders: bool = False
    #: RUNNING flow runs that wait for a slot, by run id: since when. Waiters of a global limit show nowhere.
    waiting: Mapping[str, AwareDatetime] = Field(default_factory=dict)


class LimitSlots(Value):
    """How many slots a tag's or a global concurrency limit has, and how many are taken; full or not."""

    kind: Literal["tag", "global-concurrency-limit"]
    name: str
    limit: int
    taken: int


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


class Vitals(Value):
    """How well the server itself does; None where that was not asked or cannot be told."""

    #: The median time of its answers, and how many there were.
    answer_time: timedelta | None = None
    answers: int = 0
    #: The server's clock less ours.
    clock_offset: timedelta | None = None
    #: The newest event of the last day or so; None where there is none, or nobody asked.
    newest_event: AwareDatetime | None = None
    #: A run that ended after it, and so long ago that its own events should be there.
    unheard: FlowRun | None = None


#: How much later than what it tells of an event may lie, by the server's times, when all is well.
EVENTS_DELAY = timedelta(minutes=1)


class Missed(Value):
    """The fires of a deployment's schedules since its last success."""

    first: AwareDatetime
    #: How many up to now, at most ``MOST_MISSED``.
    count: int


#: Nobody needs to know more exactly how many fires were missed.
MOST_MISSED = 1_000


class FailedChild(Value):
    """The subflow (or child run) that made its parent fail."""

    id: str
    name: str
    flow_name: str
    deployment_id: str | None = None


class Failure(Value):
    """Why a run failed or crashed, from its message, logs and task runs; its texts are redacted."""

    #: The failing task, where there is one.
    task: str | None = None
    #: The exception's type: ``ValueError``, ``httpx.ConnectError``.
    exception: str | None = None
    #: The error in one line: ``ValueError: no rows``; the deepest failed run's.
    reason: str = ""
    #: The end of the traceback, or of the error's log lines; empty where there are none, or nobody asked.
    traceback: str = ""
    #: Names the error whatever numbers, ids, addresses and paths are in it; empty where nothing is known.
    error: str = ""
    #: From the run's child down to the deepest failed run.
    path: tuple[FailedChild, ...] = ()


class OwnRuns(Value):
    """The watchdog's own deployments and their runs, by which it is itself watched."""

    #: Their due times are those by which the watchdog's own lateness is judged, and not by the policy's grace.
    deployments: tuple[Deployment, ...] = ()
    #: The newest ended runs of each deployment, oldest end first.
    ended: tuple[FlowRun, ...] = ()
    #: Runs that are active or overdue now.
    active: tuple[FlowRun, ...] = ()
    #: When the newest of their runs that are planned was made by the server's scheduler; None where none is.
    planned_at: AwareDatetime | None = None


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
    #: By the id of a failed or crashed run that stands for its deployment: why.
    failures: Mapping[str, Failure] = Field(default_factory=dict)
    #: By deployment key, where asked: its newest completed runs, newest first, to learn how long they take.
    samples: Mapping[str, tuple[FlowRun, ...]] = Field(default_factory=dict)
    #: By deployment key, where its freshness is in doubt: the fires since its last success.
    missed: Mapping[str, Missed] = Field(default_factory=dict)
    #: Deployments that should have runs scheduled ahead and have none, by id: their own newest due time before now.
    nothing_ahead: Mapping[str, AwareDatetime] = Field(default_factory=dict)
    #: Other scheduled deployments that nothing is planned for, rightly so far: they show nothing of the scheduler.
    unplanned: frozenset[str] = frozenset()
    #: SCHEDULED runs that are due in the time ahead and may not be able to start, soonest first.
    upcoming: tuple[FlowRun, ...] = ()
    #: Work pools (``pool``), queues (``pool/queue``) and deployments where more is due than was read.
    upcoming_cut: frozenset[str] = frozenset()
    #: By work pool, where a backlog stands.
    backlogs: Mapping[str, Backlog] = Field(default_factory=dict)
    #: Deployments, by id, of whose runs some ended while slots were counted: who held those is not known.
    slots_moving: frozenset[str] = frozenset()
    #: Tag and global limits that are full.
    limits: tuple[ConcurrencyLimit, ...] = ()
    #: Tag and global limits, whether they are full or not.
    limit_slots: tuple[LimitSlots, ...] = ()
    vitals: Vitals = Vitals()
    own: OwnRuns = OwnRuns()
    #: By flow id: names needed to speak of failed children.
    flow_names: Mapping[str, str] = Field(default_factory=dict)
    #: By id, None for one that is gone: remembered runs that stand for a failure, read again.
    read_again: Mapping[str, FlowRun | None] = Field(default_factory=dict)
    #: When the oldest success began that the server still has; None when it was not asked, or has none.
    history_since: AwareDatetime | None = None
    work_pools: Mapping[str, WorkPool] = Field(default_factory=dict)
    #: Maintenance windows that are open now.
    maintenance: tuple[Silence, ...] = ()


# --- what is remembered ----------------------------------------------------------------------------


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
    #: Why it failed or crashed, if it did.
    failure: Failure | None = None


class Streak(Value):
    """Runs of one deployment that failed or crashed, one after the other."""

    since: AwareDatetime
    failed: int = 0
    crashed: int = 0
    #: The newest of them, newest first, at most ``MOST_STREAK_IDS``.
    run_ids: tuple[str, ...] = ()
    #: How many of the newest ended as the newest one did, all failed or all crashed; since when, if that is known.
    alike: int = 1
    alike_since: AwareDatetime | None = None

    @property
    def length(self) -> int:
        """How many runs."""
        return self.failed + self.crashed


#: A streak's ids are kept for links; a hundred are more than anybody follows.
MOST_STREAK_IDS = 100


class RunTimes(Value):
    """How long a deployment's completed runs took: a bounded sample, the same however history was cut into windows."""

    #: The newest completed runs, newest first: end (seconds since the epoch), run time in seconds.
    recent: tuple[tuple[int, float], ...] = ()
    #: By month (``2026-06``): a random few of its runs, as (rank, run time in seconds); those of lowest rank are kept.
    months: Mapping[str, tuple[tuple[int, float], ...]] = Field(default_factory=dict)


class Counts(Value):
    """How many runs of one deployment have ended since the watchdog's first check. These numbers only rise."""

    #: By how they ended.
    ends: Mapping[StateType, int] = Field(default_factory=dict)
    #: Completed runs by run time: how many in each of the buckets of the metric, and in the last, without a bound.
    run_times: tuple[int, ...] = ()
    #: Seconds, of all of them.
    run_time: float = 0


class Record(Value):
    """What later checks need of one deployment's runs that will not be read again.

    Cancelled runs are counted and otherwise left out: somebody wanted them gone, which proves neither health nor
    failure.
    """

    last_ended: EndedRun | None = None
    last_success: EndedRun | None = None
    #: The newest that failed before the last ended run, without its reason: fresh where failures are expected.
    last_failed: EndedRun | None = None
    #: None when the last ended run succeeded, or when there has been none.
    streak: Streak | None = None
    #: The whole history on the server was searched for a success older than the ledger.
    success_searched: bool = False
    run_times: RunTimes = RunTimes()
    #: The history on the server was searched for run times older than the ledger.
    run_times_searched: bool = False
    #: Since when it has been paused, or all its schedules inactive, as far as is known.
    inactive_since: AwareDatetime | None = None
    #: The deployment's schedules when it was last seen (``Deployment.schedule``); None before it was.
    schedule: str | None = None
    #: Since when it has had them, as far as is known: fires before that are nobody's fault.
    scheduled_since: AwareDatetime | None = None
    counts: Counts = Counts()


class Ledger(Value):
    """The watchdog's memory of ended runs, by deployment id."""

    #: Everything that ended up to here has been read.
    cursor: AwareDatetime | None = None
    #: The cursor before that one: how far apart checks are.
    cursor_before: AwareDatetime | None = None
    #: When a check last saw all that it asked for, the saved state included.
    complete_at: AwareDatetime | None = None
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

    @property
    def key(self) -> str:
        """The key under which the runs of a deployment or a flow are watched."""
        return flow_key(self.id) if self.kind == "flow" else self.id


class Cause(Value):
    """Why, by name and from evidence."""

    kind: CauseKind
    name: str
    reason: CauseReason
    #: The runs that show it: who holds the slots, which run is still going. At most ten.
    flow_run_ids: tuple[str, ...] = ()
    #: How the failure came up: parent, child, task.
    path: tuple[str, ...] = ()

    @property
    def what(self) -> tuple[CauseKind, str, CauseReason]:
        """What is the same for all that have this cause."""
        return (self.kind, self.name, self.reason)


class Finding(Value):
    """How one subject stands now.

    Findings of severity info open no incident: they inform, or, where ``unknown``, say that there is too little to
    judge by. ``flow_run_ids`` holds at most 1,000 ids, ``flow_run_count`` how many runs there are. ``since`` is
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
    #: Who should look, where the policy says so.
    owner: str | None = None
    #: Whether the subject could not be judged.
    unknown: bool = False
    #: What the finding rests on, in lines: the end of a traceback, the holders of slots.
    evidence: tuple[str, ...] = ()
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


class Acknowledgement(Value):
    """Somebody looks after an incident."""

    by: str
    at: AwareDatetime
    note: str = ""


class Step(Value):
    """A move of one incident, with its reason."""

    to: StepTo
    at: AwareDatetime
    reason: StepReason
    #: Who asked for it, and what they said; empty where nobody did.
    by: str = ""
    note: str = ""


#: An incident keeps its first step and the newest of the others.
MOST_STEPS = 50


class Incident(Value):
    """A finding over time: pending, then firing, then resolved."""

    #: As it was found last.
    finding: Finding
    #: Names it for people, as in ``W-12``; 0 while it is pending.
    number: int = 0
    #: When it was found first.
    opened_at: AwareDatetime
    #: When it had lasted as long as its hold; None while it is pending.
    fired_at: AwareDatetime | None = None
    #: Since when it has not been found, though nothing shows that it is over; None where the last check found it.
    unseen_since: AwareDatetime | None = None
    resolved_at: AwareDatetime | None = None
    resolution: ResolutionReason | None = None
    #: It was there when the watchdog began, and is no news.
    known_before: bool = False
    acknowledged: Acknowledgement | None = None
    #: How often it came back soon after it was over.
    reopened: int = 0
    #: When it stopped being the symptom of another incident.
    freed_at: AwareDatetime | None = None
    #: Of the deployment or the pool that it is about, as they were seen last.
    tags: tuple[str, ...] = ()
    pool: str | None = None
    #: How it moved, oldest first, at most ``MOST_STEPS``.
    history: tuple[Step, ...] = ()

    @property
    def id(self) -> str:
        """What people call it: ``W-12``; empty while it is pending."""
        return f"W-{self.number}" if self.number else ""

    @property
    def firing(self) -> bool:
        """Whether it has lasted as long as its hold, and is not over."""
        return self.fired_at is not None and self.resolved_at is None

    def moved(self, step: Step, **changes: object) -> Incident:
        """The incident after a step, with these fields changed."""
        history = (*self.history, step)
        if len(history) > MOST_STEPS:
            history = (history[0], *history[1 - MOST_STEPS :])
        return self.model_copy(update={"history": history, **changes})


class Transition(Value):
    """A step, and the incident after it."""

    incident: Incident
    step: Step


class Closed(Value):
    """What was closed by hand while it was still found: it stays closed while nothing new is found of it."""

    at: AwareDatetime
    severity: Severity
    #: The newest run that it was about.
    newest_run: str | None = None


class Incidents(Value):
    """All that is remembered of what is open, and of the watchdog's beginning on this server."""

    #: By fingerprint, pending ones among them.
    open: Mapping[str, Incident] = Field(default_factory=dict)
    #: The number of the next incident that fires.
    next_number: int = 1
    #: When the watchdog first looked at this server, and when it took what it found there for known.
    began_at: AwareDatetime | None = None
    settled_at: AwareDatetime | None = None
    #: By fingerprint.
    closed_by_hand: Mapping[str, Closed] = Field(default_factory=dict)


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
