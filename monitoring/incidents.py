"""Moves incidents: a finding over time, from firing to resolved, each move with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from monitoring.model import Finding, Incident, Ledger, Observation, ResolutionReason, Transition, Value, flow_key
from monitoring.policy import Policies

#: An incident keeps this many run ids.
MOST_INCIDENT_IDS = 100


class Moved(Value):
    """What an advance leads to."""

    #: Open incidents by fingerprint.
    open: Mapping[str, Incident]
    transitions: tuple[Transition, ...]

    @property
    def closed(self) -> tuple[Incident, ...]:
        """The incidents that were resolved by this move."""
        return tuple(move.incident for move in self.transitions if move.to == "resolved")


def still_known(findings: Iterable[Finding], incidents: Mapping[str, Incident]) -> tuple[Finding, ...]:
    """Give findings what their open incidents know of them and this check cannot.

    What could not be judged keeps the severity that it had while it could be: a zombie's last heartbeat is forgotten by
    the server after a week, and a success by retention. What only shows now, such as a slow server, began when it was
    first seen.

    Args:
        findings: What was found, correlated.
        incidents: The open incidents by fingerprint.
    """
    return tuple(_still(finding, incidents.get(finding.fingerprint)) for finding in findings)


def _still(finding: Finding, known: Incident | None) -> Finding:
    if known is None:
        return finding
    if finding.unknown:
        return finding.model_copy(update={"severity": known.finding.severity, "since": known.finding.since})
    if finding.check in ("server", "watchdog"):
        return finding.model_copy(update={"since": min(finding.since, known.finding.since)})
    return finding


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
    found = {finding.fingerprint: _kept(finding) for finding in findings if finding.severity != "info"}
    still: dict[str, Incident] = {}
    transitions: list[Transition] = []
    for fingerprint, incident in incidents.items():
        if fingerprint in found:
            still[fingerprint] = _updated(incident, found[fingerprint])
            continue
        reason = _why_resolved(incident.finding, observation, ledger, policies, now) if complete else None
        if reason is None:
            still[fingerprint] = incident
        else:
            over = incident.model_copy(update={"resolved_at": now, "resolution": reason})
            transitions.append(Transition(incident=over, to="resolved", at=now, reason=reason))
    for fingerprint, finding in found.items():
        if fingerprint not in incidents:
            opened = Incident(finding=finding, opened_at=now)
            still[fingerprint] = opened
            transitions.append(Transition(incident=opened, to="firing", at=now, reason="found"))
    return Moved(open=still, transitions=tuple(transitions))


def _kept(finding: Finding) -> Finding:
    """What is saved of a finding: a thousand ids in each of hundreds of incidents would be megabytes."""
    return finding.model_copy(update={"flow_run_ids": finding.flow_run_ids[:MOST_INCIDENT_IDS]})


def _updated(incident: Incident, finding: Finding) -> Incident:
    """The incident as it stands now; the same while nothing but the clock has moved, so that nothing is saved."""
    words = {"summary", "observed", "expected", "evidence"}
    if finding.model_dump(exclude=words) == incident.finding.model_dump(exclude=words):
        return incident
    return incident.model_copy(update={"finding": finding})


def _why_resolved(
    finding: Finding, observation: Observation, ledger: Ledger, policies: Policies, now: datetime
) -> ResolutionReason | None:
    """Why a finding is no longer there; None when nothing shows that it is over."""
    if finding.check == "watchdog" and not policies.config.watchdog.enabled:
        # Then its own deployments are not looked at, and not seen.
        return "disabled"
    if finding.subject.kind not in ("deployment", "flow"):
        return "cleared"
    key = finding.subject.id if finding.subject.kind == "deployment" else flow_key(finding.subject.id)
    if any(own.id == key for own in observation.own.deployments):
        return "cleared"
    deployment = observation.deployments.get(key)
    if deployment is None:
        return "deleted"
    policy = policies.of(deployment.name, deployment.tags, deployment.work_pool)
    section = getattr(policy, finding.check.replace("-", "_"), None)
    if not policy.watch or (section and not section.enabled):
        return "disabled"
    if finding.check not in ("failed", "crashed", "stale"):
        return "cleared"
    if deployment.paused:
        return "paused"
    record = ledger.records.get(key)
    last = record.last_ended if record else None
    if last and last.state_type == "COMPLETED":
        return "succeeded"
    if finding.check == "stale":
        return "cleared"
    own = policy.failed if finding.check == "failed" else policy.crashed
    since = last.ended if last else finding.since
    if not deployment.scheduled and now - since >= own.expire_after:
        return "expired"
    # Without a record the memory was lost, and with it the failure: it is not over for that.
    return "cleared" if record else None
