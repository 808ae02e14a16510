"""The faults of the demo, and the findings that the watchdog must report for them.

A story plants a fault, or something that only looks like one. It yields what it waits for and returns when its fault
is visible. All stories run at the same time, so the longest come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from demo.expected import Finding
from demo.stage import DOOMED_POOL, Stage, Steps, Workload

# The limits of `demo/watchdog.yaml`, and a margin so that rounding does not matter.
LIMIT_SECONDS = 60
MISSED_HEARTBEATS = 3
MARGIN_SECONDS = 2

Plant = Callable[[Stage, Workload], Steps]


def ends(state: str) -> Plant:
    """Let a run end by itself, in this state."""

    def plant(stage: Stage, workload: Workload) -> Steps:
        run = yield from stage.begin(workload.name)
        yield from stage.state(run, state)

    return plant


def is_killed(stage: Stage, workload: Workload) -> Steps:
    """Kill the process of a run while its worker lives, as the kernel does when memory runs out."""
    run = yield from stage.begin(workload.name)
    stage.workers[workload.pool].kill_flow_runs(run.id)
    yield from stage.state(run, "CRASHED")


def loses_its_host(stage: Stage, workload: Workload) -> Steps:
    """Kill the worker and then its run, so that nothing reports the end of the run."""
    worker = stage.workers[workload.pool]
    worker.start()
    run = yield from stage.begin(workload.name)
    # It takes two heartbeats to show their interval.
    while stage.heartbeats(run)[0] < 2:
        yield "running, waiting for two heartbeats"
    worker.kill_all()
    yield from stage.silence(run, MISSED_HEARTBEATS, MARGIN_SECONDS)


def runs_too_long(stage: Stage, workload: Workload) -> Steps:
    """Let a run exceed its limit."""
    run = yield from stage.begin(workload.name)
    yield from stage.age(run, "start_time", LIMIT_SECONDS + MARGIN_SECONDS)


def ran_too_long(stage: Stage, workload: Workload) -> Steps:
    """Let a run succeed after exceeding its limit."""
    run = yield from stage.begin(workload.name, {"seconds": LIMIT_SECONDS + MARGIN_SECONDS})
    yield from stage.state(run, "COMPLETED")


def hangs(stage: Stage, workload: Workload) -> Steps:
    """Let a run hang before it reaches the flow, as with an image that cannot be pulled."""
    run = stage.submit(workload.name)
    yield from stage.state(run, "PENDING")
    yield from stage.age(run, "state", LIMIT_SECONDS + MARGIN_SECONDS)


def is_not_fetched(stage: Stage, workload: Workload) -> Steps:
    """Let a run be due in a pool that has no worker."""
    run = stage.submit(workload.name)
    yield from stage.age(run, "expected_start_time", LIMIT_SECONDS + MARGIN_SECONDS)


def waits_for_another(stage: Stage, workload: Workload) -> Steps:
    """Let a run be due while another holds the only slot; the other one is no fault."""
    yield from stage.begin(workload.name)
    run = stage.submit(workload.name)
    yield from stage.age(run, "expected_start_time", LIMIT_SECONDS + MARGIN_SECONDS)


def is_cancelled(stage: Stage, workload: Workload) -> Steps:
    """Cancel a running run."""
    run = yield from stage.begin(workload.name)
    stage.cancel(run)
    yield from stage.state(run, "CANCELLED")


def has_a_past(stage: Stage, workload: Workload) -> Steps:
    """Let the last success be three days old, and every later run cancelled by hand."""
    yield from stage.seed(workload)


def is_paused(stage: Stage, workload: Workload) -> Steps:
    """Give it the same past and pause it: a deployment that is paused on purpose is not stale."""
    stage.pause(workload)
    yield from stage.seed(workload)


def is_left_alone(stage: Stage, workload: Workload) -> Steps:
    """Do nothing."""
    yield from ()


@dataclass(frozen=True)
class Story:
    """A workload, its fault, and the expected finding; without a check, none is expected.

    If the finding is a symptom, ``head`` is the finding about its cause.
    """

    workload: Workload
    plant: Plant
    check: str | None = None
    severity: str = "warning"
    cause: str | None = None
    head: Finding | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings that the watchdog must report for this workload, and no others."""
        if self.check is None:
            return ()
        own = Finding(self.check, self.severity, f"deployment {self.workload.name}", self.cause)
        return (own, self.head) if self.head else (own,)


DESERTED = "work pool deserted has no live worker"
FULL = "the limit of deployment waits-for-a-slot/demo is reached"
NO_SUCCESS_FOR_DAYS = Workload("no-success-for-days", hourly=True)

STORIES = (
    Story(Workload("loses-its-host", pool=DOOMED_POOL), loses_its_host, "zombie", "critical"),
    Story(Workload("running-too-long"), runs_too_long, "slow"),
    Story(Workload("ran-too-long"), ran_too_long, "slow"),
    Story(Workload("never-gets-going", job_variables={"command": "sleep infinity"}), hangs, "stuck"),
    Story(
        Workload("waits-for-a-worker", pool="deserted"),
        is_not_fetched,
        "late",
        cause=DESERTED,
        head=Finding("work-pool", "critical", "work-pool deserted", DESERTED),
    ),
    Story(
        Workload("waits-for-a-slot", concurrency_limit=1),
        waits_for_another,
        "late",
        cause=FULL,
        head=Finding("concurrency", "warning", "deployment waits-for-a-slot/demo", FULL),
    ),
    Story(NO_SUCCESS_FOR_DAYS, has_a_past, "stale", "critical"),
    Story(Workload("fails"), ends("FAILED"), "failed"),
    Story(
        Workload("falls-with-subflow"),
        ends("FAILED"),
        "failed",
        cause="flow run invoices-of-monday failed (falls-with-subflow > load-invoices)",
    ),
    Story(Workload("crashes"), is_killed, "crashed"),
    # The rest are not faults, whatever they look like.
    Story(Workload("cancelled-by-hand"), is_cancelled),
    Story(Workload("awaits-approval"), ends("PAUSED")),
    Story(Workload("succeeds-on-retry"), ends("COMPLETED")),
    Story(Workload("survives-subflow"), ends("COMPLETED")),
    Story(Workload("healthy"), ends("COMPLETED")),
    Story(Workload("paused-on-purpose", hourly=True), is_paused),
    Story(Workload("rests-in-an-idle-pool", pool="idle"), is_left_alone),
)
