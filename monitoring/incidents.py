"""Moves incidents: a finding over time, from firing to resolved, each move with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from monitoring.checks.ended_badly import expired
from monitoring.model import Finding, Incident, Ledger, Observation, ResolutionReason, Transition, Value
from monitoring.policy import Policies


class Moved(Value):
    """What an advance leads to."""

    #: Open incidents by fingerprint.
    open: Mapping[str, Incident]
    transitions: tuple[Transition, ...]

    @property
    def closed(self) -> tuple[Incident, ...]:
        """The incidents that were resolved by this move."""
        return tuple(move.incident for move in self.transitions if move.to == "resolved")


def advance(
    incidents: Mapping[str, Incident],
    findings: Iterable[Finding],
    observation: Observation,
    ledger: Ledger,
    policies: Policies,
    complete: bool,
) -> Moved:
    """Move incidents by what was found.

    Incomplete coverage may open an incident and never resolves one: what was not seen is unknown.
    Findings of severity info open none.

    Args:
        incidents: The open incidents by fingerprint.
        findings: What was found, correlated.
        observation: What was seen; its time is the time of every move.
        ledger: What is remembered, the observation folded in.
        policies: Tell a failure that is forgiven from one that is over.
        complete: Whether everything was seen.
    """
    now = observation.at
    found = {finding.fingerprint: finding for finding in findings if finding.severity != "info"}
    still: dict[str, Incident] = {}
    transitions: list[Transition] = []
    for fingerprint, incident in incidents.items():
        if fingerprint in found:
            still[fingerprint] = incident.model_copy(update={"finding": found[fingerprint], "last_seen": now})
        elif not complete:
            still[fingerprint] = incident
        else:
            reason = _why_resolved(incident.finding, observation, ledger, policies, now)
            over = incident.model_copy(update={"resolved_at": now, "resolution": reason})
            transitions.append(Transition(incident=over, to="resolved", at=now, reason=reason))
    for fingerprint, finding in found.items():
        if fingerprint not in incidents:
            opened = Incident(finding=finding, opened_at=now, last_seen=now)
            still[fingerprint] = opened
            transitions.append(Transition(incident=opened, to="firing", at=now, reason="found"))
    return Moved(open=still, transitions=tuple(transitions))


def _why_resolved(
    finding: Finding, observation: Observation, ledger: Ledger, policies: Policies, now: datetime
) -> ResolutionReason:
    if finding.subject.kind not in ("deployment", "flow"):
        return "cleared"
    key = finding.subject.id if finding.subject.kind == "deployment" else f"flow:{finding.subject.id}"
    deployment = observation.deployments.get(key)
    if deployment is None:
        return "deleted"
    policy = policies.of(deployment.name, deployment.tags, deployment.work_pool)
    if not getattr(policy, finding.check).enabled:
        return "disabled"
    if finding.check not in ("failed", "crashed", "stale"):
        return "cleared"
    if deployment.paused:
        return "paused"
    record = ledger.records.get(key)
    last = record.last_ended if record else None
    if last is None or last.state_type == "COMPLETED":
        return "succeeded" if last else "cleared"
    if finding.check != "stale" and last.state_type == finding.check.upper():
        own = policy.failed if finding.check == "failed" else policy.crashed
        return "expired" if expired(deployment, last, own, now) else "cleared"
    return "cleared"
