"""Whatever happens, in whatever order: which notifications must have been sent, and which must not.

The machine plays findings that come, go, get worse and become symptoms, answers that are not whole, a clock that jumps,
silences, acknowledgements, receivers that fail, and checks that die at any point between saving one thing and the next.
A model of what people may expect, far simpler than what it watches, judges what each check plans, and what arrives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from monitoring.errors import DeliveryError
from monitoring.model.finding import Cause, Finding
from monitoring.model.incident import Incident
from monitoring.model.outbox import Content, Delivery, MessageRef, Outbox
from monitoring.model.request import Request
from monitoring.model.silence import Silence
from tests.support.simulation import POOL, Channel, Watchdog, problem

NAMES = ("etl/a", "etl/b", "ml/c")
GPU = problem("gpu", "work-pool", kind="work-pool", severity="critical", cause=POOL)
#: What several incidents may have in common.
LIMIT = Cause(kind="tag", name="database", reason="limit-reached")
MINUTE = timedelta(minutes=1)
REPEAT_AFTER = timedelta(hours=2)
#: Notifications that call people, and those of an incident that fires.
CALLS = ("opened", "joined", "risen")
FIRES = (*CALLS, "reopened", "repeated")


class Killed(Exception):
    """The check died."""


class Dying(Watchdog):
    """A watchdog that can be killed before and after everything that it saves or sends."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.left: int | None = None
        #: Known incidents that a silence covers: people are to be notified when it ends.
        self.muted: set[int] = set()

    def step(self) -> None:
        """One more point at which it may die."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def decide(self, *args: Any, **kwargs: Any) -> Any:
        before = (self.incidents, self.filed, self.silences, self.outbox)
        moved = super().decide(*args, **kwargs)
        after = (self.incidents, self.filed, self.silences, self.outbox)
        # What was decided is saved one document after the other.
        self.incidents, self.filed, self.silences, self.outbox = before
        self.step()
        self.filed = after[1]
        self.step()
        self.silences = after[2]
        self.incidents = after[0]
        self.step()
        self.outbox = after[3]
        self.judge(before[3], after[3])
        self.step()
        return moved

    def judge(self, before: Outbox, planned: Outbox) -> None:
        """What a check has planned is due, and about those who belong together."""
        keys = Counter[tuple[str, ...]]()
        known = {delivery.id: delivery for delivery in before.queue}
        for delivery in planned.queue:
            content, earlier = delivery.content, known.get(delivery.id)
            if content is None or (earlier and earlier.content == content):
                continue
            self._judge_causes(content)
            if earlier is None and delivery.kind != "update":
                self._judge_due(content, delivery, before)
                self.muted -= {incident.number for incident in content.incidents}
                if content.about in ("opened", "risen"):
                    keys.update({(content.about, *_key(incident)) for incident in content.incidents})
        # One message for those who belong together.
        assert all(count == 1 for count in keys.values()), keys
        covered = {
            member.number
            for notification in planned.notifications
            for member in notification.members
            if not (member.moved or member.resolved)
        }
        firing = {incident.number: incident for incident in self.incidents.open.values() if incident.firing}
        self.muted |= {number for number in covered & firing.keys() if self.silenced(firing[number])}
        self.muted &= {number for number in covered & firing.keys() if not self._lapsed(firing[number])}

    def _lapsed(self, incident: Incident) -> bool:
        """Whether there is another reason not to notify people when the silence of an incident ends."""
        return incident.acknowledged is not None or not (self.silenced(incident) or self._may_be_seen(incident))

    def _may_be_seen(self, incident: Incident) -> bool:
        causes = {*self.incidents.open, *self.incidents.closed_by_hand}
        return incident.finding.symptom_of not in causes and incident.unseen_since is None

    def _judge_causes(self, content: Content) -> None:
        """A message names the cause of each symptom in it."""
        ids = {incident.finding.fingerprint: incident.id for incident in self.incidents.open.values()}
        causes = {
            incident.id: ids.get(incident.finding.symptom_of or "") for incident in content.incidents if incident.firing
        }
        assert dict(content.explained_by) == {symptom: cause for symptom, cause in causes.items() if cause}

    def _judge_due(self, content: Content, delivery: Delivery, before: Outbox) -> None:
        """Nobody is notified against a silence, in quiet hours, of a symptom, or too often."""
        if content.about in ("opened", "joined", "risen"):
            assert len({_key(incident) for incident in content.incidents}) == 1
        if content.about == "repeated" and not content.notes:
            [posted_at] = [old.posted_at for old in before.notifications if old.number == delivery.notification]
            assert self.now - posted_at >= REPEAT_AFTER
        for incident in content.incidents:
            if content.about in (*CALLS, "repeated"):
                assert not self.suppressed(incident), (content.about, incident.id)
            if content.about in CALLS:
                assert incident.uninhibited_at != self.now, "its cause has just ended, and it may end with it"
                steps = {step.reason for step in self.fires(incident.finding).history}
                assert not incident.preexisting or "worse" in steps
            if content.about == "joined" and incident.finding.severity == "critical":
                [joined] = [old for old in before.notifications if old.number == delivery.notification]
                assert any(member.severity == "critical" for member in joined.members)
            assert not (content.about == "repeated" and incident.acknowledged)

    def suppressed(self, incident: Incident) -> bool:
        """Whether there is one of the four reasons not to notify people of a firing incident."""
        waits = incident.finding.severity == "warning" and self.quiet_hours and 13 <= self.now.hour < 16
        return self.silenced(incident) or waits or not self._may_be_seen(incident)

    def silenced(self, incident: Incident) -> bool:
        """Whether a silence covers the incident now."""
        return any(
            silence.active(self.now)
            and silence.deployment is not None
            and _matches(silence.deployment, incident.finding.subject.name)
            for silence in self.silences.known
        )

    @property
    def quiet_hours(self) -> bool:
        """Whether warnings wait in the afternoon."""
        return self.policies.config.alerts.quiet_hours.begin is not None

    def save(self, outbox: Any) -> None:
        self.step()
        self.outbox = outbox
        self.step()


class Unreliable(Channel):
    """A channel whose check dies, or whose answer is lost, right before or after it takes a message."""

    def __init__(self, *, readable: bool, editable: bool = True) -> None:
        super().__init__(readable=readable, editable=editable)
        self.watchdog: Dying | None = None

    def post(self, delivery: Delivery, thread: MessageRef | None) -> MessageRef | None:
        assert self.watchdog
        self.watchdog.step()
        posted = super().post(delivery, thread)
        self.watchdog.step()
        return posted


class Announcing(RuleBasedStateMachine):
    """Checks, and what happens between them."""

    @initialize(
        readable=st.booleans(),
        editable=st.booleans(),
        quiet_hours=st.booleans(),
        settled=st.booleans(),
        repeats=st.booleans(),
    )
    def begin(self, readable: bool, editable: bool, quiet_hours: bool, settled: bool, repeats: bool) -> None:
        channel = Unreliable(readable=readable, editable=editable)
        default = {} if editable else {"alerts": {"default": {"webhook_secret": "hook"}}}
        alerts = {**default.get("alerts", {}), "repeat_after": REPEAT_AFTER if repeats else None}
        if quiet_hours:
            alerts["quiet_hours"] = {"begin": "13:00", "end": "16:00"}
        self.watchdog = Dying({"default": channel}, settled=settled, alerts=alerts)
        channel.watchdog = self.watchdog
        self.channel = channel
        self.here: dict[str, Finding] = {}
        self.requests: list[Request] = []
        self.asked = 0
        self.deaths = 0
        self.doubts = 0

    # --- what happens ----------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(NAMES),
        severity=st.sampled_from(["warning", "critical"]),
        check=st.sampled_from(["late", "stuck"]),
        cause=st.sampled_from([None, None, LIMIT]),
    )
    def breaks(self, name: str, severity: Any, check: Any, cause: Cause | None) -> None:
        self.here[name] = problem(name, check, severity=severity, cause=cause)

    @rule(severity=st.sampled_from(["warning", "critical"]))
    def several_break(self, severity: Any) -> None:
        """In one check, by two checks."""
        for name, check in zip(NAMES, ("late", "stuck", "late"), strict=True):
            self.here[name] = problem(name, check, severity=severity)
        self._check(5, complete=True)

    @rule(name=st.sampled_from(NAMES))
    def mends(self, name: str) -> None:
        self.here.pop(name, None)

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def becomes_critical(self, data: Any) -> None:
        """After people were notified of it as a warning, perhaps."""
        name = data.draw(st.sampled_from(sorted(self.here)))
        self._check(5, complete=True)
        self.here[name] = self.here[name].model_copy(update={"severity": "critical"})
        self._check(5, complete=True)

    @precondition(lambda self: self.here)
    @rule(data=st.data(), complete=st.booleans())
    def goes_and_comes_back(self, data: Any, complete: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.here)))
        finding = self.here.pop(name)
        self._check(5, complete)
        self.here[name] = finding
        self._check(5, complete=True)

    @rule(complete=st.booleans())
    def pool_dies_and_lives(self, complete: bool) -> None:
        self.here |= {"gpu": GPU, "ml/c": problem("ml/c")}
        self._check(5, complete=True)
        del self.here["gpu"]
        self._check(5, complete)

    @rule()
    def pool_dies(self) -> None:
        self.here["gpu"] = GPU

    @rule()
    def pool_lives(self) -> None:
        self.here.pop("gpu", None)

    @rule(minutes=st.integers(1, 180), pattern=st.sampled_from(["etl/*", "ml/c", "etl/a"]), checked=st.booleans())
    def silence(self, minutes: int, pattern: str, checked: bool) -> None:
        if checked:
            # Of what people know already.
            self._check(5, complete=True)
        now = self.watchdog.now
        what = Silence(deployment=pattern, starts_at=now, ends_at=now + minutes * MINUTE)
        self._ask("silence", silence=what)
        if checked:
            self._check(1, complete=True)

    @rule(number=st.integers(1, 6), later=st.booleans())
    def acknowledge(self, number: int, later: bool) -> None:
        self._check(5, complete=True)
        self._ask("acknowledge", subject=f"W-{number}")
        if later:
            # After the next reminder.
            self._check(121, complete=True)

    @rule(number=st.integers(1, 6))
    def close(self, number: int) -> None:
        self._ask("close", subject=f"W-{number}")

    @rule(permanent=st.booleans())
    def receiver_fails(self, permanent: bool) -> None:
        self.channel.fault = lambda _: DeliveryError("no", permanent=permanent)

    @rule()
    def receiver_works(self) -> None:
        self.channel.fault = lambda _: None

    @rule(minutes=st.sampled_from([1, 5, 61, -3, 300]), complete=st.booleans())
    def check(self, minutes: int, complete: bool) -> None:
        self._check(minutes, complete)

    @rule(left=st.integers(0, 14), minutes=st.sampled_from([1, 5]))
    def check_is_killed(self, left: int, minutes: int) -> None:
        self.watchdog.left = left
        try:
            self._check(minutes, complete=True)
        except Killed:
            self.deaths += 1
        finally:
            self.watchdog.left = None

    # --- what must be so --------------------------------------------------------------------------

    @invariant()
    def nothing_is_told_of_twice_but_for_a_death(self) -> None:
        if not hasattr(self, "watchdog"):
            return
        notified = Counter(self._notified("opened", "joined"))
        assert max(notified.values(), default=1) - 1 <= (0 if self.channel.readable else self.deaths)

    @invariant()
    def nobody_is_told_of_an_end_who_was_not_told_of_the_beginning(self) -> None:
        if hasattr(self, "watchdog"):
            assert set(self._notified("resolved")) <= set(self._notified("opened", "joined", "risen"))

    @invariant()
    def an_end_is_told_after_its_beginning_and_once(self) -> None:
        if not hasattr(self, "watchdog"):
            return
        firing: Counter[str] = Counter()
        twice: Counter[str] = Counter()
        for delivery in self.channel.log:
            assert delivery.content is not None
            for incident in delivery.content.incidents:
                if delivery.content.about in ("opened", "joined", "risen", "reopened"):
                    firing[incident.id] = 1
                elif delivery.content.about == "resolved":
                    twice[incident.id] += not firing[incident.id]
                    firing[incident.id] = 0
        assert max(twice.values(), default=0) <= (0 if self.channel.readable else self.deaths)

    def teardown(self) -> None:
        """In the end, when all works and is resolved, people were notified of every resolution."""
        if not hasattr(self, "watchdog"):
            return
        self.receiver_works()
        for _ in range(9):
            self._check(61, complete=True)
        self._everything_is_notified()
        self.here.clear()
        # Past the quiet hours, the silences, the longest wait for a receiver, and the time in which things come back.
        for _ in range(6):
            self._check(61, complete=True)
        assert [delivery.kind for delivery in self.watchdog.outbox.queue] == []
        assert not [incident for incident in self.watchdog.incidents.open.values() if incident.firing]
        fired, resolved = set(self._notified(*CALLS)), set(self._notified("resolved"))
        assert resolved == fired
        # A message whose sending was interrupted may stay as it was, beside its repetition.
        assert not (self.channel.editable and not self.deaths and self._shown_as_firing())

    def _everything_is_notified(self) -> None:
        """People know what fires and is found, and how severe it is, unless there is a reason not to notify them."""
        watchdog = self.watchdog
        known = {incident.id: (content, incident) for content, incident in self._arrived()}
        critical = {incident.id for _, incident in self._arrived() if incident.finding.severity == "critical"}
        for incident in watchdog.incidents.open.values():
            if not incident.firing or watchdog.suppressed(incident):
                continue
            if incident.preexisting and incident.id not in known:
                summarised = "preexisting" in (about for about, _ in self.channel.sent())
                assert summarised, "the first check found it, and no summary was sent"
                continue
            content, saved = known[incident.id]
            assert saved.firing
            # Severity that flaps is notified once.
            assert incident.finding.severity == "warning" or incident.id in critical
            if not incident.acknowledged:
                assert incident.number not in watchdog.muted, "its silence has ended"
                # Twice the interval if it shares a message with another, and the quiet hours.
                repeats = watchdog.policies.config.alerts.repeat_after is not None
                assert not repeats or watchdog.now - content.at < 2 * REPEAT_AFTER + 4 * 61 * MINUTE

    def _arrived(self) -> Iterator[tuple[Content, Incident]]:
        """What people were notified of, in the order in which it arrived."""
        for delivery in self.channel.log:
            content = delivery.content
            if content and content.about in (*FIRES, "resolved"):
                yield from ((content, incident) for incident in content.incidents)

    def _ask(self, what: str, **fields: Any) -> None:
        self.asked += 1
        name = f"request-{self.asked}"
        values = {"name": name, "what": what, "at": self.watchdog.now, "by": "ann", "note": "why", **fields}
        self.requests.append(Request.model_validate(values))

    def _check(self, minutes: int, complete: bool) -> None:
        found = dict(self.here)
        if "gpu" in found and "ml/c" in found:
            found["ml/c"] = found["ml/c"].model_copy(update={"symptom_of": GPU.fingerprint, "cause": POOL})
        self.watchdog.check(*found.values(), after=minutes * MINUTE, complete=complete, requests=self.requests)
        # They are forgotten last, so that a check which dies does them again.
        self.requests = []

    def _shown_as_firing(self) -> set[str]:
        """The incidents that the newest message about them shows as firing."""
        newest = {
            incident.id: incident.firing
            for message in self.channel.messages
            if message.posted.about != "preexisting"
            for incident in message.content.incidents
        }
        return {name for name, firing in newest.items() if firing}

    def _notified(self, *about: str) -> list[str]:
        return [name for what, shown in self.channel.sent() if what in about for name in shown]


def _key(incident: Incident) -> tuple[str, ...]:
    """What incidents of one message have in common."""
    cause = incident.finding.cause
    return ("cause", cause.kind, cause.name) if cause else ("check", incident.finding.check)


def _matches(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))


TestAnnouncing = Announcing.TestCase
TestAnnouncing.settings = settings(max_examples=200, stateful_step_count=25)
