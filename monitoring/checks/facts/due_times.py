"""When a run should have started or continued."""

from __future__ import annotations

from datetime import datetime

from monitoring.model.observation import Observation
from monitoring.model.prefect import FlowRun


def due_time(observation: Observation, run: FlowRun) -> datetime | None:
    """When a SCHEDULED run should have started or continued.

    Each rejected request for a concurrency slot moves ``next_scheduled_start_time`` 30 s ahead. So the first due time
    counts, or, for a run that had started before, the time when it began to wait.
    """
    if run.state_name == "AwaitingConcurrencySlot":
        return observation.runs.slot_wait_since.get(run.id) if run.start_time else run.expected_start_time
    return run.next_scheduled_start_time
