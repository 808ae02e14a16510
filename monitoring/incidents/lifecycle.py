"""The lifecycle of incidents: from pending to firing to resolved, each step with its reason.

Every hold and window is a duration and judged at each check; the number of checks does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitoring.checks.facts.situation import Situation
from monitoring.checks.registry import BY_NAME
from monitoring.config.policy import Policies
from monitoring.config.settings import Policy
from monitoring.model.base import Value
from monitoring.model.finding import Finding, rank
from monitoring.model.incident import (
    Closed,
    Incident,
    Incidents,
    ResolutionReason,
    Step,
    StepReason,
    StepTo,
    Transition,
)
from monitoring.model.ledger import Ledger
from monitoring.model.matcher import Labels
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
    incidents: Incidents,
    observation: Observation,
    policies: Policies,
) -> tuple[Finding, ...]:
    """Complete findings with what their incidents, open or closed by hand, know and this check cannot.

    A finding that could not be judged keeps the severity that it had while it could: the server deletes a zombie's last
    heartbeat after a week, and retention deletes successes. A condition without a start of its own, such as a slow
    server, began when it was first found. A warning that has fired for longer than its policy allows is critical.
    """
    return tuple(_still(finding, incidents, observation, policies) for finding in findings)


def _still(finding: Finding, incidents: Incidents, observation: Observation, policies: Policies) -> Finding:
    known = incidents.open.get(finding.fingerprint)
    if known is None:
        return _still_closed(finding, incidents.closed_by_hand.get(finding.fingerprint))
    if finding.unknown:
        return finding.model_copy(update={"severity": known.finding.severity, "since": known.finding.since})
    if BY_NAME[finding.check].shows_only_now:
        finding = finding.model_copy(update={"since": min(finding.since, known.finding.since)})
    escalate_after = policy_for(finding, observation, policies).escalate_after
    if finding.severity != "warning" or escalate_after is None or known.fired_at is None:
        return finding
    too_long = observation.at - known.fired_at >= escalate_after
    return finding.model_copy(update={"severity": "critical"}) if too_long else finding


def _still_closed(finding: Finding, closed: Closed | None) -> Finding:
    """A finding as it was when its incident was closed by hand, unless it shows something new."""
    if closed is None or closed.since is None or not closed.covers(finding):
        return finding
    severity = closed.severity if finding.unknown else finding.severity
    return finding.model_copy(update={"severity": severity, "since": min(finding.since, closed.since)})


def policy_for(finding: Finding, observation: Observation, policies: Policies) -> Policy:
    """The policy for the subject of a finding."""
    if finding.subject.kind in ("deployment", "flow"):
        deployment = observation.deployments.get(finding.subject.key)
        if deployment is not None:
            return policies.of(*policy_key(deployment))
        return policies.of(finding.subject.name)
    pool = _pool(finding)
    return policies.of(pool=pool) if pool else policies.config


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

    ``closed`` has the incidents that were resolved recently; the ledger has the observation folded in. The time of the
    observation is the time of every step.
    """
    now, sets_baseline = observation.at, _sets_baseline(incidents, observation.at, complete, policies)
    lately = _lately(closed, now, policies.config.alerts.reopen_within)
    situation = Situation(observation, ledger, policies)
    move = _Move(situation, policies, complete, sets_baseline, lately, incidents.next_number)
    found = {finding.fingerprint: _kept(finding) for finding in findings if finding.severity != "info"}
    still: dict[str, Incident] = {}
    for fingerprint, incident in incidents.open.items():
        if fingerprint not in found and (left := move.missed(incident)):
            still[fingerprint] = left
    for fingerprint, finding in found.items():
        if known := incidents.open.get(fingerprint):
            still[fingerprint] = move.found_again(known, finding)
        elif not ((mark := incidents.closed_by_hand.get(fingerprint)) and mark.covers(finding)):
            still[fingerprint] = move.found(finding)
    if sets_baseline:
        still = {key: incident.model_copy(update={"preexisting": True}) for key, incident in still.items()}
    # The mark of an incident closed by hand goes with its finding: if that returns, it is news.
    by_hand = {
        fingerprint: mark
        for fingerprint, mark in incidents.closed_by_hand.items()
        if not complete or (fingerprint in found and mark.covers(found[fingerprint]))
    }
    after = incidents.model_copy(
        update={
            "open": still,
            "next_number": move.next_number,
            "began_at": incidents.began_at or now,
            "baselined_at": now if sets_baseline else incidents.baselined_at,
            "closed_by_hand": by_hand,
        }
    )
    return Moved(incidents=after, transitions=tuple(move.transitions))


def _sets_baseline(incidents: Incidents, now: datetime, complete: bool, policies: Policies) -> bool:
    """Whether the incidents of a check are preexisting: those of the first complete check.

    If the server never answers completely, the incidents found until then are preexisting after a time.
    """
    waited = incidents.began_at is not None and now - incidents.began_at >= policies.config.watchdog.incomplete_for
    return incidents.baselined_at is None and (complete or waited)


def _lately(closed: Iterable[Incident], now: datetime, reopen_within: timedelta) -> Mapping[str, Incident]:
    """By fingerprint: the incidents that were resolved so recently that they continue if they return."""
    return {
        incident.finding.fingerprint: incident
        for incident in closed
        if incident.resolved_at and now - incident.resolved_at <= reopen_within and incident.resolution != "closed"
    }


@dataclass
class _Move:
    """The steps of all incidents in one check."""

    situation: Situation
    policies: Policies
    complete: bool
    #: Whether the incidents of this check are preexisting.
    sets_baseline: bool
    lately: Mapping[str, Incident]
    next_number: int
    transitions: list[Transition] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The time of every step."""
        return self.situation.now

    def missed(self, incident: Incident) -> Incident | None:
        """An incident whose finding is missing; None if it is resolved."""
        why = _why_resolved(incident.finding, self.situation) if self.complete else None
        away = min(incident.unseen_since or self.now, self.now)
        # A reopened incident has to stay away for as long as it could be reopened.
        reopen_within = self.policies.config.alerts.reopen_within
        stays = not incident.reopened or self.now - away >= reopen_within or why in ("deleted", "disabled")
        if why is None or not stays:
            return incident.model_copy(update={"unseen_since": away})
        self._step(incident, "resolved", why, resolved_at=self.now, resolution=why)
        return None

    def found(self, finding: Finding) -> Incident:
        """A new incident, or a reopened one."""
        if before := self.lately.get(finding.fingerprint):
            again = before.model_copy(
                update={"resolved_at": None, "resolution": None, "acknowledged": None, "reopened": before.reopened + 1}
            )
            return self._fire(_seen(again, finding, self.situation.observation), "reopened")
        new = _seen(Incident(finding=finding, opened_at=self.now), finding, self.situation.observation)
        return self._fire(new, "found") if not self._hold(finding) else self._step(new, "pending", "found")

    def found_again(self, before: Incident, finding: Finding) -> Incident:
        """An open incident whose finding is there."""
        incident = _seen(before, finding, self.situation.observation)
        if before.fired_at is None:
            if before.opened_at > self.now:
                # The clock was ahead; that must not prolong the hold.
                incident = incident.model_copy(update={"opened_at": self.now})
            held = self.now - incident.opened_at >= self._hold(finding)
            return self._fire(incident, "held") if held else incident
        for reason in _updates(before.finding, finding):
            incident = self._step(
                incident, "updated", reason, **({"uninhibited_at": self.now} if reason == "freed" else {})
            )
        return incident

    def _fire(self, incident: Incident, reason: StepReason) -> Incident:
        changes: dict[str, object] = {"fired_at": self.now}
        if not incident.number:
            changes["number"] = self.next_number
            self.next_number += 1
        return self._step(incident, "firing", reason, **changes)

    def _step(self, incident: Incident, to: StepTo, reason: StepReason, **changes: object) -> Incident:
        step = Step(to=to, at=self.now, reason=reason)
        after = incident.moved(step, **changes)
        self.transitions.append(Transition(incident=after, step=step))
        return after

    def _hold(self, finding: Finding) -> timedelta:
        if self.sets_baseline:
            # A preexisting incident has no hold: otherwise it would miss the summary, and never be notified.
            return timedelta(0)
        check = BY_NAME[finding.check]
        config = self.policies.config
        policy = config if check.whole else policy_for(finding, self.situation.observation, self.policies)
        hold: timedelta = check.settings(policy).hold
        return hold


def _why_resolved(finding: Finding, situation: Situation) -> ResolutionReason | None:
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


def _updates(before: Finding, after: Finding) -> Iterable[StepReason]:
    if after.severity != before.severity:
        yield "worse" if rank(after.severity) > rank(before.severity) else "better"
    if bool(after.symptom_of) != bool(before.symptom_of):
        yield "explained" if after.symptom_of else "freed"


def _kept(finding: Finding) -> Finding:
    """The finding as it is saved: a thousand ids in each of hundreds of incidents would be megabytes."""
    return finding.model_copy(update={"flow_run_ids": finding.flow_run_ids[:MAX_INCIDENT_IDS]})


def labels_of(finding: Finding, observation: Observation) -> Labels:
    """What routes, silences and maintenance windows match a finding by, with or without an incident."""
    return _seen(Incident(finding=finding, opened_at=observation.at), finding, observation).labels


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
