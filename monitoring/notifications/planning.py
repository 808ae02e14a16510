"""Decides what people are told of which incident: once when it begins, once when it is over, in between as they chose.

It compares what is so with what was told, and takes no notice of how either came about. So nothing is lost when a check
dies between saving the incidents and saving what it meant to say of them: the next one sees the same difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.config.alert_settings import DEFAULT_ROUTE
from monitoring.config.settings import Config
from monitoring.model.finding import rank, worst
from monitoring.model.incident import Incident, Incidents
from monitoring.model.outbox import MAX_SHOWN, About, Content, Delivery, Member, Notice, Outbox
from monitoring.model.silence import Silence
from monitoring.notifications.routing import quiet, route_of, silence_of

#: Runs of an incident that a message links to, and lines of evidence that it may show.
MOST_RUNS = 3
MOST_EVIDENCE = 20
#: A message takes in what merely has the same check for so long, where nothing is repeated; then a new one is better.
_JOINED_FOR = timedelta(hours=24)
#: What is over is remembered a while longer than it may come back.
_MARGIN = timedelta(hours=1)


@dataclass(frozen=True)
class Situation:
    """What there is to tell of.

    Args:
        incidents: What is open, after this check.
        closed: What was closed recently, this check's included.
        silences: Silences and maintenance windows, whether they hold or not.
        config: Routes, intervals and quiet hours.
        ui_url: Of the Prefect UI, where there is one.
        now: The time of the check.
        complete: Whether the check saw everything.
    """

    incidents: Incidents
    closed: Sequence[Incident]
    silences: Sequence[Silence]
    config: Config
    ui_url: str | None
    now: datetime
    complete: bool


def announce(outbox: Outbox, situation: Situation) -> Outbox:
    """Put into the queue what is to be said now.

    A firing incident is told of unless it is a symptom of another, silenced, or a warning in quiet hours; when the last
    of these ends and it still fires and is found, then. That it is over is told if and only if that it began was.

    Args:
        outbox: What was told, and is still to be said.
        situation: What is so.
    """
    if not situation.config.alerts.enabled or situation.incidents.settled_at is None:
        return outbox
    return _Announcer(outbox, situation).announce()


class _Announcer:
    """One pass over what is so and what was told."""

    def __init__(self, outbox: Outbox, situation: Situation) -> None:
        self._outbox = outbox
        self._at = situation
        self._alerts = situation.config.alerts
        self._queue = list(outbox.queue)
        self._notices: list[Notice] = []
        self._next_notice = outbox.next_notice
        self._next_delivery = outbox.next_delivery
        self._held: dict[int, str] = {}
        self._open = {one.number: one for one in situation.incidents.open.values() if one.firing}
        self._known = {one.number: one for one in situation.closed if one.number} | self._open
        self._numbers = {one.finding.fingerprint: one.id for one in situation.incidents.open.values()}

    def announce(self) -> Outbox:
        self._summarise()
        risen: list[Incident] = []
        for notice in self._outbox.notices:
            changed, up = self._followed(notice)
            risen += up
            self._notices.append(changed)
        told = {member.number for notice in self._notices for member in notice.members if not member.moved}
        told |= {one.number for one in risen}
        news = [one for one in self._open.values() if one.number not in told]
        self._tell("risen", risen)
        self._tell("opened", [one for one in news if self._is_news(one) and not self._held_back(one)])
        self._repeat()
        # What waits to be sent belongs to its message.
        waiting = {delivery.notice for delivery in self._queue}
        kept = [
            notice
            for notice in self._notices
            if notice.number in waiting or self._may_change(notice) or self._may_come_back(notice)
        ]
        return self._outbox.model_copy(
            update={
                "queue": tuple(self._queue),
                "notices": tuple(kept),
                "next_notice": self._next_notice,
                "next_delivery": self._next_delivery,
                "held": self._held,
                # Whoever says later where to tell it is told of what is left then.
                "summarised": self._outbox.summarised or self._leads_somewhere(DEFAULT_ROUTE),
            }
        )

    # --- what is so ---------------------------------------------------------------------------------

    def _is_news(self, incident: Incident) -> bool:
        """What was there when the watchdog began is none, until it gets worse."""
        settled = self._at.incidents.settled_at
        return not incident.known_before or any(
            step.reason == "worse" and settled is not None and step.at > settled for step in incident.history
        )

    def _held_back(self, incident: Incident) -> str:
        """Why nobody is told of it now; empty where they are. The reason is kept, to be given when they are."""
        why = self._explained(incident) or self._just_freed(incident) or self._muted(incident) or _away(incident)
        if why:
            self._held[incident.number] = why
        return why

    def _explained(self, incident: Incident) -> str:
        cause = incident.finding.symptom_of
        if cause in self._numbers and not self._explains_itself(incident):
            return f"explained by {self._numbers[cause] or 'what may be its cause'}"
        return "explained by what was closed by hand" if cause in self._at.incidents.closed_by_hand else ""

    def _explains_itself(self, incident: Incident) -> bool:
        """Whether its cause is in the end itself, as where deployments start each other."""
        open_, own = self._at.incidents.open, incident.finding.fingerprint
        seen: set[str] = set()
        cause = incident.finding.symptom_of
        while cause and cause in open_ and cause not in seen and cause != own:
            seen.add(cause)
            cause = open_[cause].finding.symptom_of
        return cause == own

    def _just_freed(self, incident: Incident) -> str:
        """What explained it is over: it gets one complete check to be over as well."""
        freed, now = incident.freed_at, self._at.now
        # Another check than that which freed it, whatever became of the clock since.
        if freed is None or (self._at.complete and now != freed):
            return ""
        waited = now - freed >= self._at.config.watchdog.incomplete_for
        return "" if waited else "what explained it was just over"

    def _may_rise(self, incident: Incident) -> bool:
        """Whether people are told now that it got critical; until they are, it stays with its message."""
        held = self._explained(incident) or self._just_freed(incident) or self._muted(incident) or _away(incident)
        return self._leads_somewhere(route_of(incident, self._at.config)) and not held

    def _muted(self, incident: Incident) -> str:
        if silenced := _silenced(silence_of(incident, self._at.silences, self._at.now)):
            return silenced
        if incident.finding.severity == "warning" and quiet(self._alerts.quiet_hours, self._at.now):
            return "quiet hours"
        return ""

    def _still_matters(self, incident: Incident) -> bool:
        """Whether people who were told of it may have to hear again that it lasts."""
        found = incident.unseen_since is None and incident.acknowledged is None
        return found and not self._explained(incident)

    def _editable(self, route: str) -> bool:
        receiver = self._at.config.receiver(route)
        return receiver is not None and receiver.kind == "channel"

    def _leads_somewhere(self, route: str) -> bool:
        receiver = self._at.config.receiver(route)
        return receiver is not None and receiver.kind is not None

    def _may_change(self, notice: Notice) -> bool:
        """Whether something in it lasts, told in a newer one or not: both say in the end that it is over."""
        return notice.open or any(member.number in self._open for member in notice.members)

    def _may_come_back(self, notice: Notice) -> bool:
        return self._at.now - notice.changed_at < self._alerts.reopen_within + _MARGIN

    def _changed_lately(self, notice: Notice) -> bool:
        """Whether the next change of a message has to wait.

        One that changes now anyway takes in what joins it, which would wait for ever where it changes at every check.
        """
        return timedelta(0) < self._at.now - notice.changed_at < self._alerts.group_interval

    # --- what was told ------------------------------------------------------------------------------

    def _followed(self, notice: Notice) -> tuple[Notice, list[Incident]]:
        """The notice as it has to be now, and those of its incidents that are told anew as they got critical."""
        members: list[Member] = []
        over: list[Incident] = []
        back: list[Incident] = []
        risen: list[Incident] = []
        heard: dict[str, Incident] = {}
        for member in notice.members:
            incident = self._known.get(member.number)
            if member.moved:
                members.append(member)
            elif incident is None or incident.resolved_at is not None:
                if incident is not None and not member.resolved:
                    over.append(incident)
                members.append(member.model_copy(update={"resolved": True}))
            elif rank(incident.finding.severity) > rank(member.severity) and self._may_rise(incident):
                risen.append(incident)
                members.append(member.model_copy(update={"moved": True}))
            else:
                silenced = _silenced(silence_of(incident, self._at.silences, self._at.now))
                if member.resolved:
                    back.append(incident)
                elif member.silenced and not silenced and self._still_matters(incident):
                    if self._muted(incident):
                        silenced = member.silenced
                    else:
                        heard[f"{incident.id} still fires, and is silenced no more by {member.silenced}"] = incident
                told = {"resolved": False, "silenced": silenced, **self._severity(member, incident)}
                members.append(member.model_copy(update=told))
        after = notice.model_copy(update={"members": tuple(members)})
        if over:
            self._say(after, "resolved", over, broadcast=not after.open)
        if back:
            self._say(after, "reopened", back, broadcast=True)
        if heard:
            self._say(after, "repeated", list(heard.values()), broadcast=True, notes=tuple(heard)[:MAX_SHOWN])
        return self._edited(after, at_once=bool(over or back or risen)), risen

    def _severity(self, member: Member, incident: Incident) -> dict[str, object]:
        """What people think of how severe it is: what has been milder for long is news when it gets worse again."""
        now, severity = self._at.now, incident.finding.severity
        if rank(member.severity) <= rank(severity):
            return {"milder_since": None}
        since = member.milder_since or now
        if now - since < self._alerts.reopen_within:
            return {"milder_since": since}
        return {"severity": severity, "milder_since": None}

    def _edited(self, notice: Notice, *, at_once: bool) -> Notice:
        """The notice with its message changed, if it has to say something else and may by now."""
        incidents = self._of(notice)
        if not incidents:
            # Whatever became of them was forgotten, and with it what there is to say.
            return notice
        content = self._content("opened", incidents)
        says = _says(content)
        if says == notice.says or (self._changed_lately(notice) and not at_once):
            return notice
        if self._editable(notice.route):
            self._update(notice, content)
        return notice.model_copy(update={"says": says, "changed_at": self._at.now})

    def _of(self, notice: Notice) -> list[Incident]:
        return [self._known[one.number] for one in notice.members if one.number in self._known]

    # --- what is said -------------------------------------------------------------------------------

    def _tell(self, about: About, incidents: Iterable[Incident]) -> None:
        """Tell of incidents that nobody was told of, or that got critical; what belongs together in one message."""
        together: dict[tuple[str, str], list[Incident]] = {}
        for incident in incidents:
            route = route_of(incident, self._at.config)
            if self._leads_somewhere(route):
                together.setdefault((route, _group(incident)), []).append(incident)
        for (route, group), members in together.items():
            joined = self._joined(route, group, members) if about == "opened" else members
            if joined:
                self._open_notice(about, route, group, joined)

    def _open_notice(self, about: About, route: str, group: str, incidents: Sequence[Incident]) -> None:
        content = self._content(about, incidents)
        notice = Notice(
            number=self._next_notice,
            route=route,
            group=group,
            members=_members(incidents),
            posted_at=self._at.now,
            changed_at=self._at.now,
            says=_says(self._content("opened", incidents)),
        )
        self._next_notice += 1
        self._notices.append(notice)
        self._queued("post", notice, content)
        if self._editable(route) and _has_details(content):
            self._queued("reply", notice, self._content("details", incidents))

    def _joined(self, route: str, group: str, incidents: Sequence[Incident]) -> list[Incident]:
        """Let incidents join a message that tells of the same; return those that cannot."""
        for index in reversed(range(len(self._notices))):
            notice = self._notices[index]
            fresh = notice.number >= self._outbox.next_notice
            if (notice.route, notice.group) != (route, group) or not notice.open or fresh:
                continue
            by_cause = group.startswith("cause ")
            if not by_cause and self._at.now - notice.posted_at >= (self._alerts.repeat_after or _JOINED_FOR):
                continue
            told_critical = any(member.severity == "critical" for member in notice.members)
            # An edit notifies nobody: what is critical gets a message that says so.
            fit = [one for one in incidents if told_critical or one.finding.severity != "critical"]
            if fit and not self._changed_lately(notice):
                longer = notice.model_copy(update={"members": (*notice.members, *_members(fit))})
                # A message that has yet to be sent tells of them as well as of the others.
                if not (self._editable(route) and self._unsent(notice)):
                    self._say(longer, "joined", fit, broadcast=not by_cause)
                self._notices[index] = self._edited(longer, at_once=True)
            return [one for one in incidents if one not in fit]
        return list(incidents)

    def _repeat(self) -> None:
        after = self._alerts.repeat_after
        for index, notice in enumerate(self._notices):
            if after is None or self._at.now - notice.posted_at < after:
                continue
            lasting = [
                incident
                for member in notice.members
                if not member.moved and (incident := self._open.get(member.number)) is not None
                if self._still_matters(incident) and not self._muted(incident)
                # That it is back was told as well.
                if not (incident.reopened and incident.fired_at and self._at.now - incident.fired_at < after)
            ]
            if lasting:
                again = notice.model_copy(update={"posted_at": self._at.now, "changed_at": self._at.now})
                self._notices[index] = again
                # Where nothing can be posted, what waits for it says all that a repeat would.
                if not any(one.notice == notice.number and one.kind == "post" for one in self._queue):
                    self._queued("post", again, self._content("repeated", lasting))

    def _summarise(self) -> None:
        """Say once what was known when the watchdog began; a server that was healthy then has nothing to say."""
        known = [one for one in self._open.values() if one.known_before]
        if not self._outbox.summarised and known and self._leads_somewhere(DEFAULT_ROUTE):
            self._add("post", DEFAULT_ROUTE, 0, self._content("known-before", known))

    def _say(
        self,
        notice: Notice,
        about: About,
        incidents: Sequence[Incident],
        *,
        broadcast: bool,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Say something about a notice: in its thread, or in a message of its own where there are no threads."""
        content = self._content(about, incidents)
        content = content.model_copy(update={"notes": (*content.notes, *notes)})
        if self._editable(notice.route):
            self._queued("reply", notice, content, broadcast=broadcast)
        else:
            self._queued("post", notice, content)

    def _update(self, notice: Notice, content: Content) -> None:
        """Change a message; where an earlier change, or the message itself, has yet to be sent, change that."""
        post = self._unsent(notice)
        if post is not None and post.content is not None:
            kept = {"about": post.content.about, "notes": (*post.content.notes, *content.notes)}
            fresh = post.model_copy(update={"content": content.model_copy(update=kept)})
            self._queue = [fresh if one.id == post.id else one for one in self._queue]
            return
        self._queue = [one for one in self._queue if one.kind != "update" or one.notice != notice.number]
        self._queued("update", notice, content)

    def _unsent(self, notice: Notice) -> Delivery | None:
        """The post of a notice, if it is in the queue and surely not sent."""
        waiting = (one for one in self._queue if one.notice == notice.number and one.kind == "post")
        return next(
            (one for one in waiting if not one.doubtful and one.content and one.content.about != "repeated"), None
        )

    def _queued(self, kind: str, notice: Notice, content: Content, *, broadcast: bool = False) -> None:
        self._add(kind, notice.route, notice.number, content, broadcast)

    def _add(self, kind: str, route: str, notice: int, content: Content, broadcast: bool = False) -> None:
        delivery = Delivery.model_validate(
            {
                "id": f"{self._at.config.target.name}-{self._next_delivery}",
                "kind": kind,
                "route": route,
                "notice": notice,
                "content": content,
                "broadcast": broadcast,
                "queued_at": self._at.now,
            }
        )
        self._queue.append(delivery)
        self._next_delivery += 1

    def _content(self, about: About, incidents: Sequence[Incident]) -> Content:
        # Those that are over come last, so that what still lasts is seen.
        rows = sorted(incidents, key=lambda one: (one.resolved_at is not None, -rank(one.finding.severity), one.number))
        lasting = [one for one in rows if one.resolved_at is None]
        held = self._outbox.held
        return Content(
            about=about,
            target=self._at.config.target.name,
            at=self._at.now,
            incidents=tuple(_slim(one, evidence=about == "details") for one in rows[:MAX_SHOWN]),
            total=len(rows),
            open=len(lasting),
            severity=worst(one.finding.severity for one in lasting or rows),
            explained_by={
                one.id: cause
                for one in lasting
                # What is only pending has no number that people could look up.
                if (cause := self._numbers.get(one.finding.symptom_of or ""))
            },
            notes=tuple(
                f"{one.id} is told only now: {held[one.number]}" for one in rows[:MAX_SHOWN] if one.number in held
            )
            if about in ("opened", "joined")
            else (),
            ui_url=self._at.ui_url,
            traceback=self._alerts.traceback,
        )


def _silenced(silence: Silence | None) -> str:
    """Name a silence for people; empty for none."""
    if silence is None:
        return ""
    return f"{silence.id or 'maintenance'} ({silence.reason}) until {silence.ends_at:%Y-%m-%d %H:%M} UTC"


def _away(incident: Incident) -> str:
    """Open and not found any more: it may be over, and is told of when it is found again."""
    return "" if incident.unseen_since is None else "not found by the check before"


def _group(incident: Incident) -> str:
    cause = incident.finding.cause
    return " ".join(("cause", *cause.what)) if cause else f"check {incident.finding.check}"


def _members(incidents: Iterable[Incident]) -> tuple[Member, ...]:
    return tuple(Member(number=one.number, severity=one.finding.severity) for one in incidents)


def _has_details(content: Content) -> bool:
    return any(one.finding.flow_run_ids or one.finding.evidence for one in content.incidents)


def _slim(incident: Incident, *, evidence: bool) -> Incident:
    """What a message needs of an incident: a queue of hundreds is read and written often."""
    finding = incident.finding
    lines = finding.evidence[-MOST_EVIDENCE:] if evidence else ()
    short = finding.model_copy(update={"flow_run_ids": finding.flow_run_ids[:MOST_RUNS], "evidence": lines})
    return incident.model_copy(update={"finding": short, "history": ()})


def _says(content: Content) -> str:
    """Name what a message says, without the words that move with the clock."""
    parts = [str(content.total), str(content.open), str(sorted(content.explained_by.items()))]
    for one in content.incidents:
        known: Mapping[str, object] = one.finding.model_dump(include={"severity", "flow_run_count", "owner"})
        parts += [one.id, str(sorted(known.items())), str(one.resolution), str(one.acknowledged)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
