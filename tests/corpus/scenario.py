"""What a labelled server is made of, and how it is read from its file.

A file in ``scenarios/`` holds one or more YAML documents, one a server. Times are relative to the scenario's ``now``
(``-15m1s``, ``+2h``, ``now``) or absolute. What is misspelt is an error, not a default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from monitoring.model.finding import CauseKind, CauseReason, CheckName, Severity
from monitoring.text.durations import Duration, parse_duration

FOLDER = Path(__file__).parent / "scenarios"
BACKGROUND = Path(__file__).parent / "background.yaml"
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=timezone.utc)


def _when(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value == "now":
        return timedelta(0)
    if value[:1] in ("-", "+"):
        span = parse_duration(value[1:])
        return -span if value[0] == "-" else span
    return datetime.fromisoformat(value.replace("Z", "+00:00"))


def _text(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"repeat", "times"}:
        return str(value["repeat"]) * int(value["times"])
    return value


def _cause(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    kind, _, rest = value.partition(" ")
    name, _, reason = rest.rpartition(" ")
    return {"kind": kind, "name": name, "reason": reason}


#: A moment: a span from the scenario's now, or a time.
When = Annotated[timedelta | AwareDatetime, BeforeValidator(_when)]
#: A text, or ``{repeat: x, times: 50000}``.
Text = Annotated[str, BeforeValidator(_text)]


def moment(when: timedelta | datetime, now: datetime) -> datetime:
    """The time that a ``When`` stands for."""
    return now + when if isinstance(when, timedelta) else when


class Part(BaseModel):
    """A part of a description."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Worker(Part):
    """A worker: when it was last heard of, and how often it says that it lives."""

    heard: When = timedelta(0)
    interval: int = 30
    status: str = "ONLINE"


class Queue(Part):
    """A work queue besides its pool's default one."""

    paused: bool = False
    limit: int | None = None
    #: When a worker last polled it.
    polled: When | None = None


class Pool(Part):
    """A work pool."""

    type: str = "process"
    paused: bool = False
    limit: int | None = None
    workers: tuple[Worker, ...] = ()
    queues: Mapping[str, Queue] = Field(default_factory=dict)


class Schedule(Part):
    """A schedule: one of ``cron``, ``every`` and ``rrule``. Unless it says otherwise it is as old as its deployment."""

    cron: str | None = None
    every: Duration | None = None
    anchor: When = timedelta(0)
    rrule: str | None = None
    zone: str = "UTC"
    active: bool = True
    max_runs: int | None = None
    made: When | None = None
    touched: When | None = None
    #: What it gives its runs.
    parameters: Mapping[str, Any] = Field(default_factory=dict)


class Deployment(Part):
    """A deployment, by the name ``flow/deployment``; never changed since it was made, unless ``touched`` says so."""

    pool: str | None = None
    queue: str | None = None
    schedules: tuple[Schedule, ...] = ()
    paused: bool = False
    tags: tuple[str, ...] = ()
    #: So many further tags.
    more_tags: int = 0
    limit: int | None = None
    slots_taken: int = 0
    collision: str = "ENQUEUE"
    created: When = timedelta(days=-30)
    touched: When | None = None
    #: When a worker or a ``serve()`` process last polled for its runs.
    polled: When | None = None
    #: How many runs the scheduler has made ahead, of each active schedule.
    ahead: int = 3
    #: Its flow's row is missing.
    without_flow: bool = False
    #: Its own row is missing, its runs are there.
    deleted: bool = False


class State(Part):
    """A state that a run was in."""

    state: str
    at: When


class Heartbeats(Part):
    """Signs of life, the last one first."""

    last: When
    every: Duration = timedelta(minutes=3)
    count: int = 3
    #: How far the clock that they carry the time of is behind the server's; ahead, if it is negative.
    behind: When = timedelta(0)


class Log(Part):
    """A line of a run's log."""

    at: When
    level: int = 40
    text: Text


class Task(Part):
    """A task run of a run, or so many ``times``; ``holds`` names the tags whose slots it holds."""

    name: str
    times: int = 1
    state: str = "COMPLETED"
    at: When
    message: Text | None = None
    tags: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()


class Run(Part):
    """A flow run; what is left out follows from the rest (see ``tests.support.seed_values.Run``).

    ``repeat`` makes so many of them, each ``every`` earlier than the one before. Each has the task runs, and the first
    alone the heartbeats and the log.
    """

    of: str | None = None
    flow: str = "laptop"
    id: str | None = None
    name: Text = ""
    state: str = "COMPLETED"
    type: str | None = None
    since: When | None = None
    due: When | None = None
    next_due: When | None = None
    started: When | None = None
    ended: When | None = None
    #: Time from start to end.
    took: Duration | None = None
    #: Time in RUNNING, where that is less.
    run_time: Duration | None = None
    message: Text | None = None
    attempts: int | None = None
    created: When | None = None
    #: When a paused run gives up.
    pause_timeout: When | None = None
    history: tuple[State, ...] | None = None
    child_of: str | None = None
    heartbeats: Heartbeats | None = None
    logs: tuple[Log, ...] = ()
    tasks: tuple[Task, ...] = ()
    repeat: int = 1
    every: Duration = timedelta(0)
    #: Columns of its row that are empty, whatever follows from the rest.
    without: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = Field(default_factory=dict)


class Event(Part):
    """An event, and the id of what it is about."""

    event: str
    resource: str
    at: When


class GlobalLimit(Part):
    """A global concurrency limit, by name."""

    limit: int
    taken: int = 0
    #: Runs that have taken a slot and not given it back, as its events show.
    holders: tuple[str, ...] = ()
    since: When = timedelta(hours=-1)


class Cause(Part):
    """The cause of a finding, also written ``work-pool etl no-live-worker``."""

    kind: CauseKind
    name: str
    reason: CauseReason


class Expected(Part):
    """A finding, exactly: what is not given here it does not have; runs and since are compared where given."""

    check: CheckName
    subject: str
    severity: Severity
    cause: Annotated[Cause | None, BeforeValidator(_cause)] = None
    #: The check and the subject that it is shown under: ``work-pool etl``.
    symptom_of: str | None = None
    unknown: bool = False
    runs: int | None = None
    since: When | None = None
    owner: str | None = None
    #: Names of what a failure came up through.
    path: tuple[str, ...] = ()
    #: Texts that observed, summary or evidence contain.
    says: tuple[str, ...] = ()


class Positions(Part):
    """Subjects that stand just below a threshold, at it and just above it; one server may have some of the three."""

    below: str | None = None
    at: str | None = None
    above: str | None = None


class World(Part):
    """All that is on a server."""

    pools: Mapping[str, Pool] = Field(default_factory=dict)
    flows: tuple[str, ...] = ()
    deployments: Mapping[str, Deployment] = Field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    events: tuple[Event, ...] = ()
    #: Limits by tag: how many task runs.
    tag_limits: Mapping[str, int] = Field(default_factory=dict)
    global_limits: Mapping[str, GlobalLimit] = Field(default_factory=dict)


class Network(Part):
    """What is between the watchdog and the server, when it looks for the last time."""

    #: Every answer takes this long.
    delay: Duration = timedelta(0)
    #: What the server's clock shows.
    clock: When = timedelta(0)
    #: Paths that the server answers with an error.
    failing: tuple[str, ...] = ()


class Scenario(World):
    """A labelled server: what is on it, and what must be found."""

    #: Given by the file: ``late/pending``.
    name: str
    title: str
    why: str
    now: AwareDatetime = NOON
    #: How the watchdog is configured.
    config: Mapping[str, Any] = Field(default_factory=dict)
    #: Earlier moments at which it has looked, and remembers what it saw.
    looks: tuple[When, ...] = ()
    network: Network = Network()
    background: bool = True
    #: By setting, ``late.after``: who stands where.
    thresholds: Mapping[str, Positions] = Field(default_factory=dict)
    #: Checks that are meant to find nothing here, or all that they find.
    checks: tuple[CheckName, ...] = ()
    expect: tuple[Expected, ...] = ()
    #: Queries that are not answered whole.
    missing: Mapping[str, str] = Field(default_factory=dict)

    @property
    def concerns(self) -> frozenset[str]:
        """The checks that it puts to the test."""
        section_checks = {name.partition(".")[0].replace("_", "-") for name in self.thresholds}
        return frozenset(section_checks | {finding.check for finding in self.expect} | set(self.checks))


def background() -> World:
    """What is on every server besides: all of it is well."""
    return World.model_validate(yaml.safe_load(BACKGROUND.read_text()))


def scenarios(only: str = "") -> Iterator[Scenario]:
    """Read all scenarios whose name contains a text, in the order of their names.

    Raises:
        ValueError: A file is no scenario.
    """
    for path in sorted(FOLDER.rglob("*.yaml")):
        base = path.relative_to(FOLDER).with_suffix("").as_posix()
        for number, document in enumerate(yaml.safe_load_all(path.read_text()), start=1):
            name = f"{base}/{document.pop('name', number)}"
            if only in name:
                yield _scenario(name, document)


def _scenario(name: str, document: Mapping[str, Any]) -> Scenario:
    try:
        return Scenario.model_validate({**document, "name": name})
    except ValueError as error:
        raise ValueError(f"tests/corpus/scenarios: {name}: {error}") from None
