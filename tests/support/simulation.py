"""Incidents that come and go by a script, and what people would see of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from monitoring.errors import DeliveryError
from monitoring.incidents.lifecycle import Moved, advance, still_known
from monitoring.incidents.requests import apply_requests
from monitoring.model.finding import Cause, CheckName, Finding, Severity, Subject, SubjectKind, fingerprint
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.outbox import Content, Delivery, Event, MessageRef, Outbox
from monitoring.model.prefect import Deployment
from monitoring.model.request import Request, Silences
from monitoring.model.silence import Silence
from monitoring.notifications.event_publisher import emit
from monitoring.notifications.events import with_events
from monitoring.notifications.planning import plan_notifications
from monitoring.notifications.sender import Sender
from monitoring.notifications.situation import Situation
from tests.support.builders import NOW, UI, deployment, observation, policies

TARGET = "prod"
#: Settings under which everything goes to one Slack channel.
SLACK: dict[str, Any] = {"target": {"name": TARGET}, "slack": {"channel": "alerts"}}
POOL = Cause(kind="work-pool", name="gpu", reason="no-live-worker")


def problem(
    name: str,
    check: CheckName = "late",
    *,
    kind: SubjectKind = "deployment",
    severity: Severity = "warning",
    since: datetime = NOW - timedelta(hours=1),
    **fields: Any,
) -> Finding:
    """A finding about a deployment, or something else, of that name."""
    values: dict[str, Any] = {
        "fingerprint": fingerprint(TARGET, check, kind, name),
        "check": check,
        "severity": severity,
        "subject": Subject(kind=kind, id=name, name=name),
        "deployment": name if kind == "deployment" else None,
        "flow_run_ids": (f"run of {name}",),
        "flow_run_count": 1,
        "summary": f"{name}: something is wrong",
        "observed": "1 run",
        "expected": "none",
        "since": since,
        "url": f"{UI}/{name}",
    }
    return Finding.model_validate({**values, **fields})


def symptom(name: str, of: Finding, **fields: Any) -> Finding:
    """A finding that another one explains."""
    return problem(name, symptom_of=of.fingerprint, cause=of.cause, **fields)


@dataclass
class Message:
    """A message in a channel, as it reads now, and the replies in its thread."""

    id: str
    #: What it said when it was posted, and what it says now.
    posted: Content
    content: Content
    replies: list[Delivery] = field(default_factory=list)
    edits: int = 0


@dataclass
class Channel:
    """A receiver. Where it fails, ``fault`` says with what."""

    editable: bool = True
    messages: list[Message] = field(default_factory=list)
    fault: Callable[[Delivery], DeliveryError | None] = lambda delivery: None
    #: Its history can be read.
    readable: bool = False
    tries: int = 0
    #: What was taken, in its order.
    log: list[Delivery] = field(default_factory=list)
    digests: list[Delivery] = field(default_factory=list)

    def post(self, delivery: Delivery, thread: MessageRef | None) -> MessageRef | None:
        self._try(delivery)
        if delivery.digest is not None:
            self.digests.append(delivery)
            return None
        assert delivery.content is not None
        self.log.append(delivery)
        if thread is not None:
            self._at(thread).replies.append(delivery)
            return thread
        self.messages.append(Message(delivery.id, delivery.content, delivery.content))
        return MessageRef(channel="C1", ts=str(len(self.messages) - 1)) if self.editable else None

    def update(self, message: MessageRef, delivery: Delivery) -> None:
        self._try(delivery)
        assert delivery.content is not None
        self._at(message).content = delivery.content
        self._at(message).edits += 1

    def find(self, delivery: Delivery, thread: MessageRef | None) -> MessageRef | None:
        if not self.readable:
            return None
        if delivery.digest is not None:
            found = any(sent.id == delivery.id for sent in self.digests)
            return MessageRef(channel="C1", ts="digest") if found else None
        if thread is not None:
            return thread if any(reply.id == delivery.id for reply in self._at(thread).replies) else None
        at = next((index for index, message in enumerate(self.messages) if message.id == delivery.id), None)
        return None if at is None else MessageRef(channel="C1", ts=str(at))

    def sent(self) -> list[tuple[str, list[str]]]:
        """All messages and replies, as what they are about and which incidents: never in the order of replies."""
        rows: list[tuple[str, list[str]]] = [(message.posted.about, ids(message.posted)) for message in self.messages]
        return rows + [
            (reply.content.about, ids(reply.content))
            for message in self.messages
            for reply in message.replies
            if reply.content and reply.content.about != "details"
        ]

    def _try(self, delivery: Delivery) -> None:
        self.tries += 1
        if error := self.fault(delivery):
            raise error

    def _at(self, message: MessageRef) -> Message:
        return self.messages[int(message.ts)]


def ids(content: Content) -> list[str]:
    """The incidents that a message shows."""
    return [incident.id for incident in content.incidents]


class Watchdog:
    """Checks that follow each other, over findings that the test says; what they say goes to the channels."""

    def __init__(self, channels: Mapping[str, Channel] | None = None, *, settled: bool = True, **settings: Any) -> None:
        self.policies = policies(**{**SLACK, **settings})
        self.channels = dict(channels or {"default": Channel()})
        self.incidents = Incidents(began_at=NOW - timedelta(days=9), baselined_at=NOW - timedelta(days=9))
        if not settled:
            self.incidents = Incidents()
        self.outbox = Outbox(summarised=settled, events_until=NOW - timedelta(days=9) if settled else None)
        self.silences = Silences()
        self.maintenance: tuple[Silence, ...] = ()
        self.filed: tuple[Incident, ...] = ()
        self.events: list[Event] = []
        self.deployments: dict[str, Deployment] = {}
        self.now = NOW

    @property
    def closed(self) -> tuple[Incident, ...]:
        """What was closed, each once, the newest first; without what is open again."""
        again = {incident.number for incident in self.incidents.open.values()}
        newest: dict[int, Incident] = {}
        for incident in self.filed:
            newest.setdefault(incident.number, incident)
        return tuple(incident for incident in newest.values() if incident.number not in again)

    @property
    def channel(self) -> Channel:
        return self.channels["default"]

    def check(
        self,
        *findings: Finding,
        after: timedelta = timedelta(minutes=5),
        complete: bool = True,
        requests: Iterable[Request] = (),
    ) -> Moved:
        """One check, some time after the one before; everything that it decides is saved and sent."""
        self.now += after
        moved = self.decide(findings, complete, requests)
        self.deliver()
        return moved

    def decide(self, findings: Iterable[Finding], complete: bool = True, requests: Iterable[Request] = ()) -> Moved:
        """The part of a check before it speaks."""
        rows = list(findings)
        self.deployments |= {
            finding.subject.name: deployment(finding.subject.name) for finding in rows if finding.deployment
        }
        seen = observation(at=self.now, deployments=self.deployments.values())
        applied = apply_requests(requests, self.incidents, self.silences, self.now)
        known = still_known(rows, applied.incidents, seen, self.policies)
        moved = advance(applied.incidents, self.closed, known, seen, Ledger(), self.policies, complete)
        # Nothing is ever taken out of what is filed.
        self.filed = (*moved.closed, *applied.closed, *self.filed)
        self.incidents, self.silences = moved.incidents, applied.silences
        outbox = with_events(self.outbox, self.incidents, self.closed, seen)
        self.outbox = plan_notifications(
            outbox,
            Situation(
                incidents=self.incidents,
                closed=self.closed,
                silences=(*self.silences.known, *self.maintenance),
                config=self.policies.config,
                ui_url=UI,
                now=self.now,
                complete=complete,
            ),
        )
        return moved

    def deliver(self) -> None:
        """Say what is in the outbox."""
        config = self.policies.config
        Sender(lambda route: self.channels[route], self.save, config, self.now).send(self.outbox)
        emit(self.outbox, self, self.save, self.now)

    def save(self, outbox: Outbox) -> None:
        """Keep the outbox."""
        self.outbox = outbox

    def send(self, events: Iterable[Event]) -> None:
        """Take events, as a server does."""
        self.events += events

    def kept(self, events: Iterable[Event]) -> set[str]:
        """Find events, as a server does."""
        return {event.id for event in events if event in self.events}

    def fires(self, finding: Finding) -> Incident:
        """The open incident of a finding."""
        return self.incidents.open[finding.fingerprint]
