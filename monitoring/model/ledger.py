"""What is kept of runs that have ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import AwareDatetime, Field

from monitoring.model.base import Value
from monitoring.model.failure import Failure
from monitoring.model.prefect import StateType

#: So much is kept of a message, and shown of it: the rest is behind the link.
MAX_MESSAGE = 500


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
    #: The newest of them, newest first, at most ``MAX_STREAK_IDS``.
    run_ids: tuple[str, ...] = ()
    #: How many of the newest ended as the newest one did, all failed or all crashed; since when, if that is known.
    alike: int = 1
    alike_since: AwareDatetime | None = None

    @property
    def length(self) -> int:
        """How many runs."""
        return self.failed + self.crashed


#: A streak's ids are kept for links; a hundred are more than anybody follows.
MAX_STREAK_IDS = 100


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
