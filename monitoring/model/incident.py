"""A finding over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from monitoring.model.base import Timestamp, Value
from monitoring.model.finding import Finding, Severity, rank
from monitoring.model.matcher import Labels

#: Earlier versions wrote ``paused`` for what is ``paused-while-failing``.
ResolutionReason = Literal[
    "cleared", "succeeded", "paused-while-failing", "paused", "deleted", "expired", "disabled", "closed"
]

#: Reasons for which an incident ends though nobody has mended anything: nothing will run that could show it.
_UNMENDED: frozenset[ResolutionReason] = frozenset({"paused-while-failing", "paused", "expired"})

StepTo = Literal["pending", "firing", "updated", "resolved"]

#: Why an incident changed: it was found, lasted for its hold, came back; became worse or better; was acknowledged; was
#: inhibited as the symptom of another incident (explained), or uninhibited (freed); and why it was resolved.
StepReason = (
    Literal["found", "held", "reopened", "worse", "better", "acknowledged", "explained", "freed"] | ResolutionReason
)


class Acknowledgement(Value):
    """Who takes care of an incident."""

    by: str
    at: Timestamp
    note: str = ""


class Step(Value):
    """A change of one incident, with its reason."""

    to: StepTo
    at: Timestamp
    reason: StepReason
    #: Who requested it, with their note; empty if nobody did.
    by: str = ""
    note: str = ""

    @property
    def unmended(self) -> bool:
        """Whether it ended the incident though nobody had mended anything."""
        return self.reason in _UNMENDED


#: An incident keeps its first step and the newest of the others.
MAX_STEPS = 50


class Incident(Value):
    """A finding over time: pending, then firing, then resolved."""

    #: The newest finding.
    finding: Finding
    #: The number in its id ``W-12``; 0 while it is pending.
    number: int = 0
    #: When it was found first.
    opened_at: Timestamp
    #: When it had lasted as long as its hold; None while it is pending.
    fired_at: Timestamp | None = None
    #: Since when it has not been found, though nothing shows that it is over; None if the last check found it.
    unseen_since: Timestamp | None = None
    resolved_at: Timestamp | None = None
    resolution: ResolutionReason | None = None
    #: The first complete check found it: people are not notified of it as news.
    preexisting: bool = False
    acknowledged: Acknowledgement | None = None
    #: How often it came back soon after it was resolved.
    reopened: int = 0
    #: When it stopped being the symptom of another incident.
    uninhibited_at: Timestamp | None = None
    #: Tags and work pool of its subject, as they were read last.
    tags: tuple[str, ...] = ()
    pool: str | None = None
    #: Its steps, oldest first, at most ``MAX_STEPS``.
    history: tuple[Step, ...] = ()

    @property
    def id(self) -> str:
        """Its id for people: ``W-12``; empty while it is pending."""
        return incident_id(self.number)

    @property
    def firing(self) -> bool:
        """Whether it has lasted for its hold, and is not resolved."""
        return self.fired_at is not None and self.resolved_at is None

    @property
    def unmended(self) -> bool:
        """Whether it has ended though nobody has mended anything: that is no success."""
        return self.resolution in _UNMENDED

    @property
    def labels(self) -> Labels:
        """What routes, silences and maintenance windows match it by."""
        finding = self.finding
        return Labels(
            deployment=finding.subject.name if finding.subject.kind in ("deployment", "flow") else None,
            tags=self.tags,
            pool=self.pool,
            check=finding.check,
            severity=finding.severity,
            owner=finding.owner,
        )

    def moved(self, step: Step, **changes: object) -> Incident:
        """The incident after a step, with these fields changed."""
        history = (*self.history, step)
        if len(history) > MAX_STEPS:
            history = (history[0], *history[1 - MAX_STEPS :])
        return self.model_copy(update={"history": history, **changes})


class Transition(Value):
    """A step, and the incident after it."""

    incident: Incident
    step: Step


class Closed(Value):
    """The mark of an incident that was closed by hand: it stays closed until its finding shows something new."""

    at: Timestamp
    severity: Severity
    #: The newest run of its finding.
    newest_run: str | None = None
    #: The number of the incident, and who closed it; 0 and empty if an earlier version marked it.
    number: int = 0
    by: str = ""
    #: When its condition began.
    since: Timestamp | None = None

    @property
    def id(self) -> str:
        """The id of the incident for people; empty if it is not known."""
        return incident_id(self.number)

    def covers(self, finding: Finding) -> bool:
        """Whether a finding shows nothing new since the incident was closed."""
        return finding.newest_run == self.newest_run and rank(finding.severity) <= rank(self.severity)


def incident_id(number: int) -> str:
    """The id of an incident for people: ``W-12``; empty without a number."""
    return f"W-{number}" if number else ""


class Incidents(Value):
    """The open incidents, and when this server was first checked."""

    #: By fingerprint, including pending incidents.
    open: Mapping[str, Incident] = Field(default_factory=dict)
    #: The number of the next incident that fires.
    next_number: int = 1
    #: When the watchdog first checked this server, and when it marked the incidents there as preexisting.
    began_at: Timestamp | None = None
    baselined_at: Timestamp | None = None
    #: When the document of open incidents or of notifications was found missing or broken.
    lost_at: Timestamp | None = None
    #: By fingerprint.
    closed_by_hand: Mapping[str, Closed] = Field(default_factory=dict)
    #: The id of the server, with which fingerprints begin: the first check makes it, and it stays, whatever the server
    #: is called and wherever it moves. Empty before that.
    target_id: str = ""

    def identified(self, made: str) -> Incidents:
        """These incidents with the id that they have, or else with one that was made."""
        return self if self.target_id else self.model_copy(update={"target_id": made})

    def numbered(self, number: int) -> Incident | None:
        """The open incident with a number; None if there is none. Pending incidents have no number yet."""
        return next((incident for incident in self.open.values() if number and incident.number == number), None)


#: Before the first check.
NO_INCIDENTS = Incidents()
