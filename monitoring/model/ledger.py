"""The history of ended runs that is kept between checks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from monitoring.model.base import Timestamp, Value
from monitoring.model.failure import Failure
from monitoring.model.prefect import StateType

#: Characters of a message that are kept and shown: the rest is behind the link.
MAX_MESSAGE = 500


class EndedRun(Value):
    """An ended run, as the ledger keeps it."""

    id: str
    name: str
    state_type: StateType
    state_name: str
    message: str = ""
    ended: Timestamp
    run_time: timedelta = timedelta(0)
    #: Why it failed or crashed.
    failure: Failure | None = None


class Traces(Value):
    """What a completed run left behind."""

    run_id: str
    #: Error lines in its log, as far as they were read; without those of attempts that were retried.
    errors: int = 0
    #: The first of them, redacted.
    first_error: str = ""
    #: None if the server does not count them.
    task_runs: int | None = None


#: So many completed runs show what is usual.
MAX_EARLIER = 20


class Streak(Value):
    """Consecutive runs of one deployment that failed or crashed."""

    since: Timestamp
    failed: int = 0
    crashed: int = 0
    #: The ids of the newest runs, newest first, at most ``MAX_STREAK_IDS``.
    run_ids: tuple[str, ...] = ()
    #: How many of the newest runs ended in the state of the newest, all failed or all crashed; since when, if known.
    alike: int = 1
    alike_since: Timestamp | None = None

    @property
    def length(self) -> int:
        """The number of runs."""
        return self.failed + self.crashed


#: A streak's ids are kept for links; nobody follows more than a hundred.
MAX_STREAK_IDS = 100


class CancelledRuns(Value):
    """Consecutive runs of one deployment that were cancelled before they started; no other run ended in between."""

    #: When the first of them was due.
    since: Timestamp
    #: When the newest of them was cancelled.
    until: Timestamp
    count: int = 1
    #: The ids of the newest runs, newest first, at most ``MAX_STREAK_IDS``.
    run_ids: tuple[str, ...] = ()


class RunTimes(Value):
    """How long a deployment's completed runs took: a bounded sample, whatever windows the history was read in."""

    #: The newest completed runs, newest first: end (seconds since the epoch), run time in seconds.
    recent: tuple[tuple[int, float], ...] = ()
    #: By month (``2026-06``): a random few of its runs, as (rank, run time in seconds); the lowest ranks are kept.
    months: Mapping[str, tuple[tuple[int, float], ...]] = Field(default_factory=dict)


class Counts(Value):
    """How many runs of one deployment have ended since the watchdog's first check. These numbers only rise."""

    #: By final state.
    ends: Mapping[StateType, int] = Field(default_factory=dict)
    #: Completed runs in each of the metric's buckets of run times, and in the last, without a bound.
    run_times: tuple[int, ...] = ()
    #: The sum of their run times, in seconds.
    run_time: float = 0


class Outcome(Value):
    """How the latest of some runs of a deployment ended."""

    last_ended: EndedRun | None = None
    #: None if the last ended run succeeded, or there has been none.
    streak: Streak | None = None


class ScheduleRecord(Outcome):
    """What is kept of the runs with the parameters of a schedule, where a deployment's schedules differ in theirs."""

    last_success: EndedRun | None = None
    #: As in a record.
    last_skipped: EndedRun | None = None
    run_times: RunTimes = RunTimes()
    #: Since when all of them that ended are counted; None if that is not known.
    known_since: Timestamp | None = None


class Record(Value):
    """What later checks need of a deployment's runs that will not be read again.

    Cancelled runs are counted and otherwise left out: they prove neither health nor failure. Those that never started
    are kept apart.
    """

    last_ended: EndedRun | None = None
    last_success: EndedRun | None = None
    #: The newest failed run before the last ended run, without its reason: a success if failures are expected.
    last_failed: EndedRun | None = None
    #: The newest run that its own code cancelled (``FlowRun.skipped``).
    last_skipped: EndedRun | None = None
    #: None if the last ended run succeeded, or there has been none.
    streak: Streak | None = None
    #: Where its schedules differ in their parameters: the runs of each (``ScheduleParameters.key``).
    by_parameters: Mapping[str, ScheduleRecord] = Field(default_factory=dict)
    #: The newest runs, if they were cancelled because the deployment's limit was full.
    rejected: CancelledRuns | None = None
    #: The newest runs, if they were cancelled after they were due and before they started.
    not_served: CancelledRuns | None = None
    #: Whether the server's history was searched for a success older than the ledger.
    success_searched: bool = False
    run_times: RunTimes = RunTimes()
    #: Whether the server's history was searched for run times older than the ledger.
    run_times_searched: bool = False
    #: Of the newest completed run whose traces were read.
    traces: Traces | None = None
    #: Error lines and task runs of completed runs before it, newest first, at most ``MAX_EARLIER``.
    earlier_traces: tuple[tuple[int, int | None], ...] = ()
    #: Since when it has been paused, or all its schedules inactive, as far as known.
    inactive_since: Timestamp | None = None
    #: When that ended last, as far as known.
    resumed_at: Timestamp | None = None
    #: The deployment's schedules when it was last read (``Deployment.schedule``); None before that.
    schedule: str | None = None
    #: Since when it has had them, as far as known: no runs were due before.
    scheduled_since: Timestamp | None = None
    counts: Counts = Counts()

    @property
    def outcome(self) -> Outcome:
        """How the latest runs of the deployment ended, with whatever parameters."""
        return Outcome(last_ended=self.last_ended, streak=self.streak)

    @property
    def failing(self) -> tuple[Outcome, ...]:
        """The latest failures: of the deployment's runs, and of those of each of its schedules' parameters."""
        return tuple(found for found in (self.outcome, *self.by_parameters.values()) if found.streak)

    def failing_with(self, run_id: str) -> Outcome | None:
        """The failure whose latest run is this one, if there is one."""
        return next((found for found in self.failing if found.last_ended and found.last_ended.id == run_id), None)


#: Shared, as it is immutable and slow to build.
_NO_RECORD = Record()


class Ledger(Value):
    """The history of ended runs, by deployment key."""

    #: All runs that ended before this time have been read.
    cursor: Timestamp | None = None
    #: The cursor of the check before: it shows how far apart checks are.
    cursor_before: Timestamp | None = None
    #: When the coverage of a check was last complete, including the saved state.
    complete_at: Timestamp | None = None
    #: End times of the runs that ended shortly before the cursor, by run id: overlapping windows count no run twice.
    recent: Mapping[str, Timestamp] = Field(default_factory=dict)
    #: When the newest of the runs ended that were cancelled or crashed within a day, by run id.
    stopped: Mapping[str, Timestamp] = Field(default_factory=dict)
    records: Mapping[str, Record] = Field(default_factory=dict)

    def record(self, key: str) -> Record:
        """The record of a deployment, by its key; empty if there is none."""
        return self.records.get(key, _NO_RECORD)
