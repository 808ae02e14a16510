"""Why an incident is resolved once its condition is no longer found."""

from __future__ import annotations

from monitoring.checks.facts.situation import Situation
from monitoring.checks.registry import BY_NAME
from monitoring.model.finding import Finding
from monitoring.model.incident import ResolutionReason
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.policy import Policies, policy_key


def why_resolved(
    finding: Finding, observation: Observation, ledger: Ledger, policies: Policies
) -> ResolutionReason | None:
    """Why a finding is no longer there; None when nothing shows that its incident is resolved.

    Args:
        finding: What was found before.
        observation: What was observed now.
        ledger: The ledger, with the observation folded in.
        policies: Show whether the subject is still watched, by this check.
    """
    check = BY_NAME.get(finding.check)
    if check is None or (check.whole and not check.enabled(policies.config)):
        # Of the watchdog's own deployments, nothing is read then.
        return "disabled"
    if finding.subject.kind not in ("deployment", "flow"):
        return "cleared"
    key = finding.subject.key
    if any(own.id == key for own in observation.own.deployments):
        return "cleared"
    deployment = observation.deployments.get(key)
    if deployment is None:
        return "deleted"
    policy = policies.of(*policy_key(deployment))
    settings = policies.config if check.whole else policy
    if not policy.watch or not check.enabled(settings):
        return "disabled"
    return check.resolution(Situation(observation, ledger, policies), deployment, finding, check.settings(settings))
