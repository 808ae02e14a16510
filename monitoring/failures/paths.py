"""Which child or task made a run fail, if the run's own message shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from monitoring.failures.error_names import bare, error_name, returned_states
from monitoring.model.prefect import FlowRun

#: Levels of children that are followed.
MAX_LEVELS = 5
#: The message of a run that ended by the timeout of a subflow, as it has no timeout itself (prefect/flow_engine.py,
#: `handle_timeout`).
_TIMED_OUT_BELOW = "Flow run exceeded timeout of None second(s)"
_TASK_TIMED_OUT = "TaskRunTimeoutError"


class FailedTask(NamedTuple):
    """A task run that failed or crashed."""

    name: str
    state_name: str
    message: str


def failing_child(parent: FlowRun, children: Sequence[FlowRun]) -> FlowRun | None:
    """Find the child that made its parent fail, if the parent's own message shows it; oldest end first.

    A subflow's exception passes through its parent, which then ends with the same message; the exception of another
    deployment's run becomes ``FailedRun: ...``; a parent that returns its children's states ends with
    ``1/2 states failed.``; a parent that ended by a subflow's timeout says that it has no timeout. A parent that caught
    the child's exception and failed for another reason has another message, and no child is returned.
    """
    before = [child for child in children if parent.end_time is None or child.ended_at <= parent.end_time]
    same = [child for child in before if child.message and _ends_with(parent.message, child.message)]
    if same:
        return same[-1]
    if parent.message == _TIMED_OUT_BELOW:
        before = [child for child in before if child.state_name == "TimedOut"]
    elif not returned_states(parent.message):
        return None
    return before[-1] if before else None


def failing_path(run: FlowRun, children: Mapping[str, Sequence[FlowRun]]) -> tuple[FlowRun, ...]:
    """The path of a failure: from the run's child down to the deepest; empty if the failure is the run's own.

    ``children`` has the failed and crashed children of runs by the parent's id, in the order of their ends.
    """
    path: list[FlowRun] = []
    while len(path) < MAX_LEVELS:
        parent = path[-1] if path else run
        child = failing_child(parent, children.get(parent.id, ()))
        if child is None:
            break
        path.append(child)
    return tuple(path)


def failing_task(run: FlowRun, tasks: Sequence[FailedTask]) -> FailedTask | None:
    """Find the task that made its run fail, if the run's own message shows it; newest end first.

    Of several tasks with the same error, such as mapped tasks, the task with exactly this message is returned, or else
    any of them.
    """
    error = bare(run.message)
    if returned_states(run.message):
        return tasks[0] if tasks else None
    if _TASK_TIMED_OUT in run.message:
        return next((task for task in tasks if task.state_name == "TimedOut"), None)
    same = [task for task in tasks if error and error_name(bare(task.message)) == error_name(error)]
    return next((task for task in same if bare(task.message) == error), same[0] if same else None)


def _ends_with(message: str, error: str) -> bool:
    return message == error or message.endswith(f": {error}")
