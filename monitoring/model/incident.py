"""A finding over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, Field

from monitoring.model.base import Value
from monitoring.model.finding import Finding, Severity
from monitoring.model.matcher import Labels

ResolutionReason = Literal["cleared", "succeeded", "paused", "deleted", "expired", "disabled", "closed"]

StepTo = Literal["pending", "firing", "updated", "resolved"]

#: Why an incident moved: it was found, lasted for its hold, came back; got worse or better; somebody acknowledged it;
#: it became the symptom of another, or stopped being one; and why it was over.
StepReason = (
    Literal["found", "held", "reopened", "worse", "better", "acknowledged", "explained", "freed"] | ResolutionReason
)


class Acknowledgement(Value):
    """Somebody looks after an incident."""

    by: str
    at: AwareDatetime
    note: str = ""


class Step(Value):
    """A move of one incident, with its reason."""

    to: StepTo
    at: AwareDatetime
    reason: StepReason
    #: Who asked for it, and what they said; empty where nobody did.
    by: str = ""
    note: str = ""


#: An incident keeps its first step and the newest of the others.
MAX_STEPS = 50


class Incident(Value):
    """A finding over time: pending, then firing, then resolved."""

    #: As it was found last.
    finding: Finding
    #: Names it for people, as in ``W-12``; 0 while it is pending.
    number: int = 0
    #: When it was found first.
    opened_at: AwareDatetime
    #: When it had lasted as long as its hold; None while it is pending.
    fired_at: AwareDatetime | None = None
    #: Since when it has not been found, though nothing shows that it is over; None where the last check found it.
    unseen_since: AwareDatetime | None = None
    resolved_at: AwareDatetime | None = None
    resolution: ResolutionReason | None = None
    #: It was there when the watchdog began, and is not news.
    preexisting: bool = False
    acknowledged: Acknowledgement | None = None
    #: How often it came back soon after it was over.
    reopened: int = 0
    #: When it stopped being the symptom of another incident.
    uninhibited_at: AwareDatetime | None = None
    #: Of the deployment or the pool that it is about, as they were seen last.
    tags: tuple[str, ...] = ()
    pool: str | None = None
    #: How it moved, oldest first, at most ``MAX_STEPS``.
    history: tuple[Step, ...] = ()

    @property
    def id(self) -> str:
        """What people call it: ``W-12``; empty while it is pending."""
        return f"W-{self.number}" if self.number else ""

    @property
    def firing(self) -> bool:
        """Whether it has lasted as long as its hold, and is not over."""
        return self.fired_at is not None and self.resolved_at is None

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
    """What was closed by hand while it was still found: it stays closed while nothing new is found of it."""

    at: AwareDatetime
    severity: Severity
    #: The newest run that it was about.
    newest_run: str | None = None


class Incidents(Value):
    """All that is remembered of what is open, and of the watchdog's beginning on this server."""

    #: By fingerprint, pending ones among them.
    open: Mapping[str, Incident] = Field(default_factory=dict)
    #: The number of the next incident that fires.
    next_number: int = 1
    #: When the watchdog first looked at this server, and when it took what it found there for known.
    began_at: AwareDatetime | None = None
    baselined_at: AwareDatetime | None = None
    #: By fingerprint.
    closed_by_hand: Mapping[str, Closed] = Field(default_factory=dict)
