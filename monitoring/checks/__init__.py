"""The checks: each one module with one function, ``(observation, ledger, policies) -> findings``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from monitoring.checks import (
    ahead,
    concurrency,
    ended_badly,
    late,
    paused,
    server,
    slow,
    stale,
    stuck,
    unscheduled,
    watchdog,
    work_places,
    zombie,
)
from monitoring.checks.findings import policy_of
from monitoring.config.policy import Policies
from monitoring.model.finding import Finding
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.prefect import Deployment

Check = Callable[[Observation, Ledger, Policies], Iterable[Finding]]

#: All checks, in the order in which they run.
CHECKS: tuple[Check, ...] = (
    server.check,
    watchdog.check,
    work_places.check_pools,
    work_places.check_queues,
    concurrency.check,
    ended_badly.check_failed,
    ended_badly.check_crashed,
    zombie.check,
    stuck.check,
    late.check,
    slow.check,
    stale.check,
    unscheduled.check,
    ahead.check,
    paused.check,
)


def run_checks(
    observation: Observation, ledger: Ledger, policies: Policies, checks: Iterable[Check] = CHECKS
) -> tuple[Finding, ...]:
    """Run the checks. What the owners of a deployment have set of severity and owner is put into its findings.

    Args:
        observation: What was seen.
        ledger: What is remembered, with the observation folded in.
        policies: The effective policy of each deployment.
        checks: Which ones; all of them where nothing else is said.
    """
    found = (finding for check in checks for finding in check(observation, ledger, policies))
    return tuple(_as_owned(found, observation, policies))


def _as_owned(findings: Iterable[Finding], observation: Observation, policies: Policies) -> Iterator[Finding]:
    for finding in findings:
        deployment = _deployment(finding, observation)
        if deployment is None:
            yield finding
            continue
        policy = policy_of(deployment, policies)
        severity = policy.severity if policy.severity and finding.severity != "info" else finding.severity
        if policy.watch:
            yield finding.model_copy(update={"owner": policy.owner, "severity": severity})


def _deployment(finding: Finding, observation: Observation) -> Deployment | None:
    subject = finding.subject
    return observation.deployments.get(subject.key) if subject.kind in ("deployment", "flow") else None
