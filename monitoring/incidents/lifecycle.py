"""Moves incidents: a finding over time, from pending over firing to resolved, each step with its reason.

Every hold and window is a duration, judged at each check; how many checks there were says nothing.
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

#: An incident keeps this many run ids.
MAX_INCIDENT_IDS = 100


class Moved(Value):
    """What an advance leads to."""

    incidents: Incidents
    transitions: tuple[Transition, ...]

    @property
    def open(self) -> Mapping[str, Incident]:
        """Open incidents by fingerprint."""
        return self.incidents.open

    @property
    def closed(self) -> tuple[Incident, ...]:
        """The incidents that were resolved by this move; one that was only pending leaves nothing behind."""
        return tuple(move.incident for move in self.transitions if move.step.to == "resolved" and move.incident.number)


def still_known(
    findings: Iterable[Finding],
    incidents: Mapping[str, Incident],
    observation: Observation,
    policies: Policies,
) -> tuple[Finding, ...]:
    """Give findings what their open incidents know of them and this check cannot.

    What could not be judged keeps the severity that it had while it could be: a zombie's last heartbeat is forgotten by
    the server after a week, and a success by retention. What only shows now, such as a slow server, began when it was
    first seen. A warning that has fired for longer than its policy allows is critical.

    Args:
        findings: What was found, correlated.
        incidents: The open incidents by fingerprint.
        observation: What was seen.
        policies: Say after how long a warning becomes critical.
    """
    return tuple(_still(finding, incidents.get(finding.fingerprint), observation, policies) for finding in findings)


def _still(finding: Finding, known: Incident | None, observation: Observation, policies: Policies) -> Finding:
    if known is None:
        return finding
    if finding.unknown:
        return finding.model_copy(update={"severity": known.finding.severity, "since": known.finding.since})
    if BY_NAME[finding.check].shows_only_now:
        finding = finding.model_copy(update={"since": min(finding.since, known.finding.since)})
    patience = policy_for(finding, observation, policies).escalate_after
    too_long = patience is not None and known.fired_at is not None and observation.at - known.fired_at >= patience
    return (
        finding.model_copy(update={"severity": "critical"}) if too_long and finding.severity == "warning" else finding
    )


def policy_for(finding: Finding, observation: Observation, policies: Policies) -> Policy:
    """The policy that holds for what a finding is about."""
    if finding.subject.kind in ("deployment", "flow"):
        deployment = observation.deployments.get(finding.subject.key)
        if deployment is not None:
            return policies.of(deployment.name, deployment.tags, deployment.work_pool)
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
    """Move incidents by what was found.

    Incomplete coverage may open an incident and never resolves one: what was not seen is unknown.
    Findings of severity info open none. What comes back soon after it was over continues the old incident, which is
    then over only when it has stayed away for that long: one that comes and goes is told of once and not all day.

    Args:
        incidents: What is open.
        closed: The incidents that were closed recently.
        findings: What was found, correlated.
        observation: What was seen; its time is the time of every move.
        ledger: What is remembered, the observation folded in.
        policies: Tell a failure that is forgiven from one that is over, and how long to wait for what.
        complete: Whether everything was seen.
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
    # What was closed by hand and is over is forgotten: should it come back, it is news.
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
    return Moved(incidents=_settled(after, observation.at, complete, policies), transitions=tuple(move.transitions))


class _Move:
    """One move of all incidents."""

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
        self._settles = _settles(incidents, observation.at, complete, policies)
        self._reopen_within = policies.config.alerts.reopen_within
        self._lately = {
            one.finding.fingerprint: one
            for one in closed
            if one.resolved_at and self._now - one.resolved_at <= self._reopen_within and one.resolution != "closed"
        }

    def missed(self, incident: Incident) -> Incident | None:
        """An incident that was not found; None when it is over."""
        why = (
            why_resolved(incident.finding, self._observation, self._ledger, self._policies) if self._complete else None
        )
        away = min(incident.unseen_since or self._now, self._now)
        # What came back once has to stay away for as long as it might come back again.
        stays = not incident.reopened or self._now - away >= self._reopen_within or why in ("deleted", "disabled")
        if why is None or not stays:
            return incident.model_copy(update={"unseen_since": away})
        self._step(incident, "resolved", why, resolved_at=self._now, resolution=why)
        return None

    def found(self, finding: Finding) -> Incident:
        """An incident that was not open."""
        if finding.fingerprint in self._lately:
            again = _reopened(self._lately[finding.fingerprint])
            return self._fire(_seen(again, finding, self._observation), "reopened")
        new = _seen(Incident(finding=finding, opened_at=self._now), finding, self._observation)
        return self._fire(new, "found") if not self._hold(finding) else self._step(new, "pending", "found")

    def found_again(self, before: Incident, finding: Finding) -> Incident:
        """An open incident that was found."""
        incident = _seen(before, finding, self._observation)
        if before.fired_at is None:
            if before.opened_at > self._now:
                # The clock was ahead, and must not hold it up for as long.
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
        if self._settles:
            # What is known before has lasted: had it to wait, it would be in no summary, and be no news after it.
            return timedelta(0)
        of_config = finding.check in ("server", "watchdog")
        policy = self._policies.config if of_config else policy_for(finding, self._observation, self._policies)
        hold: timedelta = getattr(policy, finding.check.replace("-", "_")).hold
        return hold


def close_by_hand(
    incidents: Incidents, number: int, now: datetime, by: str, note: str
) -> tuple[Incidents, Incident | None]:
    """Close an open incident because somebody asked for it; it stays closed until something new is found of it.

    Args:
        incidents: What is open.
        number: The incident's; 0 is none, as pending ones have no number yet.
        now: The time of the check.
        by: Who asked for it.
        note: What they said.

    Returns:
        What is open then, and the incident that was closed; None when there was none with that number.
    """
    for fingerprint, incident in incidents.open.items():
        if number and incident.number == number:
            step = Step(to="resolved", at=now, reason="closed", by=by, note=note)
            over = incident.moved(step, resolved_at=now, resolution="closed")
            finding = incident.finding
            newest = finding.flow_run_ids[0] if finding.flow_run_ids else None
            mark = Closed(at=now, severity=finding.severity, newest_run=newest)
            left = {key: one for key, one in incidents.open.items() if key != fingerprint}
            marks = {**incidents.closed_by_hand, fingerprint: mark}
            return incidents.model_copy(update={"open": left, "closed_by_hand": marks}), over
    return incidents, None


def _settled(incidents: Incidents, now: datetime, complete: bool, policies: Policies) -> Incidents:
    """Take what is found on the first complete check for known before.

    A server that never answers whole must not keep everybody waiting for ever: then what was found so far is known.
    """
    if not _settles(incidents, now, complete, policies):
        return incidents
    known = {key: one.model_copy(update={"preexisting": True}) for key, one in incidents.open.items()}
    return incidents.model_copy(update={"open": known, "baselined_at": now})


def _settles(incidents: Incidents, now: datetime, complete: bool, policies: Policies) -> bool:
    """Whether what a check finds is taken for known before."""
    waited = incidents.began_at is not None and now - incidents.began_at >= policies.config.watchdog.incomplete_for
    return incidents.baselined_at is None and (complete or waited)


def _the_same(closed: Closed, finding: Finding | None) -> bool:
    """Whether nothing new is found of what was closed by hand."""
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
    """What is saved of a finding: a thousand ids in each of hundreds of incidents would be megabytes."""
    return finding.model_copy(update={"flow_run_ids": finding.flow_run_ids[:MAX_INCIDENT_IDS]})


def _seen(incident: Incident, finding: Finding, observation: Observation) -> Incident:
    """The incident as it is found now; the same while nothing but the clock has moved, so that nothing is saved."""
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
