"""Whatever happens, in whatever order: who must have been told what, and who must not.

The machine plays findings that come, go, get worse and become symptoms, answers that are not whole, a clock that jumps,
silences, acknowledgements, receivers that fail, and checks that die at any point between saving one thing and the next.
A model of what people may expect, far simpler than what it watches, judges after each check.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from monitoring.errors import DeliveryError
from monitoring.model.finding import Finding
from monitoring.model.outbox import Delivery, MessageRef
from monitoring.model.request import Request
from monitoring.model.silence import Silence
from monitoring.notifications.routing import quiet
from tests.support.simulation import POOL, Channel, Watchdog, problem

NAMES = ("etl/a", "etl/b", "ml/c")
GPU = problem("gpu", "work-pool", kind="work-pool", severity="critical", cause=POOL)
MINUTE = timedelta(minutes=1)


class Killed(Exception):
    """The check died."""


class Dying(Watchdog):
    """A watchdog that can be killed before and after everything that it saves or sends."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.left: int | None = None

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
        self.step()
        return moved

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

    @initialize(readable=st.booleans(), editable=st.booleans(), quiet_hours=st.booleans(), settled=st.booleans())
    def begin(self, readable: bool, editable: bool, quiet_hours: bool, settled: bool) -> None:
        channel = Unreliable(readable=readable, editable=editable)
        default = {} if editable else {"alerts": {"default": {"webhook_secret": "hook"}}}
        alerts = {**default.get("alerts", {}), "repeat_after": None}
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

    @rule(name=st.sampled_from(NAMES), severity=st.sampled_from(["warning", "critical"]))
    def breaks(self, name: str, severity: Any) -> None:
        self.here[name] = problem(name, severity=severity)

    @rule(name=st.sampled_from(NAMES))
    def mends(self, name: str) -> None:
        self.here.pop(name, None)

    @rule()
    def pool_dies(self) -> None:
        self.here["gpu"] = GPU

    @rule()
    def pool_lives(self) -> None:
        self.here.pop("gpu", None)

    @rule(minutes=st.integers(1, 180), pattern=st.sampled_from(["etl/*", "ml/c", "etl/a"]))
    def silence(self, minutes: int, pattern: str) -> None:
        now = self.watchdog.now
        what = Silence(deployment=pattern, starts_at=now, ends_at=now + minutes * MINUTE)
        self._ask("silence", silence=what)

    @rule(number=st.integers(1, 6))
    def acknowledge(self, number: int) -> None:
        self._ask("acknowledge", subject=f"W-{number}")

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
        assert sum(count - 1 for count in notified.values()) <= (0 if self.channel.readable else self.deaths)

    @invariant()
    def nobody_is_told_of_an_end_who_was_not_told_of_the_beginning(self) -> None:
        if hasattr(self, "watchdog"):
            assert set(self._notified("resolved")) <= set(self._notified("opened", "joined", "risen"))

    @invariant()
    def an_end_is_told_after_its_beginning_and_once(self) -> None:
        if not hasattr(self, "watchdog"):
            return
        firing: Counter[str] = Counter()
        twice = 0
        for delivery in self.channel.log:
            assert delivery.content is not None
            for incident in delivery.content.incidents:
                if delivery.content.about in ("opened", "joined", "risen", "reopened"):
                    firing[incident.id] = 1
                elif delivery.content.about == "resolved":
                    twice += not firing[incident.id]
                    firing[incident.id] = 0
        assert twice <= (0 if self.channel.readable else self.deaths)

    def teardown(self) -> None:
        """In the end, when all works and is over, everything has been told of to its end."""
        if not hasattr(self, "watchdog"):
            return
        self.receiver_works()
        for _ in range(4):
            self._check(61, complete=True)
        self._everything_is_notified()
        self.here.clear()
        # Past the quiet hours, the silences, the longest wait for a receiver, and the time in which things come back.
        for _ in range(6):
            self._check(61, complete=True)
        assert [one.kind for one in self.watchdog.outbox.queue] == []
        assert not [one for one in self.watchdog.incidents.open.values() if one.firing]
        fired, resolved = set(self._notified("opened", "joined", "risen")), set(self._notified("resolved"))
        assert resolved == fired

    def _everything_is_notified(self) -> None:
        """What fires and is found is told of, unless there is one of the four reasons not to."""
        watchdog = self.watchdog
        notified = set(self._notified("opened", "joined", "risen"))
        for incident in watchdog.incidents.open.values():
            silenced = any(
                one.active(watchdog.now) and one.deployment and _matches(one.deployment, incident.finding.subject.name)
                for one in watchdog.silences.known
            )
            waits = incident.finding.severity == "warning" and quiet(
                watchdog.policies.config.alerts.quiet_hours, watchdog.now
            )
            symptom = incident.finding.symptom_of is not None
            away = incident.unseen_since is not None
            if incident.firing and not (incident.preexisting or silenced or waits or symptom or away):
                assert incident.id in notified

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

    def _notified(self, *about: str) -> list[str]:
        return [one for what, shown in self.channel.sent() if what in about for one in shown]


def _matches(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))


TestAnnouncing = Announcing.TestCase
TestAnnouncing.settings = settings(max_examples=200, stateful_step_count=25)
