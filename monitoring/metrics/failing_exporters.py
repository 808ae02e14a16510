"""Failing metrics exporters, as findings of the watchdog about itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from monitoring.checks.findings import place_finding
from monitoring.config.policy import Policies
from monitoring.model.finding import Finding, Subject
from monitoring.model.observation import Observation
from monitoring.model.outbox import Trouble
from monitoring.text.durations import humanized

#: How long a temporary problem is only shown before it is an incident.
GRACE = timedelta(minutes=30)


def exporter_findings(
    troubles: Mapping[str, Trouble], observation: Observation, policies: Policies
) -> Iterator[Finding]:
    """Find the exporters that did not accept the metrics of the check before.

    Args:
        troubles: The problems, by the setting that names the exporter.
        observation: What was observed.
        policies: Whether the watchdog watches itself, and the configured exporters.
    """
    config, now = policies.config, observation.at
    for name, trouble in troubles.items() if config.watchdog.enabled else ():
        if name not in config.metrics.exporters:
            continue
        age = now - trouble.since
        yield place_finding(
            observation,
            "watchdog",
            Subject(kind="metrics-outlet", id=name, name=name),
            severity="warning" if age >= GRACE else "info",
            summary=f"{name}: the exporter has accepted no metrics for {humanized(age)}",
            observed=trouble.problem,
            expected="the metrics of every check accepted; each check tries again",
            since=trouble.since,
            url=observation.server.state.ui_url,
        )
