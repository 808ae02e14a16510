"""Replays history as a sequence of checks: which incidents would have been opened and resolved, when, by which rule.

History is the server's record of runs: when each was due, started and ended, and how. Everything else is taken as it is
today: deployments, schedules, pauses, the configuration. Checks that history cannot replay are left out, and
``NOT_REPLAYED`` lists them.

The watchdog's own rules judge each deployment at each check time. Between two times at which a run is due, starts or
ends, only the clock moves, and each run joins or leaves a finding at most once. So the check times in between are
searched by bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from monitoring.checks.registry import BY_NAME, CHECKS, run_checks
from monitoring.checks.stale import CHECK as STALE
from monitoring.config.policy import Policies, format_value
from monitoring.history.baselines import granted
from monitoring.history.ledger import fold
from monitoring.incidents.correlation import correlate
from monitoring.incidents.lifecycle import advance
from monitoring.model.base import Value
from monitoring.model.coverage import ALWAYS_QUERIED, Coverage, Query
from monitoring.model.finding import Finding, Severity, rank
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import MAX_MESSAGE, Ledger, Record
from monitoring.model.observation import HistoryFacts, Observation, RunFacts, ServerFacts, ServerState
from monitoring.model.policy import policy_key
from monitoring.model.prefect import TERMINAL, Deployment, FlowRun, StateType

#: The schedule of the check itself (prefect.yaml).
EVERY = timedelta(minutes=5)
#: A check without a saved state begins with the runs of the window before it: so does a replay.
WARM_UP = timedelta(days=1)

#: The checks that can be replayed.
REPLAYED = tuple(check for check in CHECKS if not check.not_replayed)
#: The other checks, and why they cannot be replayed.
NOT_REPLAYED: Mapping[str, str] = {check.name: check.not_replayed for check in CHECKS if check.not_replayed}

#: Other limitations that the result states.
BOUNDS = (
    "Deployments, their schedules, pauses and tags are taken as they are today; deleted deployments are left out.",
    "A run counts as waiting until it started, because it is not known whether it was Scheduled or Pending.",
    "Of a run that was retried or restarted by hand, only the first start and the last end are known. Waits in between "
    "are assumed to have come first, so a slow run is found too late rather than too early.",
    "Causes and subflows are not looked up, so a single problem may count as several.",
)

_COMPLETE = Coverage(
    queries=tuple(
        Query(name=name, outcome="complete") for name in ("server", *ALWAYS_QUERIED, "last-success", "oldest-run")
    )
)


@dataclass(frozen=True, slots=True)
class PastRun:
    """The data of a flow run that a replay needs."""

    id: str
    name: str
    flow_id: str
    deployment_id: str | None
    created: datetime
    auto_scheduled: bool
    #: When it was due; None if unknown.
    due: datetime | None
    #: When it first entered RUNNING; None if it never did.
    started: datetime | None
    #: When it ended, or was last known to wait or run; None if it still does.
    ended: datetime | None
    #: Time in RUNNING until then.
    run_time: timedelta
    #: How it ended; None if it has not.
    state_type: StateType | None
    state_name: str
    message: str
    #: As in ``FlowRun``.
    parameters: tuple[str, ...] = ()

    @property
    def seen_from(self) -> datetime | None:
        """When it begins to wait or run; None if never."""
        return min((start for start in (self.due, self.started) if start), default=None)

    def at(self, when: datetime, until: datetime) -> FlowRun:
        """The run as it was at a time when it waited or ran, in a history until ``until``."""
        if self.started is None or self.started > when:
            return self._run("SCHEDULED", "Scheduled", self.created, next_scheduled_start_time=self.due)
        # When it waited between attempts is unknown: assume before the first.
        since = min(when, max(self.started, (self.ended or until) - self.run_time))
        return self._run("RUNNING", "Running", since, start_time=self.started)

    def as_ended(self) -> FlowRun:
        """The run as it ended; only for a run that has ended."""
        assert self.state_type is not None
        assert self.ended is not None
        return self._run(
            self.state_type,
            self.state_name,
            self.ended,
            start_time=self.started or self.ended,
            end_time=self.ended,
            message=self.message,
            total_run_time=self.run_time,
        )

    def _run(self, state_type: StateType, state_name: str, since: datetime, **fields: object) -> FlowRun:
        return FlowRun.model_validate(
            {
                "id": self.id,
                "name": self.name,
                "flow_id": self.flow_id,
                "deployment_id": self.deployment_id,
                "created": self.created,
                "auto_scheduled": self.auto_scheduled,
                "expected_start_time": self.due,
                "state_type": state_type,
                "state_name": state_name,
                "state_timestamp": since,
                "parameters": self.parameters,
                **fields,
            }
        )


def past_run(run: FlowRun, until: datetime) -> PastRun:
    """Extract what a replay needs of a run, as it is at the end of history."""
    final = run.state_type in TERMINAL
    waits = run.state_type == "SCHEDULED" and run.start_time is None
    ended = run.ended_at if final else None
    if not final and not waits and run.state_type != "RUNNING":
        # Since then it has been Pending, Paused or similar; its earlier states are unknown.
        ended = run.state_timestamp
    run_time = run.total_run_time
    if run.state_type == "RUNNING":
        run_time += max(timedelta(0), until - run.state_timestamp)
    never_started = final and run.start_time is not None and run.start_time == ended and not run.total_run_time
    return PastRun(
        id=run.id,
        name=run.name,
        flow_id=run.flow_id,
        deployment_id=run.deployment_id,
        created=run.created,
        auto_scheduled=run.auto_scheduled,
        due=run.expected_start_time,
        started=None if never_started else run.start_time,
        ended=ended,
        run_time=run_time,
        state_type=run.state_type if final else None,
        state_name=run.state_name,
        message=run.message[:MAX_MESSAGE],
        parameters=run.parameters,
    )


@dataclass(frozen=True)
class History:
    """The history that a server still has, up to now."""

    target: str
    server: ServerState
    #: The first check time; runs are known from ``WARM_UP`` before it.
    since: datetime
    #: Now.
    until: datetime
    #: By ``FlowRun.key``.
    deployments: Mapping[str, Deployment]
    #: By the same key.
    runs: Mapping[str, Sequence[PastRun]]
    #: By deployment id: the scheduled times, ascending, from well before ``since``.
    scheduled_times: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    #: By deployment id, if queried: the newest success before the known runs; None if there is none.
    last_success: Mapping[str, FlowRun | None] = field(default_factory=dict)
    #: When the oldest success that the server still has started; None if it has none.
    oldest: datetime | None = None
    #: Descriptions of the data that could not be read completely.
    gaps: tuple[str, ...] = ()

    @property
    def run_count(self) -> int:
        """The number of known runs."""
        return sum(map(len, self.runs.values()))


class Replayed(Value):
    """An incident as it would have been. ``resolved_at`` is None if it would still be open."""

    incident: Incident
    #: Whether it was already there when the replay began, so that its true beginning is unknown.
    before: bool
    #: The settings that decided, each with its source.
    decided_by: str

    @property
    def alert(self) -> bool:
        """Whether it would have been notified: not if it was there before, and not if it is a symptom."""
        return not self.before and self.incident.finding.symptom_of is None


class Replay(Value):
    """The incidents that a configuration would have opened, in the order of their opening."""

    origin: str
    since: datetime
    until: datetime
    incidents: tuple[Replayed, ...]

    def per_day(self, zone: ZoneInfo) -> dict[date, tuple[int, int]]:
        """The number of alerts opened and resolved on each day of the replay, including days without any."""
        alerts = [replayed.incident for replayed in self.incidents if replayed.alert]
        opened = Counter(alert.opened_at.astimezone(zone).date() for alert in alerts)
        resolved = Counter(alert.resolved_at.astimezone(zone).date() for alert in alerts if alert.resolved_at)
        first, last = (end.astimezone(zone).date() for end in (self.since, self.until))
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return {day: (opened[day], resolved[day]) for day in days}

    def per_rule(self) -> dict[tuple[str, str], int]:
        """The number of alerts by check and deciding settings, largest first."""
        counts = Counter(
            (replayed.incident.finding.check, replayed.decided_by) for replayed in self.incidents if replayed.alert
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class Difference(Value):
    """The differences between two replays of the same history."""

    only_first: tuple[Replayed, ...]
    only_second: tuple[Replayed, ...]
    #: The same incident at other times or with another severity, in the first and in the second replay.
    changed: tuple[tuple[Replayed, Replayed], ...]
    same: int


def replay(history: History, policies: Policies, on_progress: Callable[[int], None] = lambda done: None) -> Replay:
    """Judge a history as checks every five minutes would have, the last of them now.

    ``on_progress`` is called with the number of replayed deployments.
    """
    times = _check_times(history)
    found: list[Replayed] = []
    for done, (key, deployment) in enumerate(history.deployments.items(), start=1):
        if policies.of(*policy_key(deployment)).watch:
            found += _DeploymentReplay(history, key, deployment, policies, times).incidents()
        on_progress(done)
    found.sort(key=lambda replayed: (replayed.incident.opened_at, replayed.incident.finding.fingerprint))
    return Replay(origin=policies.origin, since=times[0], until=times[-1], incidents=tuple(found))


def compare(first: Replay, second: Replay) -> Difference:
    """Compare two replays of the same history: overlapping incidents with the same fingerprint are the same."""
    others: dict[str, list[Replayed]] = defaultdict(list)
    for replayed in second.incidents:
        others[replayed.incident.finding.fingerprint].append(replayed)
    only_first, changed, same = [], [], 0
    for replayed in first.incidents:
        candidates = others[replayed.incident.finding.fingerprint]
        match = next((other for other in candidates if _overlap(replayed.incident, other.incident)), None)
        if match is None:
            only_first.append(replayed)
            continue
        candidates.remove(match)
        if _summary(replayed.incident) == _summary(match.incident):
            same += 1
        else:
            changed.append((replayed, match))
    left = {id(replayed) for candidates in others.values() for replayed in candidates}
    return Difference(
        only_first=tuple(only_first),
        only_second=tuple(replayed for replayed in second.incidents if id(replayed) in left),
        changed=tuple(changed),
        same=same,
    )


def observation_at(
    history: History,
    deployments: Mapping[str, tuple[Deployment, Iterable[PastRun]]],
    ledger: Ledger,
    at: datetime,
    since: datetime,
    ended: Iterable[PastRun],
    policies: Policies,
) -> Observation:
    """What a check at a past time would have observed, as far as history shows it.

    Args:
        history: The history.
        deployments: By key: the deployment, and its runs that wait or run at that time.
        ledger: The ledger of the check before.
        at: The time of the check.
        since: The time of the check before.
        ended: The runs that ended in between, oldest first.
        policies: Determine how many scheduled times matter.
    """
    active = (run.at(at, history.until) for _, runs in deployments.values() for run in runs)
    return Observation(
        target=history.target,
        at=at,
        since=since,
        server=ServerFacts(state=history.server),
        coverage=_COMPLETE,
        deployments={
            key: _deployment(deployment, history.scheduled_times.get(key, ()), ledger.records.get(key), at, policies)
            for key, (deployment, _) in deployments.items()
        },
        runs=RunFacts(active=tuple(active), ended=tuple(run.as_ended() for run in ended)),
        history=HistoryFacts(
            # Known to every past check; a ledger with a success ignores it.
            last_success={key: history.last_success[key] for key in deployments if key in history.last_success},
            oldest_success=history.oldest,
        ),
    )


def _deployment(
    deployment: Deployment, times: Sequence[datetime], record: Record | None, at: datetime, policies: Policies
) -> Deployment:
    """The deployment with the due times that mattered then, as the reader returns it."""
    settings = STALE.settings(policies.of(*policy_key(deployment)))
    due: Sequence[datetime] = ()
    if settings.within is None:
        usual = granted(record.run_times) if record else timedelta(0)
        past = bisect_right(times, at - usual - settings.grace)
        due = times[max(0, past - settings.missed_fires) : past]
    # Those of its single schedules are of now, and are not replayed.
    own = tuple(own.model_copy(update={"due": ()}) for own in deployment.schedule_parameters)
    return deployment.model_copy(update={"due": tuple(due), "schedule_parameters": own, "slots_taken": None})


class _DeploymentReplay:
    """The replay of one deployment."""

    def __init__(
        self, history: History, key: str, deployment: Deployment, policies: Policies, times: Sequence[datetime]
    ) -> None:
        self._history = history
        self._key = key
        self._deployment = deployment
        self._policies = policies
        self._times = times
        stale = STALE.settings(policies.of(*policy_key(deployment)))
        # If nothing waits, runs or is wrong, the clock alone can only make the last success too old.
        self._ages = stale.enabled and (stale.within is not None or bool(history.scheduled_times.get(key)))
        self._active: dict[str, PastRun] = {}
        self._ledger = Ledger()
        self._open = Incidents()
        self._worst: dict[str, Incident] = {}
        self._closed: list[Replayed] = []

    def incidents(self) -> list[Replayed]:
        """Replay the history, and return the incidents that were opened."""
        appearing, ending, steps = self._events()
        for step, following in zip(steps, [*steps[1:], len(self._times)], strict=True):
            self._active |= {run.id: run for run in appearing[step]}
            for run in ending[step]:
                self._active.pop(run.id, None)
            ended = sorted((run for run in ending[step] if run.state_type), key=lambda run: (run.ended, run.id))
            observation = self._observe(step, ended)
            self._ledger = fold(self._ledger, observation, timedelta(0))
            findings = self._judged(observation)
            self._move(observation, findings)
            last = following - 1
            if last > step and (self._active or _in_sight(findings) or self._ages):
                at_last = self._judged(self._observe(last))
                for changed, found in self._changes(step, findings, last, at_last):
                    self._move(changed, found)
        still = [self._replayed(incident) for incident in self._open.open.values()]
        return [*self._closed, *still]

    def _events(self) -> tuple[dict[int, list[PastRun]], dict[int, list[PastRun]], list[int]]:
        """The runs that appear and that end, by the first check that sees it; and the indexes of all such checks."""
        appearing: dict[int, list[PastRun]] = defaultdict(list)
        ending: dict[int, list[PastRun]] = defaultdict(list)
        steps = {0}
        for run in self._history.runs.get(self._key, ()):
            seen, started, ended = map(self._step, (run.seen_from, run.started, run.ended))
            if ended is not None:
                ending[ended].append(run)
                # The usual run time changes with the check after the end of a run, and with it the due times.
                steps |= {ended, min(ended + 1, len(self._times) - 1)}
            if seen is not None and (ended is None or seen < ended):
                appearing[seen].append(run)
                steps |= {seen} if started is None else {seen, started}
        return appearing, ending, sorted(steps)

    def _step(self, when: datetime | None) -> int | None:
        """The index of the first check at or after a time; None if there is none."""
        if when is None:
            return None
        step = max(0, -((self._times[0] - when) // EVERY))
        return step if step < len(self._times) else None

    def _observe(self, step: int, ended: Sequence[PastRun] = ()) -> Observation:
        since = self._times[step - 1] if step else self._times[0] - WARM_UP
        mine = {self._key: (self._deployment, self._active.values())}
        return observation_at(self._history, mine, self._ledger, self._times[step], since, ended, self._policies)

    def _judged(self, observation: Observation) -> tuple[Finding, ...]:
        return judged(observation, self._ledger, self._policies)

    def _changes(
        self, first: int, before: Sequence[Finding], last: int, after: Sequence[Finding]
    ) -> Iterator[tuple[Observation, Sequence[Finding]]]:
        """The checks, in order, at which findings appear or disappear by the clock alone."""
        if _in_sight(before) == _in_sight(after):
            return
        if last - first == 1:
            yield self._observe(last), after
            return
        middle = (first + last) // 2
        between = self._judged(self._observe(middle))
        yield from self._changes(first, before, middle, between)
        yield from self._changes(middle, between, last, after)

    def _move(self, observation: Observation, findings: Sequence[Finding]) -> None:
        # Without reopening: a replay shows how often a problem would have come back.
        moved = advance(self._open, (), findings, observation, self._ledger, self._policies, complete=True)
        self._open = moved.incidents
        for fingerprint, incident in moved.open.items():
            worst = self._worst.get(fingerprint)
            if worst is None or rank(incident.finding.severity) > rank(worst.finding.severity):
                self._worst[fingerprint] = incident
        self._closed += [self._replayed(incident) for incident in moved.closed]

    def _replayed(self, incident: Incident) -> Replayed:
        worst = self._worst.pop(incident.finding.fingerprint)
        return Replayed(
            incident=incident.model_copy(update={"finding": worst.finding}),
            before=incident.opened_at == self._times[0],
            decided_by=_decided_by(incident.finding.check, self._deployment, self._policies),
        )


def judged(observation: Observation, ledger: Ledger, policies: Policies) -> tuple[Finding, ...]:
    """The findings of the replayable checks, with a ledger that includes the observation."""
    return correlate(run_checks(observation, ledger, policies, REPLAYED), observation, ledger)


def _decided_by(check: str, deployment: Deployment, policies: Policies) -> str:
    """The settings that decided, and where each was set, in one line: ``late.after 15m (default)``."""
    settings = policies.explain(*policy_key(deployment))
    by_source: dict[str, list[str]] = {}
    for name in BY_NAME[check].deciding_settings(policies.of(*policy_key(deployment))):
        by_source.setdefault(settings[name].source, []).append(f"{name} {format_value(settings[name].value)}")
    return "; ".join(f"{', '.join(fields)} ({source})" for source, fields in by_source.items())


def _check_times(history: History) -> tuple[datetime, ...]:
    """The times of all checks, the last of them now; the first may be a little after the beginning of history."""
    count = max(0, (history.until - history.since) // EVERY)
    return tuple(history.until - (count - n) * EVERY for n in range(count + 1))


def _in_sight(findings: Iterable[Finding]) -> set[tuple[str, Severity, tuple[str, ...]]]:
    # With its runs: one run may leave a finding before another joins it, and in between there is none.
    notable = (finding for finding in findings if finding.severity != "info")
    return {(finding.fingerprint, finding.severity, finding.flow_run_ids) for finding in notable}


def _overlap(first: Incident, second: Incident) -> bool:
    end = datetime.max.replace(tzinfo=timezone.utc)
    return first.opened_at <= (second.resolved_at or end) and second.opened_at <= (first.resolved_at or end)


def _summary(incident: Incident) -> tuple[datetime, datetime | None, Severity]:
    return (incident.opened_at, incident.resolved_at, incident.finding.severity)
