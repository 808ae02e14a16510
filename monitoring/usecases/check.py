"""The use case of the check: the order of its steps, and nothing else.

Everything between reading and writing is a pure function of values; the clock is read by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from monitoring.config.policy import Policies
from monitoring.errors import DeliveryError, ServerProblem
from monitoring.incidents.lifecycle import advance
from monitoring.incidents.requests import apply_requests
from monitoring.logs import get_logger
from monitoring.messages.headline import headline
from monitoring.metrics.measure import Effort, Measurable
from monitoring.model.coverage import Coverage
from monitoring.model.incident import Transition
from monitoring.model.observation import Observation
from monitoring.model.prefect import SKIPPED, SUPERSEDED
from monitoring.model.report import HealthReport
from monitoring.model.saved_state import SavedState
from monitoring.notifications.event_publisher import emit
from monitoring.notifications.events import check_completed, with_events
from monitoring.notifications.planning import plan_notifications
from monitoring.notifications.ports import Events, Notifier
from monitoring.notifications.sender import Sender
from monitoring.notifications.situation import Situation
from monitoring.usecases.assess import assess, known_report, unreachable_report
from monitoring.usecases.measure import Measuring, publish, take
from monitoring.usecases.ports import Artifacts, Housekeeping, Lock, Ping, Reader, State
from monitoring.usecases.saver import Saver

_log = get_logger(__name__)


@dataclass(frozen=True)
class Ports:
    """The ports of a check."""

    reader: Reader
    state: State
    lock: Lock
    #: Returns the notifier of a route by its name; raises ``DeliveryError`` if it cannot be used.
    notifier: Callable[[str], Notifier]
    events: Events
    artifacts: Artifacts
    housekeeping: Housekeeping
    #: The dead-man's switch, if there is one.
    ping: Ping | None
    #: The effort of the check up to the call.
    effort: Callable[[], Effort]
    #: Whether another check reads all that this one would; queries the server.
    superseded: Callable[[], bool]
    #: None if metrics are disabled.
    measuring: Measuring | None = None


def check(ports: Ports, policies: Policies, now: datetime, run_id: str) -> str:
    """Check the server: apply action requests, assess, move the incidents, save, notify, publish, tidy up, ping.

    Everything is saved before it is sent: a crash may repeat a message, but never loses one. ``run_id`` is the check's
    own flow run. It waits for another check, or the digest, for as long as a check may read. Returns the outcome in one
    line.

    Raises:
        ServerProblem: The state cannot be read or written; the dead-man's switch was pinged.
        LockLost: Another check took over; nothing more was written.
    """
    try:
        with ports.lock.hold(policies.config.server.deadline) as held:
            if not held or ports.superseded():
                reason = SUPERSEDED if held else SKIPPED
                _log.info("check skipped", says=reason)
                return reason
            _start(ports.ping)
            report = _checked(ports, policies, now, run_id)
    except ServerProblem as problem:
        _finish(ports.ping, unreachable_report(policies.config.target.name, now, str(problem)))
        raise
    _finish(ports.ping, report)
    return _completed(report, ports.effort())


def _completed(report: HealthReport, effort: Effort) -> str:
    """Log the outcome of a check, and return it in one line."""
    summary = headline(report)
    _log.info(
        "check completed",
        says=summary,
        status=report.status,
        complete=report.coverage.complete,
        findings=len(report.findings),
        incidents=len(report.incidents),
        requests=effort.requests,
        seconds=round(effort.took.total_seconds(), 1),
    )
    return summary


def _checked(ports: Ports, policies: Policies, now: datetime, run_id: str) -> HealthReport:
    config, state = policies.config, ports.state
    before, known = state.load()
    # The run of the first check is unique, and known without chance.
    incidents = before.incidents.identified(run_id.partition("-")[0])
    applied = apply_requests(before.requests, incidents, before.silences, now)
    _log.debug("state loaded", incidents=len(before.incidents.open), requests=len(before.requests))
    seen = assess(ports.reader, before.ledger, policies, now, known, applied.incidents, before.outbox)
    complete = seen.report.coverage.complete
    observed, ledger = seen.observation, seen.ledger
    if complete:
        ledger = ledger.model_copy(update={"complete_at": now})
    moved = advance(applied.incidents, before.closed, seen.findings, observed, ledger, policies, complete)
    _log_seen(seen.report, moved.transitions)
    again = {incident.number for incident in moved.open.values()}
    closed = tuple(i for i in (*moved.closed, *applied.closed, *before.closed) if i.number not in again)
    silences = (*applied.silences.known, *observed.maintenance)
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
        silences=applied.silences,
        outbox=plan_notifications(outbox, situation),
        closed=closed,
        artifacts=before.artifacts,
    )
    saver = Saver(state, before)
    saver.save(after)
    for reason in applied.rejected:
        _log.warning("request not done", says=reason)
    report = known_report(seen, moved.incidents, silences)
    outbox = Sender(ports.notifier, saver.save_outbox, config, now).send(saver.saved.outbox)
    # People come first: a server that is slow to accept events must not delay messages.
    emit(outbox, ports.events, saver.save_outbox, now)
    # Registered before anything else can fail: an unregistered artifact is never deleted.
    saver.save_artifacts(ports.artifacts.publish_health(report, saver.saved.artifacts))
    saver.save_artifacts(ports.housekeeping.tidy(now, saver.saved.artifacts))
    _log.debug("report published", artifacts=len(saver.saved.artifacts))
    if ports.measuring:
        _measured(saver, ports.effort(), ports.measuring, observed, report.coverage, policies)
    _emit_completion(ports.events, report, run_id)
    return report


def _log_seen(report: HealthReport, transitions: Iterable[Transition]) -> None:
    """Log what was observed, and the transition of each incident."""
    _log.debug(
        "server observed",
        deployments=report.deployments,
        active_runs=report.active_runs,
        ended_runs=report.ended_runs,
        findings=len(report.findings),
    )
    for query in report.coverage.missing:
        _log.warning("answer incomplete", query=query.name, outcome=query.outcome, problem=query.detail)
    for transition in transitions:
        incident, step = transition.incident, transition.step
        finding = incident.finding
        # A pending incident is not notified, and has no number yet.
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


def _measured(
    saver: Saver,
    effort: Effort,
    measuring: Measuring,
    observation: Observation,
    coverage: Coverage,
    policies: Policies,
) -> None:
    saved = saver.saved
    known = Measurable(
        observation=observation,
        ledger=saved.ledger,
        incidents=saved.incidents,
        outbox=saved.outbox,
        coverage=coverage,
    )
    failing = publish(take(known, effort, policies), measuring, saved.outbox.outlets, observation.at)
    saver.save_outbox(saved.outbox.model_copy(update={"outlets": failing}))


def _emit_completion(events: Events, report: HealthReport, run_id: str) -> None:
    """Emit the event that shows that the watchdog works. If that fails, its absence alerts people, as it should."""
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


def _finish(ping: Ping | None, report: HealthReport) -> None:
    """Ping the dead-man's switch. An error is only logged: without pings the switch alerts by itself."""
    if ping is None:
        return
    try:
        ping.ping(report)
    except DeliveryError as error:
        _log.warning("ping failed", about="end", problem=str(error))
