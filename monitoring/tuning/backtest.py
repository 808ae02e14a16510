"""Replays history as a sequence of checks: what would have been opened, and resolved, when and by which rule.

History is what the server still knows of runs: when each was due, began and ended, and how. All else stays as it is
today: deployments, schedules, who is paused, the configuration. What such history cannot show is left out, and
``NOT_REPLAYED`` says so; nothing is made up.

The watchdog's own rules judge each moment, deployment by deployment. Between two moments at which something is due,
begins or ends, only the clock moves, and with the clock each finding comes or goes once at most; so the moments in
between are searched by halves rather than one by one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from monitoring.checks.base import policy_key
from monitoring.checks.findings import policy_of
from monitoring.checks.registry import BY_NAME, CHECKS, run_checks
from monitoring.checks.stale import CHECK as STALE
from monitoring.config.policy import Policies, written
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
from monitoring.model.prefect import TERMINAL, Deployment, FlowRun, StateType

#: The schedule of the check itself (prefect.yaml).
EVERY = timedelta(minutes=5)
#: A check that remembers nothing begins with the runs of the window before it: so does a replay.
WARM_UP = timedelta(days=1)

#: The checks that history can show.
REPLAYED = tuple(check for check in CHECKS if not check.not_replayed)
#: The others, and why it cannot.
NOT_REPLAYED: Mapping[str, str] = {check.name: check.not_replayed for check in CHECKS if check.not_replayed}

#: What else a reader of the result should know.
BOUNDS = (
    "Deployments, their schedules, pauses and tags are taken as they are today; those that are gone are left out.",
    "A run counts as waiting until it began: whether it was Scheduled or Pending then is not known.",
    "Of a run that was tried again, or started again by hand, only its first start and its last end are known; waits "
    "in between are taken to have come first, so that it is called slow too late rather than too early.",
    "Causes and subflows are not looked up, so that one problem may count as several here.",
)

_COMPLETE = Coverage(
    queries=tuple(
        Query(name=name, outcome="complete") for name in ("server", *ALWAYS_QUERIED, "last-success", "oldest-run")
    )
)


@dataclass(frozen=True, slots=True)
class PastRun:
    """What is kept of one flow run to replay it; there are many."""

    id: str
    name: str
    flow_id: str
    deployment_id: str | None
    created: datetime
    auto_scheduled: bool
    #: When it was due; None where nobody knows.
    due: datetime | None
    #: When it first went to RUNNING; None where it never did.
    began: datetime | None
    #: When it ended, or was last known to wait or run; None where it does so still.
    over: datetime | None
    #: Time in RUNNING up to then.
    run_time: timedelta
    #: How it ended; None where it has not.
    state_type: StateType | None
    state_name: str
    message: str

    @property
    def seen_from(self) -> datetime | None:
        """From when on it waits or runs; None for never."""
        return min((moment for moment in (self.due, self.began) if moment), default=None)

    def at(self, moment: datetime, until: datetime) -> FlowRun:
        """The run as it was while it waited or ran.

        Args:
            moment: Not before it was due or began, and not after it was over.
            until: The end of history.
        """
        running = self.began is not None and self.began <= moment
        if self.began is not None and running:
            # Where it waited between two attempts is not known: as if before the first.
            since = min(moment, max(self.began, (self.over or until) - self.run_time))
        else:
            since = self.created
        return self._run(
            "RUNNING" if running else "SCHEDULED",
            "Running" if running else "Scheduled",
            since,
            start_time=self.began if running else None,
            next_scheduled_start_time=None if running else self.due,
        )

    def ended(self) -> FlowRun:
        """The run as it ended; only for one that has."""
        assert self.state_type is not None
        assert self.over is not None
        return self._run(
            self.state_type,
            self.state_name,
            self.over,
            start_time=self.began or self.over,
            end_time=self.over,
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
                **fields,
            }
        )


def past_run(run: FlowRun, until: datetime) -> PastRun:
    """Keep of a run what can be replayed.

    Args:
        run: The run as it is now.
        until: Now.
    """
    ended = run.state_type in TERMINAL
    waits = run.state_type == "SCHEDULED" and run.start_time is None
    over = run.ended_at if ended else None
    if not ended and not waits and run.state_type != "RUNNING":
        # Since then it has been Pending, Paused or the like: how it got there is not known.
        over = run.state_timestamp
    run_time = run.total_run_time
    if run.state_type == "RUNNING":
        run_time += max(timedelta(0), until - run.state_timestamp)
    never_began = ended and run.start_time is not None and run.start_time == over and not run.total_run_time
    return PastRun(
        id=run.id,
        name=run.name,
        flow_id=run.flow_id,
        deployment_id=run.deployment_id,
        created=run.created,
        auto_scheduled=run.auto_scheduled,
        due=run.expected_start_time,
        began=None if never_began else run.start_time,
        over=over,
        run_time=run_time,
        state_type=run.state_type if ended else None,
        state_name=run.state_name,
        message=run.message[:MAX_MESSAGE],
    )


@dataclass(frozen=True)
class History:
    """What a server still knows of its past, up to now."""

    target: str
    server: ServerState
    #: The first moment that is judged; runs are known from ``WARM_UP`` before it.
    since: datetime
    #: Now.
    until: datetime
    #: By ``FlowRun.key``.
    deployments: Mapping[str, Deployment]
    #: By the same key.
    runs: Mapping[str, Sequence[PastRun]]
    #: By deployment id: when its schedules fire, ascending, from well before ``since``.
    fires: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    #: By deployment id, where asked: the newest success before the runs that are known; None where there is none.
    last_success: Mapping[str, FlowRun | None] = field(default_factory=dict)
    #: When the oldest success began that the server still has; None where it has none.
    oldest: datetime | None = None
    #: What could not be read whole, in words.
    gaps: tuple[str, ...] = ()

    @property
    def run_count(self) -> int:
        """How many runs are known."""
        return sum(map(len, self.runs.values()))


class Replayed(Value):
    """An incident as it would have been. ``resolved_at`` is None where it would be open still."""

    incident: Incident
    #: Whether it was so already when the replay began; when it was opened is then not known.
    before: bool
    #: The settings that decided, each with where it was set.
    decided_by: str

    @property
    def alert(self) -> bool:
        """Whether somebody would have been told: not of what was so before, nor of another problem's symptom."""
        return not self.before and self.incident.finding.symptom_of is None


class Replay(Value):
    """What a configuration would have made of a history; incidents in the order in which they open."""

    origin: str
    since: datetime
    until: datetime
    incidents: tuple[Replayed, ...]

    def per_day(self, zone: ZoneInfo) -> dict[date, tuple[int, int]]:
        """How many alerts were opened and resolved on each day of the replay, none left out.

        Args:
            zone: Where days begin and end.
        """
        first, last = (moment.astimezone(zone).date() for moment in (self.since, self.until))
        opened: dict[date, int] = defaultdict(int)
        resolved: dict[date, int] = defaultdict(int)
        for one in self.incidents:
            if one.alert:
                opened[one.incident.opened_at.astimezone(zone).date()] += 1
                if one.incident.resolved_at:
                    resolved[one.incident.resolved_at.astimezone(zone).date()] += 1
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return {day: (opened[day], resolved[day]) for day in days}

    def per_rule(self) -> dict[tuple[str, str], int]:
        """How many alerts each check opened by each setting, the most first."""
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for one in self.incidents:
            counts[(one.incident.finding.check, one.decided_by)] += one.alert
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class Difference(Value):
    """What two configurations make differently of the same history."""

    only_first: tuple[Replayed, ...]
    only_second: tuple[Replayed, ...]
    #: The same incident at other times or of another severity, as the first and the second have it.
    changed: tuple[tuple[Replayed, Replayed], ...]
    same: int


def replay(history: History, policies: Policies, told: Callable[[int], None] = lambda done: None) -> Replay:
    """Judge a history by a configuration as checks every five minutes would have, the last of them now.

    Args:
        history: What is known of the past.
        policies: The configuration.
        told: Called with the number of deployments that are done.
    """
    moments = _moments(history)
    found: list[Replayed] = []
    for done, (key, deployment) in enumerate(history.deployments.items(), start=1):
        if policy_of(deployment, policies).watch:
            found += _Life(history, key, deployment, policies, moments).incidents()
        told(done)
    found.sort(key=lambda one: (one.incident.opened_at, one.incident.finding.fingerprint))
    return Replay(origin=policies.origin, since=moments[0], until=moments[-1], incidents=tuple(found))


def compare(first: Replay, second: Replay) -> Difference:
    """Set two replays of the same history against each other: incidents of one thing that overlap are the same."""
    others: dict[str, list[Replayed]] = defaultdict(list)
    for one in second.incidents:
        others[one.incident.finding.fingerprint].append(one)
    only_first, changed, same = [], [], 0
    for one in first.incidents:
        candidates = others[one.incident.finding.fingerprint]
        match = next((other for other in candidates if _overlap(one.incident, other.incident)), None)
        if match is None:
            only_first.append(one)
            continue
        candidates.remove(match)
        if _in_short(one.incident) == _in_short(match.incident):
            same += 1
        else:
            changed.append((one, match))
    left = {id(one) for candidates in others.values() for one in candidates}
    return Difference(
        only_first=tuple(only_first),
        only_second=tuple(one for one in second.incidents if id(one) in left),
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
    """What a check at a past moment would have seen, as far as history shows it.

    Args:
        history: What is known of the past.
        deployments: By key: the deployment, and its runs that wait or run at that moment.
        ledger: What was remembered before.
        at: The moment.
        since: The moment of the check before.
        ended: The runs that ended in between, oldest first.
        policies: Say how many fires of a schedule matter.
    """
    active = (run.at(at, history.until) for _, runs in deployments.values() for run in runs)
    return Observation(
        target=history.target,
        at=at,
        since=since,
        server=ServerFacts(state=history.server),
        coverage=_COMPLETE,
        deployments={
            key: _deployment(deployment, history.fires.get(key, ()), ledger.records.get(key), at, policies)
            for key, (deployment, _) in deployments.items()
        },
        runs=RunFacts(active=tuple(active), ended=tuple(run.ended() for run in ended)),
        history=HistoryFacts(
            # Known to every check of the past; a ledger that holds a success ignores it.
            last_success={key: history.last_success[key] for key in deployments if key in history.last_success},
            oldest_success=history.oldest,
        ),
    )


def _deployment(
    deployment: Deployment, fires: Sequence[datetime], record: Record | None, at: datetime, policies: Policies
) -> Deployment:
    """The deployment with the due times that mattered then, as the reader gives it."""
    settings = STALE.settings(policy_of(deployment, policies))
    due: Sequence[datetime] = ()
    if settings.within is None:
        usual = granted(record.run_times) if record else timedelta(0)
        past = bisect_right(fires, at - usual - settings.grace)
        due = fires[max(0, past - settings.missed_fires) : past]
    return deployment.model_copy(update={"due": tuple(due), "slots_taken": None})


class _Life:
    """One deployment's days, moment by moment."""

    def __init__(
        self, history: History, key: str, deployment: Deployment, policies: Policies, moments: Sequence[datetime]
    ) -> None:
        self._history = history
        self._key = key
        self._deployment = deployment
        self._policies = policies
        self._moments = moments
        stale = STALE.settings(policy_of(deployment, policies))
        # Where nothing waits, runs or is wrong, the clock alone makes nothing wrong but the age of the last success.
        self._ages = stale.enabled and (stale.within is not None or bool(history.fires.get(key)))
        # The usual run time counts from the check after a run has ended on, and with it what is due.
        self._looks_twice = stale.grace < EVERY
        self._active: dict[str, PastRun] = {}
        self._ledger = Ledger()
        self._open = Incidents()
        self._worst: dict[str, Incident] = {}
        self._closed: list[Replayed] = []

    def incidents(self) -> list[Replayed]:
        """Go through all that happened, and return what was opened."""
        appears, ends, steps = self._events()
        for step, following in zip(steps, [*steps[1:], len(self._moments)], strict=True):
            over = ends.get(step, ())
            for run in appears.get(step, ()):
                self._active[run.id] = run
            for run in over:
                self._active.pop(run.id, None)
            ended = sorted((run for run in over if run.state_type), key=lambda run: (run.over, run.id))
            observation = self._observe(step, ended)
            self._ledger = fold(self._ledger, observation, timedelta(0))
            now = self._judged(observation)
            self._move(observation, now)
            last = following - 1
            if last > step and (self._active or _in_sight(now) or self._ages):
                for observation, findings in self._changes(step, now, last, self._judged(self._observe(last))):
                    self._move(observation, findings)
        still = [self._replayed(incident) for incident in self._open.open.values()]
        return [*self._closed, *still]

    def _events(self) -> tuple[dict[int, list[PastRun]], dict[int, list[PastRun]], list[int]]:
        """Which runs come into sight and which are over, by the step that first sees it; and all such steps."""
        appears: dict[int, list[PastRun]] = defaultdict(list)
        ends: dict[int, list[PastRun]] = defaultdict(list)
        steps = {0}
        for run in self._history.runs.get(self._key, ()):
            over = self._step(run.over) if run.over else None
            seen = self._step(run.seen_from) if run.seen_from else None
            if over is not None:
                ends[over].append(run)
                steps.update([over, min(over + 1, len(self._moments) - 1)] if self._looks_twice else [over])
            if seen is not None and (over is None or seen < over):
                appears[seen].append(run)
                steps.add(seen)
                steps.update(step for step in [self._step(run.began) if run.began else None] if step is not None)
        return appears, ends, sorted(steps)

    def _step(self, moment: datetime) -> int | None:
        """The first moment that is not before; None where there is none."""
        step = max(0, -((self._moments[0] - moment) // EVERY))
        return step if step < len(self._moments) else None

    def _observe(self, step: int, ended: Sequence[PastRun] = ()) -> Observation:
        since = self._moments[step - 1] if step else self._moments[0] - WARM_UP
        mine = {self._key: (self._deployment, self._active.values())}
        return observation_at(self._history, mine, self._ledger, self._moments[step], since, ended, self._policies)

    def _judged(self, observation: Observation) -> tuple[Finding, ...]:
        return judged(observation, self._ledger, self._policies)

    def _changes(
        self, first: int, before: Sequence[Finding], last: int, after: Sequence[Finding]
    ) -> Iterator[tuple[Observation, Sequence[Finding]]]:
        """The moments, in their order, at which findings come or go by the clock alone."""
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
        # Each incident by itself: how often something would come back is what a replay is to show.
        moved = advance(self._open, (), findings, observation, self._ledger, self._policies, complete=True)
        self._open = moved.incidents
        for fingerprint, incident in moved.open.items():
            worst = self._worst.get(fingerprint)
            if worst is None or _worse(incident, worst):
                self._worst[fingerprint] = incident
        self._closed += [self._replayed(incident) for incident in moved.closed]

    def _replayed(self, incident: Incident) -> Replayed:
        worst = self._worst.pop(incident.finding.fingerprint)
        return Replayed(
            incident=incident.model_copy(update={"finding": worst.finding}),
            before=incident.opened_at == self._moments[0],
            decided_by=_decided_by(incident.finding.check, self._deployment, self._policies),
        )


def judged(observation: Observation, ledger: Ledger, policies: Policies) -> tuple[Finding, ...]:
    """What the checks find that history can show.

    Args:
        observation: What was seen at a past moment.
        ledger: What was remembered then, the observation folded in.
        policies: The configuration.
    """
    return correlate(run_checks(observation, ledger, policies, REPLAYED), observation, ledger)


def _decided_by(check: str, deployment: Deployment, policies: Policies) -> str:
    """The settings that decided, and where each was set, in one line: ``late.after 15m (default)``."""
    settings = policies.explain(*policy_key(deployment))
    by_source: dict[str, list[str]] = {}
    for name in BY_NAME[check].deciding_settings(policy_of(deployment, policies)):
        by_source.setdefault(settings[name].source, []).append(f"{name} {written(settings[name].value)}")
    return "; ".join(f"{', '.join(fields)} ({source})" for source, fields in by_source.items())


def _moments(history: History) -> tuple[datetime, ...]:
    """Every moment of a check, the last of them now; the first may be a little later than history's beginning."""
    count = max(0, (history.until - history.since) // EVERY)
    return tuple(history.until - (count - n) * EVERY for n in range(count + 1))


def _in_sight(findings: Iterable[Finding]) -> set[tuple[str, Severity]]:
    return {(one.fingerprint, one.severity) for one in findings if one.severity != "info"}


def _worse(one: Incident, other: Incident) -> bool:
    return rank(one.finding.severity) > rank(other.finding.severity)


def _overlap(one: Incident, other: Incident) -> bool:
    end = datetime.max.replace(tzinfo=timezone.utc)
    return one.opened_at <= (other.resolved_at or end) and other.opened_at <= (one.resolved_at or end)


def _in_short(incident: Incident) -> tuple[datetime, datetime | None, Severity]:
    return (incident.opened_at, incident.resolved_at, incident.finding.severity)
