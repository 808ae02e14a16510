"""Metrics exporters that do not work, as findings of the watchdog about itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from monitoring.checks.findings import place_finding
from monitoring.config.policy import Policies
from monitoring.model.finding import Finding, Subject
from monitoring.model.observation import Observation
from monitoring.model.outbox import Trouble
from monitoring.text.durations import spoken

#: What may pass by itself has so long to do so; until then it is shown, and no incident.
GRACE = timedelta(minutes=30)


def exporter_findings(
    troubles: Mapping[str, Trouble], observation: Observation, policies: Policies
) -> Iterator[Finding]:
    """Find the exporters that did not accept the metrics of the check before.

    Args:
        troubles: The problems, by the setting that names the exporter.
        observation: What was seen.
        policies: Say whether the watchdog watches itself, and which exporters are configured.
    """
    config, now = policies.config, observation.at
    for name, trouble in troubles.items() if config.watchdog.enabled else ():
        if name not in config.metrics.exporters:
            continue
        lasting = now - trouble.since
        yield place_finding(
            observation,
            "watchdog",
            Subject(kind="metrics-outlet", id=name, name=name),
            severity="warning" if lasting >= GRACE else "info",
            summary=f"{name}: the numbers of the last checks did not get there, for {spoken(lasting)}",
            observed=trouble.problem,
            expected="the numbers of every check taken; each check tries again with its own",
            since=trouble.since,
            url=observation.server.state.ui_url,
        )
