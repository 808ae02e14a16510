"""Notifications and events that are to be sent, and what became of them.

Texts are plain here, as they came from runs: every formatter escapes for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import Enum
from typing import Literal

from pydantic import Field

from monitoring.model.base import Timestamp, Value
from monitoring.model.finding import Severity
from monitoring.model.incident import Incident
from monitoring.model.message import Message

#: What a notification is about: incidents that fire, joined an earlier notification, became critical, came back, still
#: fire or are resolved; the details in the thread of a new message; or the preexisting incidents.
About = Literal["opened", "joined", "risen", "reopened", "repeated", "resolved", "details", "preexisting"]

#: Incidents that one message shows; the rest is counted.
MAX_SHOWN = 15


class SuppressionReason(str, Enum):
    """Why no notification is sent of a firing incident."""

    INHIBITED = "inhibited"
    CAUSE_CLOSED = "cause-closed"
    UNINHIBITED = "uninhibited"
    SILENCED = "silenced"
    MAINTENANCE = "maintenance"
    QUIET_HOURS = "quiet-hours"
    UNSEEN = "unseen"
    PREEXISTING = "preexisting"
    ACKNOWLEDGED = "acknowledged"
    #: Written by an earlier version, in words.
    OTHER = "other"


class Suppression(Value):
    """Why no notification is sent of a firing incident, with what people need to look it up."""

    reason: SuppressionReason
    #: The id of the inhibiting incident or of the silence; empty for a pending incident.
    by: str = ""
    #: What the silence or the maintenance window is for.
    note: str = ""
    until: Timestamp | None = None

    @property
    def text(self) -> str:
        """The reason in words."""
        match self.reason:
            case SuppressionReason.INHIBITED:
                return f"inhibited by {self.by or 'its cause, which is pending'}"
            case SuppressionReason.SILENCED | SuppressionReason.MAINTENANCE:
                ends = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
                return f"{self.by or 'maintenance'} ({self.note}){ends}"
            case SuppressionReason.OTHER:
                return self.note
            case _:
                return _REASONS[self.reason]


_REASONS = {
    SuppressionReason.CAUSE_CLOSED: "inhibited by an incident that was closed by hand",
    SuppressionReason.UNINHIBITED: "its cause was just resolved",
    SuppressionReason.QUIET_HOURS: "quiet hours",
    SuppressionReason.UNSEEN: "not found by the check before",
    SuppressionReason.PREEXISTING: "it existed before the watchdog's first check",
    SuppressionReason.ACKNOWLEDGED: "acknowledged",
}


class MessageRef(Value):
    """Where a message stands that can be edited and replied to: Slack's channel id and time stamp."""

    channel: str
    ts: str


class Content(Value):
    """What a notification says. Every formatter shows this and nothing else."""

    about: About
    target: str
    at: Timestamp
    #: Most severe first, at most ``MAX_SHOWN``; how many there are in all, and how many of them are not resolved.
    incidents: tuple[Incident, ...]
    total: int
    open: int
    severity: Severity
    #: By incident id: the id of the incident that inhibits it.
    explained_by: Mapping[str, str] = Field(default_factory=dict)
    #: Sentences for people, such as why the notification was delayed.
    notes: tuple[str, ...] = ()
    ui_url: str | None = None
    #: Whether tracebacks and log lines may be shown.
    traceback: bool = False


class DigestContent(Value):
    """The digest of one day."""

    target: str
    #: In the digest's time zone.
    day: date
    message: Message


class Event(Value):
    """A Prefect event (prefect/events/schemas/events.py): the same id is stored once however often it is sent."""

    id: str
    name: str
    at: Timestamp
    #: Labels of the resource that it is about, ``prefect.resource.id`` among them.
    resource: Mapping[str, str]
    #: Labels of related resources, each with ``prefect.resource.id`` and ``prefect.resource.role``; at most 100.
    related: tuple[Mapping[str, str], ...] = ()
    payload: Mapping[str, object] = Field(default_factory=dict)


class Delivery(Value):
    """Something to send, in its place in the queue."""

    #: Unique for ever; in Slack it is in the message's metadata.
    id: str
    kind: Literal["post", "update", "reply", "event"]
    #: The route by its name; events have none.
    route: str = ""
    #: The number of the notification that it belongs to; 0 for none.
    notification: int = 0
    #: One of these: a notification's content, a digest, an event.
    content: Content | None = None
    digest: DigestContent | None = None
    event: Event | None = None
    #: Whether a reply is shown in the channel, too.
    broadcast: bool = False
    queued_at: Timestamp
    #: It was about to be sent, and may have been: the check died, or no answer came.
    outcome_unknown: bool = False
    #: The receiver rejected it for good, which may be its own fault and not that of its route.
    rejected: bool = False
    attempts: int = 0
    #: Of an event: when the server accepted it; until it has stored it, it may lose it.
    sent_at: Timestamp | None = None
    #: It is not attempted before.
    not_before: Timestamp | None = None
    #: It is not sent from then on; None: it is sent however late.
    expires_at: Timestamp | None = None


class Member(Value):
    """An incident in a notification, as people were notified of it."""

    #: The incident's number.
    number: int
    severity: Severity
    #: Since when it has been less severe than that.
    milder_since: Timestamp | None = None
    #: People were notified that it is resolved.
    resolved: bool = False
    #: A newer notification is about it.
    moved: bool = False
    #: The silence or window that suppresses it, in words: people are notified when that ends.
    silenced: str = ""


class Notification(Value):
    """A message about a group of incidents, or a row of messages where the receiver cannot edit them."""

    number: int
    route: str
    #: What its incidents have in common: ``cause work-pool etl no-live-worker`` or ``check failed``.
    group: str
    members: tuple[Member, ...] = ()
    #: None until it was sent, and where the receiver has no such thing.
    message: MessageRef | None = None
    #: When it was posted, or posted again.
    posted_at: Timestamp
    #: When it was last changed, and a digest of what it has said since then.
    changed_at: Timestamp
    says: str = ""

    @property
    def open(self) -> bool:
        """Whether people are still to be notified that something in it is resolved."""
        return any(not member.resolved and not member.moved for member in self.members)


class Trouble(Value):
    """A route that does not work."""

    since: Timestamp
    problem: str
    permanent: bool


class Tally(Value):
    """How many messages were sent by a route, and how many attempts failed. These numbers only rise."""

    sent: int = 0
    failed: int = 0


class Outbox(Value):
    """What is still to be sent, and the notifications that may still change."""

    queue: tuple[Delivery, ...] = ()
    notifications: tuple[Notification, ...] = ()
    next_notification: int = 1
    next_delivery: int = 1
    #: The steps of incidents up to here are events in the queue, or were.
    events_until: Timestamp | None = None
    #: By the number of a firing incident: why no notification is sent of it.
    suppressed: Mapping[int, Suppression] = Field(default_factory=dict)
    #: By route.
    troubles: Mapping[str, Trouble] = Field(default_factory=dict)
    #: By route.
    tallies: Mapping[str, Tally] = Field(default_factory=dict)
    #: Exporters that do not work, by the setting that names each.
    outlets: Mapping[str, Trouble] = Field(default_factory=dict)
    #: Whether the summary of preexisting incidents has been queued.
    summarised: bool = False
    #: The day of the digest that was queued last.
    digest_day: date | None = None
