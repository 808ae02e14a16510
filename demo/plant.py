"""What happens to each workload, and the finding that the watchdog must make of it.

A story plants one fault, or something that only looks like one. It yields what it is waiting for and returns when its
fault can be seen. All stories are told at once, so those that take longest come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from demo.expected import Finding
from demo.stage import DOOMED_POOL, Stage, Steps, Workload

# What `demo/watchdog.yaml` allows, and so much more that no rounding matters.
LIMIT_SECONDS = 60
MISSED_HEARTBEATS = 3
MARGIN_SECONDS = 2

Teller = Callable[[Stage, Workload], Steps]


def ends(state: str) -> Teller:
    """Let a run come to its own end, in this state."""

    def tell(stage: Stage, workload: Workload) -> Steps:
        run = yield from stage.begin(workload.name)
        yield from stage.state(run, state)

    return tell


def is_killed(stage: Stage, workload: Workload) -> Steps:
    """Kill a run's process under its worker's eyes, as the kernel does when memory runs out."""
    run = yield from stage.begin(workload.name)
    stage.workers[workload.pool].kill_flow_runs(run.id)
    yield from stage.state(run, "CRASHED")


def loses_its_host(stage: Stage, workload: Workload) -> Steps:
    """Kill the worker and then its run, so that nobody can report the run's end."""
    worker = stage.workers[workload.pool]
    worker.start()
    run = yield from stage.begin(workload.name)
    # Only two heartbeats tell the interval between them.
    while stage.heartbeats(run)[0] < 2:
        yield "running, to be seen alive twice"
    worker.kill_all()
    yield from stage.silence(run, MISSED_HEARTBEATS, MARGIN_SECONDS)


def runs_too_long(stage: Stage, workload: Workload) -> Steps:
    """Let a run go on beyond its limit."""
    run = yield from stage.begin(workload.name)
    yield from stage.age(run, "start_time", LIMIT_SECONDS + MARGIN_SECONDS)


def ran_too_long(stage: Stage, workload: Workload) -> Steps:
    """Let a run end well, but beyond its limit."""
    run = yield from stage.begin(workload.name, {"seconds": LIMIT_SECONDS + MARGIN_SECONDS})
    yield from stage.state(run, "COMPLETED")


def hangs(stage: Stage, workload: Workload) -> Steps:
    """Let what a worker starts for a run hang before it reaches the flow, as an image does that cannot be pulled."""
    run = stage.submit(workload.name)
    yield from stage.state(run, "PENDING")
    yield from stage.age(run, "state", LIMIT_SECONDS + MARGIN_SECONDS)


def is_not_fetched(stage: Stage, workload: Workload) -> Steps:
    """Let a run be due in a pool that has no worker."""
    run = stage.submit(workload.name)
    yield from stage.age(run, "expected_start_time", LIMIT_SECONDS + MARGIN_SECONDS)


def waits_for_another(stage: Stage, workload: Workload) -> Steps:
    """Let a run be due while another one holds the only slot, which is no fault of that other one."""
    yield from stage.begin(workload.name)
    run = stage.submit(workload.name)
    yield from stage.age(run, "expected_start_time", LIMIT_SECONDS + MARGIN_SECONDS)


def is_cancelled(stage: Stage, workload: Workload) -> Steps:
    """Cancel a run in full flight."""
    run = yield from stage.begin(workload.name)
    stage.cancel(run)
    yield from stage.state(run, "CANCELLED")


def has_a_past(stage: Stage, workload: Workload) -> Steps:
    """Let the last success be three days old, and every later run cancelled by hand."""
    yield from stage.seed(workload)


def is_paused(stage: Stage, workload: Workload) -> Steps:
    """Give it the same past, and pause it: what is paused on purpose cannot be stale."""
    stage.pause(workload)
    yield from stage.seed(workload)


def is_left_alone(stage: Stage, workload: Workload) -> Steps:
    """Do nothing."""
    yield from ()


@dataclass(frozen=True)
class Story:
    """A workload, what happens to it, and the finding that it leads to; without a check, there is none.

    Where that is a symptom, ``head`` is the finding about what it comes from, with the same cause.
    """

    workload: Workload
    tell: Teller
    check: str | None = None
    severity: str = "warning"
    cause: str | None = None
    head: Finding | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the watchdog must say about this workload, and nothing else."""
        if self.check is None:
            return ()
        own = Finding(self.check, self.severity, f"deployment {self.workload.name}", self.cause)
        return (own, self.head) if self.head else (own,)


DESERTED = "work-pool deserted: no-live-worker"
FULL = "deployment waits-for-a-slot/demo: limit-reached"
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
        cause="flow-run invoices-of-monday: failed (falls-with-subflow > load-invoices)",
    ),
    Story(Workload("crashes"), is_killed, "crashed"),
    # From here on nothing is wrong, whatever it looks like.
    Story(Workload("cancelled-by-hand"), is_cancelled),
    Story(Workload("awaits-approval"), ends("PAUSED")),
    Story(Workload("succeeds-on-retry"), ends("COMPLETED")),
    Story(Workload("survives-subflow"), ends("COMPLETED")),
    Story(Workload("healthy"), ends("COMPLETED")),
    Story(Workload("paused-on-purpose", hourly=True), is_paused),
    Story(Workload("rests-in-an-idle-pool", pool="idle"), is_left_alone),
)
