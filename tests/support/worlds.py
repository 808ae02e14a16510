"""Random servers, as observations: anything that an API could answer, likely or not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from hypothesis import strategies as st

from monitoring.model.coverage import Coverage, Query
from monitoring.model.failure import Failure
from monitoring.model.ledger import Traces
from monitoring.model.observation import (
    Backlog,
    ConcurrencyLimit,
    Heartbeats,
    Holder,
    LaterSign,
    MissedRuns,
    Observation,
    OwnRuns,
    Vitals,
)
from monitoring.model.prefect import Deployment, FlowRun, WorkPool, WorkQueue
from tests.support.builders import NOW, complete, deployment, observation, run

MINUTE = timedelta(minutes=1)
POOLS = ("alpha", "beta")
QUEUES = ("default", "quick")
KEYS = ("etl/a", "etl/b", "ml/c")
#: The states of runs that are active, by type, with the names that Prefect has for them.
ACTIVE = [
    ("SCHEDULED", "Scheduled"),
    ("SCHEDULED", "Late"),
    ("SCHEDULED", "AwaitingRetry"),
    ("SCHEDULED", "AwaitingConcurrencySlot"),
    ("SCHEDULED", "Resuming"),
    ("PENDING", "Pending"),
    ("PENDING", "Submitting"),
    ("RUNNING", "Running"),
    ("RUNNING", "Retrying"),
    ("CANCELLING", "Cancelling"),
    ("PAUSED", "Paused"),
    ("PAUSED", "Suspended"),
]
ENDED = [
    ("COMPLETED", "Completed"),
    ("FAILED", "Failed"),
    ("FAILED", "TimedOut"),
    ("CRASHED", "Crashed"),
    ("CANCELLED", "Cancelled"),
]
#: Text as runs have it: names and messages of every kind.
TEXT = st.one_of(
    st.sampled_from(["", "boom", "1/2 states failed.", "Deployment concurrency limit reached.", "<!channel> | `x`"]),
    st.text(max_size=12),
)

#: Minutes before now; a few lie ahead. Whole minutes make ties likely, and thresholds too.
AGES = st.one_of(
    st.sampled_from([0, 1, 5, 14, 15, 16, 30, 31, 60, 120, 121, 24 * 60, 24 * 60 + 1]),
    st.integers(-60, 3 * 24 * 60),
    st.integers(0, 60 * 24 * 60),
)
MOMENTS = AGES.map(lambda age: NOW - age * MINUTE)
PAST = AGES.map(lambda age: NOW - abs(age) * MINUTE)


def moments(start: datetime, end: datetime) -> st.SearchStrategy[datetime]:
    """Whole minutes from a start to an end."""
    return st.integers(0, int((end - start) / MINUTE)).map(lambda count: start + count * MINUTE)


# Hypothesis examines each strategy object anew: what is drawn from again and again is made once.
@cache
def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A value, or None."""
    return st.one_of(st.none(), strategy)


@cache
@st.composite
def deployments(draw: st.DrawFn, key: str) -> Deployment:
    """A deployment of any kind."""
    scheduled = draw(st.booleans())
    return deployment(
        key,
        scheduled=scheduled,
        created=draw(PAST),
        paused=draw(st.booleans()),
        scheduled_since=draw(maybe(PAST)) if scheduled else None,
        inactive_since=None if scheduled else draw(maybe(PAST)),
        work_pool=draw(maybe(st.sampled_from(POOLS))),
        work_queue=draw(maybe(st.sampled_from(QUEUES))),
        concurrency_limit=draw(maybe(st.integers(0, 2))),
        slots_taken=draw(maybe(st.integers(0, 3))),
        due=tuple(sorted(draw(_DUE))) if scheduled else (),
        next_due=draw(maybe(MOMENTS)),
        tags=tuple(draw(_OWN_TAGS)),
    )


@cache
@st.composite
def active_runs(draw: st.DrawFn, run_id: str) -> FlowRun:
    """A run that has not ended, in whatever state, with times that may be missing or lie ahead."""
    kind, name = draw(st.sampled_from(ACTIVE))
    return run(
        kind,  # type: ignore[arg-type]  # one of the words of the type, drawn from a list
        run_id,
        of=draw(st.sampled_from(KEYS)),
        state_name=name,
        since=draw(MOMENTS),
        message=draw(TEXT),
        created=draw(PAST),
        expected_start_time=draw(maybe(MOMENTS)),
        next_scheduled_start_time=draw(maybe(MOMENTS)) if kind == "SCHEDULED" else None,
        start_time=draw(maybe(MOMENTS)),
        total_run_time=draw(st.integers(0, 600)) * MINUTE,
        run_count=draw(st.integers(0, 3)),
        pause_timeout=draw(maybe(MOMENTS)) if kind == "PAUSED" else None,
        work_pool=draw(maybe(st.sampled_from(POOLS))),
        work_queue=draw(maybe(st.sampled_from(QUEUES))),
    )


@cache
@st.composite
def ended_runs(draw: st.DrawFn, run_id: str, ends: st.SearchStrategy[datetime] = PAST) -> FlowRun:
    """A run that has ended."""
    kind, name = draw(st.sampled_from(ENDED))
    return run(
        kind,  # type: ignore[arg-type]  # one of the words of the type, drawn from a list
        run_id,
        of=draw(st.sampled_from(KEYS)),
        state_name=name,
        since=draw(ends),
        message=draw(TEXT),
        total_run_time=draw(st.integers(0, 600)) * MINUTE,
        auto_scheduled=draw(st.booleans()),
    )


@cache
@st.composite
def pools(draw: st.DrawFn, name: str) -> WorkPool:
    """A work pool with two queues."""
    limits = maybe(st.integers(0, 2))
    queues = tuple(
        WorkQueue(id=f"{name} {queue}", name=queue, paused=draw(st.booleans()), concurrency_limit=draw(limits))
        for queue in QUEUES
    )
    return WorkPool(
        id=name,
        name=name,
        type=draw(st.sampled_from(["process", "ecs:push"])),
        paused=draw(st.booleans()),
        concurrency_limit=draw(limits),
        queues=queues,
        live_workers=draw(maybe(st.integers(0, 2))),
        last_heartbeat=draw(maybe(PAST)),
    )


_FAILURES = st.builds(
    Failure,
    task=maybe(TEXT),
    exception=maybe(st.just("ValueError")),
    traceback=TEXT,
    error=st.sampled_from(["", "e1", "e2"]),
)
_COUNTS = st.integers(0, 40)
_BACKLOGS = st.tuples(_COUNTS, _COUNTS, _COUNTS, _COUNTS).map(
    lambda counts: Backlog(
        samples=tuple((NOW - age * MINUTE, n) for age, n in zip((30, 20, 10, 0), counts, strict=True))
    )
)
_HOLDERS = st.builds(
    Holder,
    flow_run_id=st.just("h"),
    name=TEXT,
    ended=st.booleans(),
    state_name=st.sampled_from(["", "Running", "Completed"]),
    since=PAST,
)
_LIMITS = st.lists(
    st.builds(
        ConcurrencyLimit,
        kind=st.sampled_from(["tag", "global-concurrency-limit"]),
        id=st.sampled_from(["limit", "another limit"]),
        name=TEXT,
        limit=st.integers(0, 2),
        taken=st.integers(0, 3),
        holders=st.lists(_HOLDERS, max_size=2),
    ),
    max_size=2,
    unique_by=(lambda limit: limit.id, lambda limit: limit.name),
)
_DUE = st.lists(PAST, max_size=3)
_SECONDS = st.integers(0, 20).map(lambda seconds: timedelta(seconds=seconds))
_OFFSETS = st.integers(-600, 600).map(lambda seconds: timedelta(seconds=seconds))
_OWN_TAGS = st.lists(st.sampled_from(["x", "watchdog:owner=data", "watchdog:severity=info"]), max_size=2)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """A server as one check might see it, everything answered."""
    known = [draw(deployments(key)) for key in KEYS if draw(st.booleans())]
    active = [draw(active_runs(f"active {number}")) for number in range(draw(st.integers(0, 6)))]
    ended = [draw(ended_runs(f"ended {number}")) for number in range(draw(st.integers(0, 6)))]
    bad = [run.id for run in ended if run.state_type in ("FAILED", "CRASHED")]
    running = [run.id for run in active if run.state_type == "RUNNING"]
    beaten = [run_id for run_id in running if draw(st.booleans())]
    waiting = {run_id: draw(PAST) for run_id in running}
    ours = [deployment("watchdog-check/check", due=tuple(sorted(draw(_DUE))))]
    return observation(
        *active,
        *ended,
        deployments=known,
        pending_since={run.id: draw(PAST) for run in active if run.state_type == "PENDING" and draw(st.booleans())},
        slot_wait_since={run.id: draw(PAST) for run in active if run.start_time and draw(st.booleans())},
        heartbeats={
            run_id: Heartbeats(count=draw(st.integers(1, 5)), first=NOW - 600 * MINUTE, last=draw(PAST))
            for run_id in beaten
        },
        later_signs=tuple(
            LaterSign(run=run, kind="heartbeat", occurred=draw(PAST), received=draw(PAST))
            for run in ended
            if draw(st.booleans())
        ),
        traces={
            run.key: Traces(run_id=run.id, errors=draw(_COUNTS), task_runs=draw(maybe(_COUNTS)))
            for run in ended
            if draw(st.booleans())
        },
        reasons={run_id: draw(_FAILURES) for run_id in bad if draw(st.booleans())},
        last_success={
            deployment.id: draw(maybe(ended_runs(f"success of {deployment.id}")))
            for deployment in known
            if draw(st.booleans())
        },
        oldest_success=draw(maybe(PAST)),
        missed={deployment.id: MissedRuns(first=draw(PAST), count=draw(st.integers(1, 9))) for deployment in known},
        nothing_ahead={
            deployment.id: draw(PAST) for deployment in known if deployment.scheduled and draw(st.booleans())
        },
        upcoming=tuple(
            run("SCHEDULED", f"upcoming {number}", of=draw(st.sampled_from(KEYS)), since=NOW + number * MINUTE)
            for number in range(draw(st.integers(0, 3)))
        ),
        backlogs={pool: draw(_BACKLOGS) for pool in POOLS if draw(st.booleans())},
        work_pools={pool: draw(pools(pool)) for pool in POOLS if draw(st.booleans())},
        full=tuple(limit.model_copy(update={"waiting": waiting}) for limit in draw(_LIMITS)),
        vitals=Vitals(
            answer_time=draw(maybe(_SECONDS)),
            answers=draw(_COUNTS),
            clock_offset=draw(maybe(_OFFSETS)),
            newest_event=draw(maybe(PAST)),
        ),
        own=draw(st.sampled_from([OwnRuns(), OwnRuns(deployments=tuple(ours))])),
        coverage=complete("heartbeats", "oldest-run", "last-success", "events", "limits", "limit-holders", "workers"),
    )


def partly(coverage: Coverage, missing: Sequence[str]) -> Coverage:
    """The coverage, with these queries unanswered."""
    return Coverage(
        queries=tuple(
            Query(name=query.name, outcome="failed" if query.name in missing else query.outcome)
            for query in coverage.queries
        )
    )
