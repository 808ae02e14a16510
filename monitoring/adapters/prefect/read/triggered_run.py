"""What a check that a failure has started need not do, as another check does it.

The automation of ``prefect.yaml`` starts a check at the first failure of its window and drops the others
(prefect/server/events/triggers.py, ``evaluate``). So that none of these waits for the next scheduled check, the check
reads the server only when the window is over. And of many such checks that wait for the lock, or for a worker, only
the last is needed: a check that another one makes superfluous completes without reading anything.

Both follow from the server's own times of the runs: no clock of a worker is compared with another's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from prefect.context import FlowRunContext

from monitoring.adapters.prefect.client.api import Api
from monitoring.model.base import Timestamp, Value
from monitoring.model.prefect import SKIPPED, SUPERSEDED, TRIGGER_WINDOW, StateType

#: More checks than a window of 10 s lets start in the time that one may run.
_NEWEST_RUNS = 50


class RunState(Value):
    """The state of a run of the check."""

    type: StateType
    message: str | None = None


class CheckRun(Value):
    """A run of the check that runs or has completed."""

    id: str
    start_time: Timestamp
    state: RunState

    @property
    def has_checked(self) -> bool:
        """Whether it has read the server, and nobody needs to read for it."""
        return self.state.type == "COMPLETED" and self.state.message not in (SKIPPED, SUPERSEDED)

    def starts_after(self, other: CheckRun | None) -> bool:
        """Whether it started later; of two that started at once, one did."""
        return other is not None and (self.start_time, self.id) > (other.start_time, other.id)


@dataclass(frozen=True)
class TriggeredRun:
    """The flow run of a check that an automation has started."""

    id: str
    deployment_id: str
    #: By the server's clock; the failure was before.
    created: datetime

    @property
    def window_end(self) -> datetime:
        """From when on the automation surely starts another check for a failure."""
        return self.created + TRIGGER_WINDOW

    def wait(self) -> None:
        """Wait until the automation's window is over: what fails until then starts no check of its own."""
        left = self.window_end - datetime.now(timezone.utc)
        # However wrong the clock is.
        time.sleep(min(max(left, timedelta(0)), TRIGGER_WINDOW).total_seconds())

    def superseded(self, api: Api) -> bool:
        """Whether another check has read, or is going to read, all that this one would.

        Errors are those of ``Api.request``.
        """
        runs = {
            "deployment_id": {"any_": [self.deployment_id]},
            "start_time": {"after_": self.created.isoformat()},
            "state": {"type": {"any_": ["RUNNING", "COMPLETED"]}},
        }
        body = {"flow_runs": runs, "sort": "START_TIME_DESC", "limit": _NEWEST_RUNS}
        return self.covered_by(api.query("/flow_runs/filter", body, list[CheckRun]))

    def covered_by(self, runs: Iterable[CheckRun]) -> bool:
        """Whether one of the runs has read or is going to read all that this one would; this one may be among them."""
        known = {run.id: run for run in runs}
        own = known.pop(self.id, None)
        return any(
            # Of two that run, the later one does the work; they must not leave it to each other.
            run.has_checked or (run.state.type == "RUNNING" and run.starts_after(own))
            for run in known.values()
            if run.start_time >= self.window_end
        )


def triggered_run() -> TriggeredRun | None:
    """The present flow run, if an automation has started it; None otherwise."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.created is None or run.deployment_id is None:
        return None
    if run.created_by is None or run.created_by.type != "AUTOMATION":
        return None
    return TriggeredRun(str(run.id), str(run.deployment_id), run.created)
