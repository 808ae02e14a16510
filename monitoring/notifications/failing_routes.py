"""Failing routes, as findings of the watchdog about itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from monitoring.checks.findings import place_finding
from monitoring.config.policy import Policies
from monitoring.model.finding import Finding, Subject
from monitoring.model.observation import Observation
from monitoring.model.outbox import Trouble
from monitoring.text.durations import humanized

#: A temporary error becomes a finding after this time.
GRACE = timedelta(minutes=30)


def route_findings(troubles: Mapping[str, Trouble], observation: Observation, policies: Policies) -> Iterator[Finding]:
    """Find the routes on which messages cannot be delivered.

    Args:
        troubles: The errors, by route.
        observation: What the check saw.
        policies: The routes, and whether the watchdog watches itself.
    """
    config, now = policies.config, observation.at
    for route, trouble in troubles.items():
        lasting = now - trouble.since
        receiver = config.receiver(route)
        if not config.watchdog.enabled or receiver is None or receiver.kind is None:
            continue
        if not trouble.permanent and lasting < GRACE:
            continue
        yield place_finding(
            observation,
            "watchdog",
            Subject(kind="route", id=route, name=route),
            severity="critical" if trouble.permanent else "warning",
            summary=f"{route}: alerts on this route have not been delivered for {humanized(lasting)}",
            observed=trouble.problem,
            expected="every alert delivered; undelivered alerts are kept and retried",
            since=trouble.since,
            url=observation.server.state.ui_url,
        )
