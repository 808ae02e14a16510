"""The use case of the digest: the order of its steps, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

from monitoring.checks.facts.cases import subject_of
from monitoring.checks.findings import page
from monitoring.checks.registry import BY_NAME
from monitoring.config.alert_settings import DIGEST_ROUTE
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.errors import DeliveryError, StateError, WatchdogError
from monitoring.logs import get_logger
from monitoring.messages.delivery_message import bounded
from monitoring.messages.headline import digest_headline
from monitoring.messages.report_messages import digest_message
from monitoring.model.coverage import Coverage, Query
from monitoring.model.incident import Incident
from monitoring.model.observation import Observation
from monitoring.model.outbox import DigestContent, Outbox
from monitoring.model.prefect import FlowRun
from monitoring.model.report import Basis, DigestReport, FailedRuns, HealthReport
from monitoring.model.saved_state import SavedState
from monitoring.notifications.outbox import digest_id, queue_digest
from monitoring.notifications.ports import Notifier
from monitoring.notifications.routing import has_receiver
from monitoring.notifications.sender import Sender
from monitoring.usecases.assess import Assessment, assess, known_report
from monitoring.usecases.ports import Artifacts, Lock, Reader, State
from monitoring.usecases.saver import Saver

_log = get_logger(__name__)


@dataclass(frozen=True)
class DigestPorts:
    """The ports of a digest."""

    reader: Reader
    state: State
    lock: Lock
    #: Returns the notifier of a route by its name; raises ``DeliveryError`` if it cannot be used.
    notifier: Callable[[str], Notifier]
    artifacts: Artifacts


def digest(ports: DigestPorts, policies: Policies, now: datetime) -> str:
    """Report the state of the server and how yesterday went: save the message, publish the artifact, send.

    If the message cannot be sent, the next checks send it, unless it is too old. Returns the outcome in one line.

    Raises:
        DeliveryError: The receiver rejects the digest.
        StateError: A check held the lock all the time, or took over the lock.
        ServerProblem: The server cannot be used.
    """
    config = policies.config
    saved, known = ports.state.load()
    report = digest_report(ports.reader, saved, known, policies, now)
    content = DigestContent(target=config.target.name, day=report.day, message=bounded(digest_message(report)))
    # A check that runs longer than its lock lasts has lost the lock.
    with ports.lock.hold(2 * config.state.lock_expiry) as held:
        if not held:
            raise StateError("a check held the lock the whole time: run the digest again")
        before, _ = ports.state.load()
        saver = Saver(ports.state, before)
        saver.save_outbox(_queue(before.outbox, content, ports, config, now))
        unpublished: WatchdogError | None = None
        try:
            saver.save_artifacts(ports.artifacts.publish_digest(report, before.artifacts))
        except WatchdogError as error:
            # The message is sent all the same.
            _log.error("digest not published", problem=str(error))
            unpublished = error
        outbox = Sender(ports.notifier, saver.save_outbox, config, now).send(saver.saved.outbox)
    _raise_if_rejected(outbox, content)
    if unpublished:
        raise unpublished
    summary = digest_headline(report)
    _log.info("digest completed", says=summary)
    return summary


def _queue(outbox: Outbox, content: DigestContent, ports: DigestPorts, config: Config, now: datetime) -> Outbox:
    """Queue the digest, unless it has no receiver."""
    problem = _unusable(ports, config)
    if problem:
        _log.warning("digest not posted", problem=f"{problem}; the digest is only in the artifact watchdog-digest")
        return outbox
    return queue_digest(outbox, content, now)


def _unusable(ports: DigestPorts, config: Config) -> str:
    """Why the digest has no usable receiver; empty if it has."""
    if not has_receiver(DIGEST_ROUTE, config):
        return "no receiver is configured: set slack.channel or digest.receiver"
    try:
        ports.notifier(DIGEST_ROUTE)
    except DeliveryError as error:
        if error.permanent and config.alerts.fallback.kind is None:
            return str(error)
    return ""


def _raise_if_rejected(outbox: Outbox, content: DigestContent) -> None:
    for delivery in outbox.queue:
        if delivery.id == digest_id(content) and delivery.rejected:
            # Another message may have been sent on the route since.
            trouble = outbox.troubles.get(delivery.route)
            problem = trouble.problem if trouble else "the receiver has rejected the digest: see earlier log lines"
            raise DeliveryError(problem, permanent=True)


def digest_report(
    reader: Reader,
    saved: SavedState,
    known: Coverage,
    policies: Policies,
    now: datetime,
    basis: Basis | None = None,
) -> DigestReport:
    """Put the digest together: the state of the server now, and how yesterday went. Nothing is saved or changed.

    ``basis`` is that of a digest by hand.
    """
    zone = ZoneInfo(policies.config.digest.time_zone)
    seen = assess(reader, saved.ledger, policies, now, known, saved.incidents, saved.outbox)
    silences = (*saved.silences.known, *seen.observation.maintenance)
    report = known_report(seen, saved.incidents, silences).model_copy(update={"basis": basis})
    day = now.astimezone(zone).date()
    midnights = [_midnight(day - timedelta(days=back), zone) for back in (2, 1, 0)]
    if report.server.problem is None:
        periods = list(zip(midnights, [*midnights[1:], now], strict=True))
        (day_before, yesterday, today), query = reader.totals(periods, now, policies)
    else:
        day_before = yesterday = today = None
        query = Query(name="totals", outcome="failed", detail="not queried: the server cannot be used")
    queries = [query]
    recovered: tuple[FailedRuns, ...] = ()
    if any(period and period.failed + period.crashed for period in (yesterday, today)):
        failures, query = reader.failures(midnights[1], now, policies)
        queries.append(query)
        recovered = _recovered(failures, seen)
    recently = now - timedelta(days=1)
    return DigestReport(
        health=_shareable(report.with_queries(*queries), policies.config),
        time_zone=str(zone),
        day=day,
        day_before=day_before,
        yesterday=yesterday,
        today=today,
        recovered=recovered,
        resolved=tuple(i for i in saved.closed if i.resolved_at and i.resolved_at > recently and not _still(i, report)),
    )


def _still(incident: Incident, report: HealthReport) -> bool:
    """Whether an incident that was closed by hand is still found, and listed so."""
    mark = report.marks.get(incident.finding.fingerprint)
    return mark is not None and mark.closed is not None and mark.closed.number == incident.number


def _shareable(report: HealthReport, config: Config) -> HealthReport:
    """The report without tracebacks and log lines, where messages may not show them."""
    if config.alerts.traceback:
        return report
    findings = (
        found.model_copy(update={"evidence": ()}) if BY_NAME[found.check].role == "failure" else found
        for found in report.findings
    )
    return report.model_copy(update={"findings": tuple(findings)})


def _recovered(failures: Iterable[FlowRun], seen: Assessment) -> tuple[FailedRuns, ...]:
    """The failed and crashed runs of each deployment that no finding of such runs names; newest end first is given."""
    named = {found.subject.key for found in seen.findings if BY_NAME[found.check].role == "failure"}
    grouped: dict[str, list[FlowRun]] = {}
    for run in failures:
        if run.key not in named:
            known = seen.observation.deployments.get(run.key)
            grouped.setdefault(known.key if known else "", []).append(run)
    found = (_failed_runs(seen.observation, key, runs) for key, runs in grouped.items())
    return tuple(sorted(found, key=lambda row: (-row.failed - row.crashed, row.name)))


def _failed_runs(observation: Observation, key: str, runs: Sequence[FlowRun]) -> FailedRuns:
    deployment, ui_url = observation.deployments.get(key), observation.server.state.ui_url
    return FailedRuns(
        name=deployment.name if deployment else "",
        url=page(ui_url, subject_of(deployment)) if deployment else None,
        failed=sum(run.state_type == "FAILED" for run in runs),
        crashed=sum(run.state_type == "CRASHED" for run in runs),
        last=runs[0].ended_at,
    )


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(0), tzinfo=zone).astimezone(timezone.utc)
