"""The use cases: check and digest. The order of the steps stands here, and nothing else.

Everything between reading and writing is a pure function of values; the clock is read by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

from monitoring.alerting.announce import Situation, announce
from monitoring.alerting.events import check_completed, with_events
from monitoring.alerting.requests import done
from monitoring.alerting.routes import route_findings
from monitoring.alerting.values import Outbox
from monitoring.checks import run_checks
from monitoring.config import Config
from monitoring.correlate import correlate
from monitoring.delivering import Delivering
from monitoring.emitting import emit
from monitoring.errors import DeliveryError, ServerProblem
from monitoring.incidents import advance, still_known
from monitoring.ledger import fold
from monitoring.logs import get_logger
from monitoring.measuring import Measuring, hand_over, take
from monitoring.metrics.measure import Measurable
from monitoring.metrics.outlets import outlet_findings
from monitoring.model import Coverage, Finding, Incident, Ledger, Observation, Query, Transition, Value
from monitoring.policy import Policies
from monitoring.ports import (
    Artifacts,
    Channel,
    Events,
    Housekeeping,
    Lock,
    Messenger,
    Ping,
    Reader,
    SavedState,
    State,
)
from monitoring.report import DigestReport, HealthReport, health_report, unreachable_report

_log = get_logger(__name__)

#: A check waits so long for the lock: the digest has it for a moment, every day at the minute of a check.
CHECK_PATIENCE = timedelta(seconds=10)


class Assessment(Value):
    """What one look at the server led to."""

    observation: Observation
    ledger: Ledger
    findings: tuple[Finding, ...]
    report: HealthReport


def assess(
    reader: Reader,
    ledger: Ledger,
    policies: Policies,
    now: datetime,
    overlap: timedelta,
    known: Coverage,
    incidents: Mapping[str, Incident] | None = None,
    outbox: Outbox | None = None,
) -> Assessment:
    """Look at the server once and judge: collect, fold, check, correlate, report. Saves and changes nothing.

    Args:
        reader: Reads the server.
        ledger: What is remembered; empty for a check by hand.
        policies: The effective policy of each deployment.
        now: The moment of the check.
        overlap: How much of the window of ended runs the next check reads again.
        known: Coverage of what was asked before, such as the saved state.
        incidents: The open incidents by fingerprint.
        outbox: Knows by which routes alerts, and by which ways out metrics, cannot be delivered.
    """
    observation = reader.observe(now, ledger, policies)
    folded = fold(ledger, observation, overlap)
    found = [*run_checks(observation, folded, policies, now)]
    if outbox:
        found += route_findings(outbox.troubles, observation, policies)
        found += outlet_findings(outbox.outlets, observation, policies)
    findings = still_known(correlate(found, observation, folded), incidents or {}, observation, policies)
    report = health_report(observation, findings, known)
    return Assessment(observation=observation, ledger=folded, findings=findings, report=report)


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
        ui_url=observed.server.ui_url,
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


def digest(
    reader: Reader,
    saved: SavedState,
    known: Coverage,
    policies: Policies,
    now: datetime,
    overlap: timedelta,
    zone: ZoneInfo,
) -> DigestReport:
    """Put the digest together: how the server stands now, and how yesterday went. Saves and changes nothing.

    Args:
        reader: Reads the server.
        saved: What is remembered.
        known: How far that could be read.
        policies: The effective policy of each deployment.
        now: The moment of the digest.
        overlap: As for ``assess``.
        zone: The time zone in which days begin and end.
    """
    seen = assess(reader, saved.ledger, policies, now, overlap, known, saved.incidents.open, saved.outbox)
    silences = (*saved.silences.known, *seen.observation.maintenance)
    report = seen.report.with_known(saved.incidents.open.values(), silences)
    day = now.astimezone(zone).date()
    midnights = [_midnight(day - timedelta(days=back), zone) for back in (2, 1, 0)]
    if report.server.problem is None:
        periods = list(zip(midnights, [*midnights[1:], now], strict=True))
        (day_before, yesterday, today), asked = reader.totals(periods, now, policies)
    else:
        day_before = yesterday = today = None
        asked = Query(name="totals", outcome="failed", detail="not asked: the server cannot be used")
    recently = now - timedelta(days=1)
    return DigestReport(
        health=report.with_queries(asked),
        time_zone=str(zone),
        day=day,
        day_before=day_before,
        yesterday=yesterday,
        today=today,
        resolved=tuple(i for i in saved.closed if i.resolved_at and i.resolved_at > recently),
    )


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(0), tzinfo=zone).astimezone(timezone.utc)


def publish_digest(report: DigestReport, state: State, lock: Lock, artifacts: Artifacts, patience: timedelta) -> bool:
    """Publish the digest as an artifact, under the lock: the register of artifacts has one writer at a time.

    Args:
        report: The digest.
        state: Holds the register.
        lock: The lock that checks take as well.
        artifacts: Publishes.
        patience: How long to wait for a check that holds the lock.

    Returns:
        Whether it was published; False when the lock could not be had.
    """
    with lock.hold(patience) as held:
        if held:
            before, _ = state.load()
            published = artifacts.publish_digest(report, before.artifacts)
            state.save(before, before.model_copy(update={"artifacts": published}))
        return held


def deliver(channel: Channel, report: DigestReport, waits: Iterable[float], sleep: Callable[[float], None]) -> None:
    """Post the digest; what is sure to be unsaid and may work later is tried again.

    Args:
        channel: Tells people.
        report: The digest.
        waits: Seconds before each further try.
        sleep: Waits that long.

    Raises:
        DeliveryError: It could not be said, or may have been said: once too often would be wrong as well.
    """
    for wait in (*waits, None):
        try:
            channel.post_digest(report)
            return
        except DeliveryError as error:
            if error.permanent or error.doubtful or wait is None:
                raise
            _log.warning("digest post failed", problem=str(error), retry_seconds=wait)
            sleep(wait)
