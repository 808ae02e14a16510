from __future__ import annotations

from itertools import pairwise

import pytest

from monitoring.failures.paths import MAX_LEVELS, FailedTask, failing_child, failing_path, failing_task
from tests.support.builders import NOW, minutes, run

SAID = "Flow run encountered an exception: ValueError: no rows in part 3"
TASK = "Task run encountered an exception ValueError: no rows in part {}"


@pytest.mark.parametrize(
    ("message", "child_state", "child_message", "blamed"),
    [
        # A time-out below ends a parent that has none itself, and its message shows it.
        ("Flow run exceeded timeout of None second(s)", "TimedOut", "Flow run exceeded timeout of 1.0 second(s)", True),
        ("Flow run exceeded timeout of None second(s)", "Failed", "ValueError: caught", False),
        ("Flow run exceeded timeout of 9 second(s)", "TimedOut", "Flow run exceeded timeout of 1.0 second(s)", False),
        ("Flow run encountered an exception: CrashedRun: Killed.", "Crashed", "Killed.", True),
    ],
)  # fmt: skip
def test_a_time_out_and_a_crash_below_are_evidence_too(
    message: str, child_state: str, child_message: str, blamed: bool
) -> None:
    parent = run("FAILED", message=message)
    child = run("FAILED", "child", state_name=child_state, message=child_message, since=NOW - minutes(90))

    assert (failing_child(parent, (child,)) == child) is blamed


def test_the_path_goes_down_while_messages_show_it_and_has_an_end() -> None:
    runs = [run("FAILED", f"run-{n}", message=SAID, since=NOW - minutes(n)) for n in range(9)]
    children = {above.id: (below,) for above, below in pairwise(runs)}

    assert failing_path(runs[0], children) == tuple(runs[1 : 1 + MAX_LEVELS])
    assert failing_path(runs[8], children) == ()

    other = runs[2].model_copy(update={"message": "KeyError: 'own'"})
    children["run-1"] = (other,)
    assert failing_path(runs[0], children) == (runs[1],)


@pytest.mark.parametrize(
    ("message", "tasks", "expected"),
    [
        (SAID, [("load", "Failed", TASK.format(3))], "load"),
        # Of mapped tasks the one with the very message, else one that failed alike.
        (SAID, [("b", "Failed", TASK.format(2)), ("c", "Failed", TASK.format(3))], "c"),
        (SAID, [("b", "Failed", TASK.format(2)), ("a", "Failed", TASK.format(1))], "b"),
        # The flow caught what the task raised, and failed of something else.
        (SAID, [("load", "Failed", "Task run encountered an exception KeyError: 1")], None),
        (SAID, [], None),
        ("1/2 states failed.", [("newest", "Failed", "KeyError: 1"), ("older", "Failed", "KeyError: 2")], "newest"),
        ("1/2 states failed.", [], None),
        ("Flow run failed due to timeout: TaskRunTimeoutError('')", [("a", "Failed", ""), ("b", "TimedOut", "")], "b"),
        ("Flow run exceeded timeout of 1.0 second(s)", [("a", "Failed", "ValueError: 1")], None),
        ("Killed.", [("a", "Crashed", "Killed.")], "a"),
        ("", [("a", "Failed", "")], None),
    ],
)  # fmt: skip
def test_a_task_is_blamed_on_evidence_only(
    message: str, tasks: list[tuple[str, str, str]], expected: str | None
) -> None:
    found = failing_task(run("FAILED", message=message), [FailedTask(*task) for task in tasks])

    assert (found.name if found else None) == expected
