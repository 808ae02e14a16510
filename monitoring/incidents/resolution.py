"""Why an incident is resolved once its condition is no longer found."""

from __future__ import annotations

from monitoring.checks.facts.situation import Situation
from monitoring.checks.registry import BY_NAME
from monitoring.model.finding import Finding
from monitoring.model.incident import ResolutionReason


def why_resolved(finding: Finding, situation: Situation) -> ResolutionReason | None:
    """Why a finding is no longer there; None when nothing shows that its incident is resolved."""
    observation, policies = situation.observation, situation.policies
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
    policy = situation.policy(deployment)
    settings = policies.config if check.whole else policy
    if not policy.watch or not check.enabled(settings):
        return "disabled"
    return check.resolution(situation, deployment, finding, check.settings(settings))
