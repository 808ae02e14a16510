"""The lifecycle of incidents: from pending to firing to resolved, each step with its reason.

Every hold and window is a duration and judged at each check; the number of checks does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from monitoring.checks.registry import BY_NAME
from monitoring.config.policy import Policies
from monitoring.config.settings import Policy
from monitoring.incidents.resolution import why_resolved
from monitoring.model.base import Value
from monitoring.model.finding import Finding, rank
from monitoring.model.incident import (
    Closed,
    Incident,
    Incidents,
    Step,
    StepReason,
    StepTo,
    Transition,
)
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.policy import policy_key

#: An incident keeps this many run ids.
MAX_INCIDENT_IDS = 100


class Moved(Value):
    """The incidents after a check, and their transitions."""

    incidents: Incidents
    transitions: tuple[Transition, ...]

    @property
    def open(self) -> Mapping[str, Incident]:
        """Open incidents by fingerprint."""
        return self.incidents.open

    @property
    def closed(self) -> tuple[Incident, ...]:
        """The incidents that were resolved; an incident that was only pending leaves nothing behind."""
        return tuple(move.incident for move in self.transitions if move.step.to == "resolved" and move.incident.number)


def still_known(
    findings: Iterable[Finding],
    incidents: Mapping[str, Incident],
    observation: Observation,
    policies: Policies,
) -> tuple[Finding, ...]:
    """Complete findings with what their open incidents know and this check cannot.

    A finding that could not be judged keeps the severity that it had while it could: the server deletes a zombie's last
    heartbeat after a week, and retention deletes successes. A condition without a start of its own, such as a slow
    server, began when it was first found. A warning that has fired for longer than its policy allows is critical.

    Args:
        findings: The correlated findings.
        incidents: The open incidents by fingerprint.
        observation: The observation of this check.
        policies: Tell after how long a warning becomes critical.
    """
    return tuple(_still(finding, incidents.get(finding.fingerprint), observation, policies) for finding in findings)


def _still(finding: Finding, known: Incident | None, observation: Observation, policies: Policies) -> Finding:
    if known is None:
        return finding
    if finding.unknown:
        return finding.model_copy(update={"severity": known.finding.severity, "since": known.finding.since})
    if BY_NAME[finding.check].shows_only_now:
        finding = finding.model_copy(update={"since": min(finding.since, known.finding.since)})
    escalate_after = policy_for(finding, observation, policies).escalate_after
    too_long = (
        escalate_after is not None and known.fired_at is not None and observation.at - known.fired_at >= escalate_after
    )
    return (
        finding.model_copy(update={"severity": "critical"}) if too_long and finding.severity == "warning" else finding
    )


def policy_for(finding: Finding, observation: Observation, policies: Policies) -> Policy:
    """The policy for the subject of a finding."""
    if finding.subject.kind in ("deployment", "flow"):
        deployment = observation.deployments.get(finding.subject.key)
        if deployment is not None:
            return policies.of(*policy_key(deployment))
        return policies.of(finding.subject.name)
    pool = _pool(finding)
    return policies.of_pool(pool) if pool else policies.config


def advance(
    incidents: Incidents,
    closed: Iterable[Incident],
    findings: Iterable[Finding],
    observation: Observation,
    ledger: Ledger,
    policies: Policies,
    complete: bool,
) -> Moved:
    """Advance incidents by the findings of a check.

    Incomplete coverage may open an incident and never resolves one: what was not read is unknown. Findings of severity
    info open no incident. If a finding returns soon after its incident was resolved, the old incident continues, and is
    then resolved only after it has stayed away for that long: a flapping condition notifies once and not all day.

    Args:
        incidents: The open incidents.
        closed: The incidents that were resolved recently.
        findings: The correlated findings.
        observation: The observation of this check; its time is the time of every step.
        ledger: The ledger with the observation folded in.
        policies: Distinguish an expired failure from a resolved one, and hold the durations.
        complete: Whether the coverage is complete.
    """
    move = _Move(incidents, closed, observation, ledger, policies, complete)
    found = {finding.fingerprint: _kept(finding) for finding in findings if finding.severity != "info"}
    still: dict[str, Incident] = {}
    for fingerprint, incident in incidents.open.items():
        if fingerprint not in found and (left := move.missed(incident)):
            still[fingerprint] = left
    for fingerprint, finding in found.items():
        known = incidents.open.get(fingerprint)
        if known is not None:
            still[fingerprint] = move.found_again(known, finding)
        elif not (
            fingerprint in incidents.closed_by_hand and _the_same(incidents.closed_by_hand[fingerprint], finding)
        ):
            still[fingerprint] = move.found(finding)
    # The mark of an incident closed by hand goes with its finding: if that returns, it is news.
    by_hand = {
        fingerprint: mark
        for fingerprint, mark in incidents.closed_by_hand.items()
        if not complete or _the_same(mark, found.get(fingerprint))
    }
    after = incidents.model_copy(
        update={
            "open": still,
            "next_number": move.next_number,
            "began_at": incidents.began_at or observation.at,
            "closed_by_hand": by_hand,
        }
    )
    return Moved(incidents=_baselined(after, observation.at, complete, policies), transitions=tuple(move.transitions))


class _Move:
    """The steps of all incidents in one check."""

    def __init__(
        self,
        incidents: Incidents,
        closed: Iterable[Incident],
        observation: Observation,
        ledger: Ledger,
        policies: Policies,
        complete: bool,
    ) -> None:
        self.transitions: list[Transition] = []
        self.next_number = incidents.next_number
        self._observation = observation
        self._ledger = ledger
        self._policies = policies
        self._complete = complete
        self._now = observation.at
        self._sets_baseline = _sets_baseline(incidents, observation.at, complete, policies)
        self._reopen_within = policies.config.alerts.reopen_within
        self._lately = {
            incident.finding.fingerprint: incident
            for incident in closed
            if incident.resolved_at
            and self._now - incident.resolved_at <= self._reopen_within
            and incident.resolution != "closed"
        }

    def missed(self, incident: Incident) -> Incident | None:
        """An incident whose finding is missing; None if it is resolved."""
        why = (
            why_resolved(incident.finding, self._observation, self._ledger, self._policies) if self._complete else None
        )
        away = min(incident.unseen_since or self._now, self._now)
        # A reopened incident has to stay away for as long as it could be reopened.
        stays = not incident.reopened or self._now - away >= self._reopen_within or why in ("deleted", "disabled")
        if why is None or not stays:
            return incident.model_copy(update={"unseen_since": away})
        self._step(incident, "resolved", why, resolved_at=self._now, resolution=why)
        return None

    def found(self, finding: Finding) -> Incident:
        """A new incident, or a reopened one."""
        if finding.fingerprint in self._lately:
            again = _reopened(self._lately[finding.fingerprint])
            return self._fire(_seen(again, finding, self._observation), "reopened")
        new = _seen(Incident(finding=finding, opened_at=self._now), finding, self._observation)
        return self._fire(new, "found") if not self._hold(finding) else self._step(new, "pending", "found")

    def found_again(self, before: Incident, finding: Finding) -> Incident:
        """An open incident whose finding is there."""
        incident = _seen(before, finding, self._observation)
        if before.fired_at is None:
            if before.opened_at > self._now:
                # The clock was ahead; that must not prolong the hold.
                incident = incident.model_copy(update={"opened_at": self._now})
            held = self._now - incident.opened_at >= self._hold(finding)
            return self._fire(incident, "held") if held else incident
        for reason in _updates(before.finding, finding):
            incident = self._step(
                incident, "updated", reason, **({"uninhibited_at": self._now} if reason == "freed" else {})
            )
        return incident

    def _fire(self, incident: Incident, reason: StepReason) -> Incident:
        changes: dict[str, object] = {"fired_at": self._now}
        if not incident.number:
            changes["number"] = self.next_number
            self.next_number += 1
        return self._step(incident, "firing", reason, **changes)

    def _step(self, incident: Incident, to: StepTo, reason: StepReason, **changes: object) -> Incident:
        step = Step(to=to, at=self._now, reason=reason)
        after = incident.moved(step, **changes)
        self.transitions.append(Transition(incident=after, step=step))
        return after

    def _hold(self, finding: Finding) -> timedelta:
        if self._sets_baseline:
            # A preexisting incident has no hold: otherwise it would miss the summary, and never be notified.
            return timedelta(0)
        of_config = finding.check in ("server", "watchdog")
        policy = self._policies.config if of_config else policy_for(finding, self._observation, self._policies)
        hold: timedelta = getattr(policy, finding.check.replace("-", "_")).hold
        return hold


def close_by_hand(
    incidents: Incidents, number: int, now: datetime, by: str, note: str
) -> tuple[Incidents, Incident | None]:
    """Close an open incident by request; it stays closed until its finding shows something new.

    Args:
        incidents: The open incidents.
        number: The incident's number; 0 matches none, as pending incidents have no number yet.
        now: The time of the check.
        by: Who requested it.
        note: The note of the request.

    Returns:
        The remaining incidents, and the closed one; None if there is none with that number.
    """
    for fingerprint, incident in incidents.open.items():
        if number and incident.number == number:
            step = Step(to="resolved", at=now, reason="closed", by=by, note=note)
            resolved = incident.moved(step, resolved_at=now, resolution="closed")
            finding = incident.finding
            newest = finding.flow_run_ids[0] if finding.flow_run_ids else None
            mark = Closed(at=now, severity=finding.severity, newest_run=newest)
            left = {key: other for key, other in incidents.open.items() if key != fingerprint}
            marks = {**incidents.closed_by_hand, fingerprint: mark}
            return incidents.model_copy(update={"open": left, "closed_by_hand": marks}), resolved
    return incidents, None


def _baselined(incidents: Incidents, now: datetime, complete: bool, policies: Policies) -> Incidents:
    """Mark the incidents of the first complete check as preexisting.

    If the server never answers completely, the incidents found until then are preexisting after a time.
    """
    if not _sets_baseline(incidents, now, complete, policies):
        return incidents
    preexisting = {key: incident.model_copy(update={"preexisting": True}) for key, incident in incidents.open.items()}
    return incidents.model_copy(update={"open": preexisting, "baselined_at": now})


def _sets_baseline(incidents: Incidents, now: datetime, complete: bool, policies: Policies) -> bool:
    """Whether the incidents of a check are preexisting."""
    waited = incidents.began_at is not None and now - incidents.began_at >= policies.config.watchdog.incomplete_for
    return incidents.baselined_at is None and (complete or waited)


def _the_same(closed: Closed, finding: Finding | None) -> bool:
    """Whether a finding shows nothing new since its incident was closed by hand."""
    if finding is None:
        return False
    newest = finding.flow_run_ids[0] if finding.flow_run_ids else None
    return newest == closed.newest_run and rank(finding.severity) <= rank(closed.severity)


def _updates(before: Finding, after: Finding) -> Iterable[StepReason]:
    if after.severity != before.severity:
        yield "worse" if rank(after.severity) > rank(before.severity) else "better"
    if bool(after.symptom_of) != bool(before.symptom_of):
        yield "explained" if after.symptom_of else "freed"


def _reopened(incident: Incident) -> Incident:
    return incident.model_copy(
        update={"resolved_at": None, "resolution": None, "acknowledged": None, "reopened": incident.reopened + 1}
    )


def _kept(finding: Finding) -> Finding:
    """The finding as it is saved: a thousand ids in each of hundreds of incidents would be megabytes."""
    return finding.model_copy(update={"flow_run_ids": finding.flow_run_ids[:MAX_INCIDENT_IDS]})


def _seen(incident: Incident, finding: Finding, observation: Observation) -> Incident:
    """The incident as it is found now; unchanged while only the clock has moved, so that nothing is saved."""
    words = {"summary", "observed", "expected", "evidence"}
    changes: dict[str, object] = {}
    if finding.model_dump(exclude=words) != incident.finding.model_dump(exclude=words):
        changes["finding"] = finding
    if incident.unseen_since is not None:
        changes["unseen_since"] = None
    deployment = observation.deployments.get(finding.subject.key)
    tags, pool = (deployment.tags, deployment.work_pool) if deployment else (incident.tags, _pool(finding))
    if (tags, pool) != (incident.tags, incident.pool):
        changes.update(tags=tags, pool=pool)
    return incident.model_copy(update=changes) if changes else incident


def _pool(finding: Finding) -> str | None:
    """The work pool that a finding about a pool or queue is about."""
    subject = finding.subject
    if subject.kind == "work-pool":
        return subject.name
    return subject.name.split("/")[0] if subject.kind == "work-queue" else None
