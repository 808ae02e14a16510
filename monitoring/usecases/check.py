"""The use case of the check. The order of the steps stands here, and nothing else.

Everything between reading and writing is a pure function of values; the clock is read by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.errors import DeliveryError, ServerProblem
from monitoring.incidents.lifecycle import advance
from monitoring.incidents.requests import done
from monitoring.logs import get_logger
from monitoring.metrics.measure import Measurable
from monitoring.model.coverage import Coverage
from monitoring.model.incident import Transition
from monitoring.model.observation import Observation
from monitoring.model.outbox import Outbox
from monitoring.model.report import HealthReport
from monitoring.model.saved_state import SavedState
from monitoring.notifications.event_publisher import emit
from monitoring.notifications.events import check_completed, with_events
from monitoring.notifications.planning import Situation, announce
from monitoring.notifications.ports import Events, Messenger
from monitoring.notifications.sender import Delivering
from monitoring.usecases.assess import assess
from monitoring.usecases.measure import Measuring, hand_over, take
from monitoring.usecases.ports import Artifacts, Housekeeping, Lock, Ping, Reader, State
from monitoring.usecases.reporting import unreachable_report

_log = get_logger(__name__)

#: A check waits so long for the lock: the digest has it for a moment, every day at the minute of a check.
CHECK_PATIENCE = timedelta(seconds=10)


@dataclass(frozen=True)
class Outlets:
    """By what a check speaks."""

    #: Gives the messenger of a route by its name; raises ``DeliveryError`` where it cannot be used.
    messenger: Callable[[str], Messenger]
    events: Events
    artifacts: Artifacts
    #: The dead-man's switch, if there is one.
    ping: Ping | None
    #: None where nothing is measured.
    measuring: Measuring | None = None


def check(
    reader: Reader,
    state: State,
    lock: Lock,
    outlets: Outlets,
    housekeeping: Housekeeping,
    policies: Policies,
    now: datetime,
    overlap: timedelta,
    run_id: str,
) -> HealthReport | None:
    """Check the server: do what was asked, assess, move the incidents, save, tell, publish, tidy up, ping.

    What is to be said is saved before it is said: a crash may repeat a message and loses none.

    Args:
        reader: Reads the server.
        state: What is remembered.
        lock: Lets one check write at a time.
        outlets: By what it speaks.
        housekeeping: Removes what it left behind.
        policies: The effective policy of each deployment.
        now: The moment of the check.
        overlap: As for ``assess``.
        run_id: The check's own flow run.

    Returns:
        The report; None when another check is running.

    Raises:
        ServerProblem: The state cannot be read or written; the dead-man's switch has been told.
        LockLost: Another check took over; nothing more was written.
    """
    try:
        with lock.hold(CHECK_PATIENCE) as held:
            if not held:
                return None
            _start(outlets.ping)
            report = _checked(reader, state, outlets, housekeeping, policies, now, overlap, run_id)
    except ServerProblem as problem:
        _tell(outlets.ping, unreachable_report(policies.config.target.name, now, str(problem)))
        raise
    _tell(outlets.ping, report)
    return report


def _checked(
    reader: Reader,
    state: State,
    outlets: Outlets,
    housekeeping: Housekeeping,
    policies: Policies,
    now: datetime,
    overlap: timedelta,
    run_id: str,
) -> HealthReport:
    config = policies.config
    before, known = state.load()
    asked = done(before.requests, before.incidents, before.silences, now)
    _log.debug("state loaded", incidents=len(before.incidents.open), requests=len(before.requests))
    seen = assess(reader, before.ledger, policies, now, overlap, known, asked.incidents.open, before.outbox)
    complete = seen.report.coverage.complete
    observed, ledger = seen.observation, seen.ledger
    if complete:
        ledger = ledger.model_copy(update={"complete_at": now})
    moved = advance(asked.incidents, before.closed, seen.findings, observed, ledger, policies, complete)
    _log_seen(seen.report, moved.transitions)
    again = {incident.number for incident in moved.open.values()}
    closed = tuple(one for one in (*moved.closed, *asked.closed, *before.closed) if one.number not in again)
    silences = (*asked.silences.known, *observed.maintenance)
    outbox = with_events(before.outbox, moved.incidents, closed, observed)
    situation = Situation(
        incidents=moved.incidents,
        closed=closed,
        silences=silences,
        config=config,
        ui_url=observed.server.state.ui_url,
        now=now,
        complete=complete,
    )
    after = SavedState(
        ledger=ledger,
        incidents=moved.incidents,
        silences=asked.silences,
        outbox=announce(outbox, situation),
        closed=closed,
        artifacts=before.artifacts,
    )
    state.save(before, after)
    for sentence in asked.undone:
        _log.warning("request not done", says=sentence)
    report = seen.report.with_known(moved.open.values(), silences)
    told = _delivered(after, state, outlets, config, now)
    # Registered before anything else can fail: an artifact that is not in the register is never deleted.
    published = told.model_copy(update={"artifacts": outlets.artifacts.publish_health(report, told.artifacts)})
    state.save(told, published)
    tidied = published.model_copy(update={"artifacts": housekeeping.tidy(now, published.artifacts)})
    state.save(published, tidied)
    _log.debug("report published", artifacts=len(tidied.artifacts))
    if outlets.measuring:
        _measured(tidied, state, observed, report.coverage, outlets.measuring, policies)
    _completed(outlets.events, report, run_id)
    return report


def _log_seen(report: HealthReport, transitions: Iterable[Transition]) -> None:
    """Log what was seen, and how each incident moved."""
    _log.debug(
        "server observed",
        deployments=report.deployments,
        active_runs=report.active_runs,
        ended_runs=report.ended_runs,
        findings=len(report.findings),
    )
    for query in report.coverage.missing:
        _log.warning("answer incomplete", query=query.name, outcome=query.outcome, problem=query.detail)
    for incident, step in ((one.incident, one.step) for one in transitions):
        finding = incident.finding
        # Nobody is told of what is only pending, and not even its number is known.
        log = _log.info if incident.number else _log.debug
        log(
            "incident moved",
            incident=incident.id,
            fingerprint=finding.fingerprint,
            check=finding.check,
            severity=finding.severity,
            subject=finding.subject.name,
            to=step.to,
            reason=step.reason,
        )


def _delivered(after: SavedState, state: State, outlets: Outlets, config: Config, now: datetime) -> SavedState:
    saved = after

    def save(outbox: Outbox) -> None:
        nonlocal saved
        changed = saved.model_copy(update={"outbox": outbox})
        state.save(saved, changed)
        saved = changed

    outbox = after.outbox
    if config.alerts.enabled:
        outbox = Delivering(outlets.messenger, save, config, now).deliver(outbox)
    # People come first: a server that is slow to take events must not make them wait.
    emit(outbox, outlets.events, save, now)
    return saved


def _measured(
    saved: SavedState,
    state: State,
    observation: Observation,
    coverage: Coverage,
    measuring: Measuring,
    policies: Policies,
) -> None:
    known = Measurable(
        observation=observation,
        ledger=saved.ledger,
        incidents=saved.incidents,
        outbox=saved.outbox,
        coverage=coverage,
    )
    snapshot = take(known, measuring, policies)
    failing = hand_over(snapshot, measuring, saved.outbox.outlets, observation.at)
    state.save(saved, saved.model_copy(update={"outbox": saved.outbox.model_copy(update={"outlets": failing})}))


def _completed(events: Events, report: HealthReport, run_id: str) -> None:
    """Let others see that the watchdog lives. Where that fails, they see that it does not: they are to look."""
    try:
        events.send([check_completed(report, run_id)])
    except ServerProblem as problem:
        _log.warning("completion not announced", problem=str(problem))


def _start(ping: Ping | None) -> None:
    if ping is None:
        return
    try:
        ping.start()
    except DeliveryError as error:
        _log.warning("ping failed", about="start", problem=str(error))


def _tell(ping: Ping | None, report: HealthReport) -> None:
    """Ping the dead-man's switch; that it cannot be reached is said, and fails nothing: it will notice by itself."""
    if ping is None:
        return
    try:
        ping.ping(report)
    except DeliveryError as error:
        _log.warning("ping failed", about="end", problem=str(error))
