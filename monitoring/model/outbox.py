"""What is sent to people and to other programs, and what became of it.

Texts are plain here, as they came from runs: every formatter escapes for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, Field

from monitoring.model.base import Value
from monitoring.model.finding import Severity
from monitoring.model.incident import Incident

#: What a message is about: incidents that began, joined a message, got critical, came back, still last or are over;
#: what belongs into the thread of a new message; or all that was wrong when the watchdog began.
About = Literal["opened", "joined", "risen", "reopened", "repeated", "resolved", "details", "known-before"]

#: Incidents that one message shows; the rest is counted.
MAX_SHOWN = 15


class MessageRef(Value):
    """Where a message stands that can be edited and replied to: Slack's channel id and time stamp."""

    channel: str
    ts: str


class Content(Value):
    """What one message says. Every rendering shows this and nothing else."""

    about: About
    target: str
    at: AwareDatetime
    #: Most severe first, at most ``MAX_SHOWN``; how many there are in all, and how many of them are not over.
    incidents: tuple[Incident, ...]
    total: int
    open: int
    severity: Severity
    #: By incident id: the id of the incident that explains it.
    explained_by: Mapping[str, str] = Field(default_factory=dict)
    #: Sentences for people, such as why this is told only now.
    notes: tuple[str, ...] = ()
    ui_url: str | None = None
    #: Whether tracebacks and log lines may be shown.
    traceback: bool = False


class Event(Value):
    """A Prefect event (prefect/events/schemas/events.py): the same id is stored once however often it is sent."""

    id: str
    name: str
    at: AwareDatetime
    #: Labels of the resource that it is about, ``prefect.resource.id`` among them.
    resource: Mapping[str, str]
    #: Labels of related resources, each with ``prefect.resource.id`` and ``prefect.resource.role``; at most 100.
    related: tuple[Mapping[str, str], ...] = ()
    payload: Mapping[str, object] = Field(default_factory=dict)


class Delivery(Value):
    """Something that is to be said, in its place in the queue."""

    #: Names it for ever; in Slack it is in the message's metadata.
    id: str
    kind: Literal["post", "update", "reply", "event"]
    #: The route by its name; events have none.
    route: str = ""
    #: The notice that it belongs to.
    notice: int = 0
    content: Content | None = None
    event: Event | None = None
    #: Whether a reply is shown in the channel, too.
    broadcast: bool = False
    queued_at: AwareDatetime
    #: It was about to be sent, and is not known to have been: we died, or no answer came.
    doubtful: bool = False
    #: It was refused for good, which may be its own fault and not that of its route.
    refused: bool = False
    attempts: int = 0
    #: Of an event: when the server took it, which may yet lose it.
    sent_at: AwareDatetime | None = None
    #: Not to be tried before.
    not_before: AwareDatetime | None = None


class Member(Value):
    """An incident in a notice, as people were told of it."""

    #: The incident's number.
    number: int
    severity: Severity
    #: Since when it has been less severe than that.
    milder_since: AwareDatetime | None = None
    #: They were told that it is over.
    resolved: bool = False
    #: It is told in a newer notice.
    moved: bool = False
    #: The silence or window that it falls under since it was told, for people; that it ends is told.
    silenced: str = ""


class Notice(Value):
    """One message in a channel, or one row of messages where they cannot be edited, about one or more incidents."""

    number: int
    route: str
    #: What its incidents have in common: ``cause work-pool etl no-live-worker`` or ``check failed``.
    group: str
    members: tuple[Member, ...] = ()
    #: None until it was sent, and where the receiver has no such thing.
    message: MessageRef | None = None
    #: When it was posted, or posted again.
    posted_at: AwareDatetime
    #: When it was last changed, and what it has said since then.
    changed_at: AwareDatetime
    says: str = ""

    @property
    def open(self) -> bool:
        """Whether something in it is still to be told."""
        return any(not member.resolved and not member.moved for member in self.members)


class Trouble(Value):
    """A route that does not work."""

    since: AwareDatetime
    problem: str
    permanent: bool


class Tally(Value):
    """How often a route was told something, and how often that failed. These numbers only rise."""

    sent: int = 0
    failed: int = 0


class Outbox(Value):
    """All that was decided to be said and may still have to be, and the messages that may still change."""

    queue: tuple[Delivery, ...] = ()
    notices: tuple[Notice, ...] = ()
    next_notice: int = 1
    next_delivery: int = 1
    #: The steps of incidents up to here are events in the queue, or were.
    told_until: AwareDatetime | None = None
    #: By the number of a firing incident that nobody was told of: why not, for people.
    held: Mapping[int, str] = Field(default_factory=dict)
    #: By route.
    troubles: Mapping[str, Trouble] = Field(default_factory=dict)
    #: By route.
    tallies: Mapping[str, Tally] = Field(default_factory=dict)
    #: By the setting that names them: ways out for metrics that do not work.
    outlets: Mapping[str, Trouble] = Field(default_factory=dict)
    #: Whether the summary of what was known before has been queued.
    summarised: bool = False
