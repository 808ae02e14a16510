"""Failing routes and metrics exporters, as findings of the watchdog about itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from monitoring.checks.findings import Found, finding_of
from monitoring.config.settings import Config
from monitoring.model.finding import Finding, Severity, Subject, SubjectKind
from monitoring.model.observation import Observation
from monitoring.model.outbox import Outbox, Trouble
from monitoring.notifications.routing import has_receiver
from monitoring.text.durations import humanized

#: A temporary error becomes an incident after this time.
GRACE = timedelta(minutes=30)


def trouble_findings(outbox: Outbox, observation: Observation, config: Config) -> Iterator[Finding]:
    """Find the routes that do not deliver messages, and the exporters that did not accept the metrics."""
    if not config.watchdog.enabled:
        return
    for route, trouble in routes_in_trouble(outbox, config).items():
        if trouble.permanent or _lasts(trouble, observation):
            yield _finding(
                observation,
                "route",
                route,
                trouble,
                severity="critical" if trouble.permanent else "warning",
                summary="alerts on this route have not been delivered",
                expected="every alert delivered; undelivered alerts are kept and retried",
            )
    for exporter, trouble in outbox.outlets.items():
        if exporter in config.metrics.exporters:
            yield _finding(
                observation,
                "metrics-outlet",
                exporter,
                trouble,
                severity="warning" if _lasts(trouble, observation) else "info",
                summary="the exporter has accepted no metrics",
                expected="the metrics of every check accepted; each check tries again",
            )


def routes_in_trouble(outbox: Outbox, config: Config) -> dict[str, Trouble]:
    """The failing routes, by name: those that have a receiver, or whose messages wait although it was removed."""
    waiting = {
        delivery.route
        for delivery in outbox.queue
        if delivery.kind != "event" and (config.alerts.enabled or delivery.digest is not None)
    }
    return {
        route: trouble for route, trouble in outbox.troubles.items() if route in waiting or has_receiver(route, config)
    }


def _lasts(trouble: Trouble, observation: Observation) -> bool:
    return observation.at - trouble.since >= GRACE


def _finding(
    observation: Observation,
    kind: SubjectKind,
    name: str,
    trouble: Trouble,
    *,
    severity: Severity,
    summary: str,
    expected: str,
) -> Finding:
    found = Found(
        severity=severity,
        summary=f"{name}: {summary} for {humanized(observation.at - trouble.since)}: {trouble.problem}",
        observed=trouble.problem,
        expected=expected,
        since=trouble.since,
    )
    return finding_of(observation, "watchdog", Subject(kind=kind, id=name, name=name), found)
