"""The use cases: check and digest. The order of the steps stands here, and nothing else.

Everything between reading and writing is a pure function of values; the clock is read by the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

from monitoring.checks import run_checks
from monitoring.correlate import correlate
from monitoring.errors import DeliveryError, ServerProblem
from monitoring.incidents import advance, still_known
from monitoring.ledger import fold
from monitoring.model import Coverage, Finding, Incident, Ledger, Observation, Query, Value
from monitoring.policy import Policies
from monitoring.ports import Artifacts, Channel, Housekeeping, Lock, Ping, Reader, SavedState, State
from monitoring.report import DigestReport, HealthReport, health_report, unreachable_report

_log = logging.getLogger(__name__)

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
    """
    observation = reader.observe(now, ledger, policies)
    folded = fold(ledger, observation, overlap)
    findings = still_known(
        correlate(run_checks(observation, folded, policies, now), observation, folded), incidents or {}
    )
    report = health_report(observation, findings, known)
    return Assessment(observation=observation, ledger=folded, findings=findings, report=report)


def check(
    reader: Reader,
    state: State,
    lock: Lock,
    artifacts: Artifacts,
    housekeeping: Housekeeping,
    ping: Ping | None,
    policies: Policies,
    now: datetime,
    overlap: timedelta,
) -> HealthReport | None:
    """Check the server: assess it, move the incidents, save, publish, tidy up, ping.

    What was found is saved before it is published: a crash may repeat a publication and loses nothing.

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
            report = _checked(reader, state, artifacts, housekeeping, policies, now, overlap)
    except ServerProblem as problem:
        _tell(ping, unreachable_report(policies.config.target.name, now, str(problem)))
        raise
    _tell(ping, report)
    return report


def _checked(
    reader: Reader,
    state: State,
    artifacts: Artifacts,
    housekeeping: Housekeeping,
    policies: Policies,
    now: datetime,
    overlap: timedelta,
) -> HealthReport:
    before, known = state.load()
    seen = assess(reader, before.ledger, policies, now, overlap, known, before.incidents)
    moved = advance(
        before.incidents, seen.findings, seen.observation, seen.ledger, policies, seen.report.coverage.complete
    )
    after = before.model_copy(
        update={"ledger": seen.ledger, "incidents": moved.open, "closed": (*moved.closed, *before.closed)}
    )
    state.save(before, after)
    # Registered before anything else can fail: an artifact that is not in the register is never deleted.
    published = after.model_copy(update={"artifacts": artifacts.publish_health(seen.report, after.artifacts)})
    state.save(after, published)
    tidied = published.model_copy(update={"artifacts": housekeeping.tidy(now, published.artifacts)})
    state.save(published, tidied)
    return seen.report


def _tell(ping: Ping | None, report: HealthReport) -> None:
    """Ping the dead-man's switch; that it cannot be reached is said, and fails nothing: it will notice by itself."""
    if ping is None:
        return
    try:
        ping.ping(report)
    except DeliveryError as error:
        _log.warning("The dead-man's switch was not told: %s", error)


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
    report = assess(reader, saved.ledger, policies, now, overlap, known, saved.incidents).report
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
            _log.warning("The digest was not posted, and is tried again in %g s: %s", wait, error)
            sleep(wait)
