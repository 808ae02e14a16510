"""The use case of the digest. The order of the steps stands here, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

from monitoring.config.policy import Policies
from monitoring.errors import DeliveryError
from monitoring.logs import get_logger
from monitoring.model.coverage import Coverage, Query
from monitoring.model.report import DigestReport
from monitoring.model.saved_state import SavedState
from monitoring.usecases.assess import assess
from monitoring.usecases.ports import Artifacts, Channel, Lock, Reader, State

_log = get_logger(__name__)


def digest(
    reader: Reader,
    saved: SavedState,
    known: Coverage,
    policies: Policies,
    now: datetime,
    zone: ZoneInfo,
) -> DigestReport:
    """Put the digest together: how the server stands now, and how yesterday went. Saves and changes nothing.

    Args:
        reader: Reads the server.
        saved: What is remembered.
        known: How far that could be read.
        policies: The effective policy of each deployment.
        now: The moment of the digest.
        zone: The time zone in which days begin and end.
    """
    seen = assess(reader, saved.ledger, policies, now, known, saved.incidents.open, saved.outbox)
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
