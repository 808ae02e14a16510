"""The differences between a failed or crashed run and the last good run of the same deployment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

from pydantic import Field

from monitoring.model.base import Value
from monitoring.model.prefect import FlowRun, StateType
from monitoring.text.durations import humanized

#: A task took much longer if its time grew by at least this factor and by at least this duration.
_TIMES = 2.0
_LONGER = timedelta(seconds=10)
_NOTHING = "none"


class Given(Value):
    """A parameter or variable of a run: its text, redacted and cut, and an identity that distinguishes values."""

    shown: str
    identity: str


class TaskTime(Value):
    """The runs of one task within a flow run, taken together."""

    name: str
    runs: int
    #: Time from the start of each to its end, added up.
    took: timedelta
    #: Their states, worst first: ``Failed``, ``Completed``.
    states: tuple[str, ...]
    #: The type of the worst state.
    worst: StateType


class RunDetails(Value):
    """The details of a flow run that can be compared."""

    run: FlowRun
    #: By name; texts are redacted.
    parameters: Mapping[str, Given] = Field(default_factory=dict)
    job_variables: Mapping[str, Given] = Field(default_factory=dict)
    deployment_version: str | None = None
    flow_version: str | None = None
    #: Where it ran, as named by the worker: a process, a container, a pod.
    infrastructure: str | None = None
    #: The worker that submitted it; None if no event shows it.
    worker: str | None = None
    #: Its creator: a schedule, a person, an automation.
    created_by: str | None = None
    tags: tuple[str, ...] = ()
    #: In the order in which the tasks began.
    tasks: tuple[TaskTime, ...] = ()
    #: Whether it has more task runs than were read.
    more_tasks: bool = False


class Change(Value):
    """A difference: its name, and the values in the failed and in the good run."""

    what: str
    bad: str
    good: str


def changes(bad: RunDetails, good: RunDetails) -> tuple[Change, ...]:
    """Compare a run that failed or crashed with the last run of the same deployment that completed before."""
    return (*_facts(bad, good), *_tasks(bad, good))


def _facts(bad: RunDetails, good: RunDetails) -> Iterator[Change]:
    yield from _given("parameter", bad.parameters, good.parameters)
    yield from _given("job variable", bad.job_variables, good.job_variables)
    pairs: tuple[tuple[str, str | None, str | None], ...] = (
        ("deployment version", bad.deployment_version, good.deployment_version),
        ("flow version", bad.flow_version, good.flow_version),
        ("worker", bad.worker, good.worker),
        ("infrastructure", _host(bad.infrastructure), _host(good.infrastructure)),
        ("work pool", bad.run.work_pool, good.run.work_pool),
        ("work queue", bad.run.work_queue, good.run.work_queue),
        ("created by", bad.created_by, good.created_by),
        ("tags", ", ".join(sorted(bad.tags)), ", ".join(sorted(good.tags))),
        ("attempts", str(bad.run.run_count), str(good.run.run_count)),
        ("run time", humanized(bad.run.total_run_time), humanized(good.run.total_run_time)),
    )
    for what, value, usual in pairs:
        if (value or _NOTHING) != (usual or _NOTHING):
            yield Change(what=what, bad=value or _NOTHING, good=usual or _NOTHING)


def _given(kind: str, bad: Mapping[str, Given], good: Mapping[str, Given]) -> Iterator[Change]:
    for name in sorted({*bad, *good}):
        given, usual = bad.get(name), good.get(name)
        if given is None or usual is None or given.identity != usual.identity:
            texts = [value.shown if value else "not given" for value in (given, usual)]
            same = " (a different value)" if texts[0] == texts[1] else ""
            yield Change(what=f"{kind} {name}", bad=texts[0] + same, good=texts[1])


def _host(infrastructure: str | None) -> str | None:
    """Where a run ran, without the id of its process, container or job, which is another for each run.

    Workers write ``4711`` (process), ``host:container``, ``cluster:namespace:job`` or ``cluster::task``.
    """
    return (infrastructure or "").rpartition(":")[0] or None


def _tasks(bad: RunDetails, good: RunDetails) -> Iterator[Change]:
    before, now = _by_name(good.tasks), _by_name(bad.tasks)
    for name, task in now.items():
        usual = before.get(name)
        if usual is None:
            if not good.more_tasks:
                yield Change(what=f"task {name}", bad=_summary(task), good="did not run")
        elif task.worst != usual.worst or _much_longer(task.took, usual.took) or _much_longer(usual.took, task.took):
            yield Change(what=f"task {name}", bad=_summary(task), good=_summary(usual))
    for name, task in before.items():
        if name not in now and not bad.more_tasks:
            yield Change(what=f"task {name}", bad="not reached", good=_summary(task))


def _by_name(tasks: Iterable[TaskTime]) -> dict[str, TaskTime]:
    return {task.name: task for task in tasks}


def _summary(task: TaskTime) -> str:
    times = f" {task.runs:,} times" if task.runs != 1 else ""
    return f"{', '.join(task.states)}{times} in {humanized(task.took)}"


def _much_longer(took: timedelta, usual: timedelta) -> bool:
    return took >= _TIMES * usual and took - usual >= _LONGER
