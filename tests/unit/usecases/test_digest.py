"""The digest on its way through the outbox: saved before it is sent, sent once a day, and never lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.config.policy import Policies
from monitoring.errors import DeliveryError, LockLost, StateError, Unreachable, WatchdogError
from monitoring.failures.error_names import failure_of
from monitoring.messages.delivery_message import delivery_message
from monitoring.model.coverage import Coverage, Query
from monitoring.model.incident import Incident
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.prefect import FlowRun
from monitoring.model.report import DigestReport, Totals
from monitoring.model.saved_state import PublishedArtifact, SavedState
from monitoring.notifications.ports import Notifier
from monitoring.notifications.sender import Sender
from monitoring.usecases.digest import DigestPorts, digest
from tests.support.builders import NOW, hours, minutes, observation, policies, run
from tests.support.simulation import Channel

DAY = hours(24)


class Installation:
    """A server that is well, with a saved state, a lock and receivers."""

    def __init__(self, **settings: Any) -> None:
        self.channels = {"watchdog-digest": Channel(), "fallback": Channel()}
        self.policies = policies(**{"slack": {"channel": "ops"}, **settings})
        self.saved = SavedState()
        self.saves = 0
        self.published = 0
        self.free = True
        #: What fails: publishing, or the nth time that the state is saved.
        self.artifact_fault: WatchdogError | None = None
        self.save_fault: tuple[int, WatchdogError] | None = None
        #: Why a route cannot be used.
        self.unusable: DeliveryError | None = None

    @property
    def channel(self) -> Channel:
        return self.channels["watchdog-digest"]

    @property
    def queued(self) -> list[str]:
        return [delivery.id for delivery in self.saved.outbox.queue]

    def digest(self, now: datetime = NOW) -> str:
        ports = DigestPorts(reader=self, state=self, lock=self, notifier=self.notifier, artifacts=self)
        return digest(ports, self.policies, now)

    def check(self, now: datetime) -> None:
        """The part of a check that sends."""

        def save(outbox: Any) -> None:
            self.saved = self.saved.model_copy(update={"outbox": outbox})

        Sender(self.notifier, save, self.policies.config, now).send(self.saved.outbox)

    def notifier(self, route: str) -> Notifier:
        if self.unusable:
            raise self.unusable
        return self.channels[route]

    # --- ports --------------------------------------------------------------------------------------

    def observe(self, now: datetime, ledger: Ledger, policies: Policies) -> Observation:
        return observation(at=now)

    def totals(
        self, periods: Sequence[tuple[datetime, datetime]], now: datetime, policies: Policies
    ) -> tuple[tuple[Totals | None, ...], Query]:
        return tuple(None for _ in periods), Query(name="totals", outcome="complete")

    def failures(self, start: datetime, now: datetime, policies: Policies) -> tuple[tuple[FlowRun, ...], Query]:
        return (), Query(name="recent-failures", outcome="complete")

    def load(self) -> tuple[SavedState, Coverage]:
        return self.saved, Coverage()

    def save(self, before: SavedState, after: SavedState) -> None:
        self.saves += 1
        if self.save_fault and self.saves == self.save_fault[0]:
            raise self.save_fault[1]
        self.saved = after

    def all_closed(self) -> tuple[Incident, ...]:
        return self.saved.closed

    def names_set_aside(self) -> tuple[str, ...]:
        return ()

    @contextmanager
    def hold(self, patience: timedelta = DAY) -> Iterator[bool]:
        yield self.free

    def keep(self) -> None:
        """Nobody else wants it."""

    def publish_health(self, *_: Any) -> Mapping[str, PublishedArtifact]:
        raise AssertionError("a digest publishes no health")

    def publish_digest(
        self, report: DigestReport, published: Mapping[str, PublishedArtifact]
    ) -> Mapping[str, PublishedArtifact]:
        if self.artifact_fault:
            raise self.artifact_fault
        self.published += 1
        return published


def busy(**fields: Any) -> DeliveryError:
    return DeliveryError("Slack is busy", permanent=False, **fields)


def rejected() -> DeliveryError:
    return DeliveryError("invalid_auth", permanent=True)


def test_it_is_saved_before_it_is_sent_and_gone_after() -> None:
    installation = Installation()
    seen: list[tuple[list[str], list[bool]]] = []

    def look(_: Any) -> None:
        seen.append((installation.queued, [delivery.outcome_unknown for delivery in installation.saved.outbox.queue]))

    installation.channel.fault = look
    assert installation.digest() == "Nothing is wrong."
    assert seen == [(["prefect-digest-2026-11-23"], [True])]
    assert (len(installation.channel.digests), installation.queued, installation.published) == (1, [], 1)
    assert installation.saved.outbox.tallies["watchdog-digest"].sent == 1


def test_a_second_run_on_the_same_day_sends_nothing_and_one_on_the_next_day_does() -> None:
    installation = Installation()
    installation.digest()
    installation.digest(NOW + hours(1))
    assert (len(installation.channel.digests), installation.published) == (1, 2)
    installation.digest(NOW + DAY)
    assert len(installation.channel.digests) == 2


@pytest.mark.parametrize("readable", [True, False])
def test_what_could_not_be_sent_is_sent_by_the_next_check(readable: bool) -> None:
    installation = Installation()
    installation.channel.readable = readable
    installation.channel.fault = lambda _: busy()
    assert installation.digest() == "Nothing is wrong."
    assert installation.queued == ["prefect-digest-2026-11-23"]
    assert installation.saved.outbox.troubles["watchdog-digest"].problem == "Slack is busy"
    installation.channel.fault = lambda _: None
    installation.check(NOW + minutes(5))
    installation.check(NOW + minutes(10))
    assert (len(installation.channel.digests), installation.queued, installation.saved.outbox.troubles) == (1, [], {})


def test_it_is_sent_where_notifications_of_incidents_are_turned_off_by_the_digest_and_by_checks() -> None:
    installation = Installation(alerts={"enabled": False})
    installation.channel.fault = lambda _: busy()
    installation.digest()
    installation.channel.fault = lambda _: None
    installation.check(NOW + minutes(5))
    assert len(installation.channel.digests) == 1


@pytest.mark.parametrize(("later", "sent"), [(DAY - minutes(1), 1), (DAY, 0)])
def test_it_is_not_sent_when_it_is_a_day_old(later: timedelta, sent: int) -> None:
    installation = Installation()
    installation.channel.fault = lambda _: busy()
    installation.digest()
    installation.channel.fault = lambda _: None
    installation.check(NOW + later)
    assert (len(installation.channel.digests), installation.queued) == (sent, [])


def test_the_digest_of_the_next_day_takes_the_place_of_one_that_waits() -> None:
    installation = Installation()
    installation.channel.fault = lambda _: busy()
    installation.digest()
    installation.digest(NOW + hours(23))
    installation.channel.fault = lambda _: None
    installation.check(NOW + DAY)
    assert [delivery.id for delivery in installation.channel.digests] == ["prefect-digest-2026-11-24"]


def test_what_is_rejected_goes_to_the_fallback() -> None:
    installation = Installation(alerts={"fallback": {"block": "slack-webhook/ops"}})
    installation.channel.fault = lambda _: rejected()
    assert installation.digest() == "Nothing is wrong."
    assert (len(installation.channels["fallback"].digests), installation.queued) == (1, [])
    assert installation.saved.outbox.troubles["watchdog-digest"].permanent


def test_without_a_fallback_a_rejection_fails_the_run_and_checks_try_again() -> None:
    installation = Installation()
    installation.channel.fault = lambda _: rejected()
    with pytest.raises(DeliveryError, match="invalid_auth"):
        installation.digest()
    assert (installation.published, installation.channel.tries) == (1, 1)
    installation.channel.fault = lambda _: None
    installation.check(NOW + hours(1))
    assert len(installation.channel.digests) == 1


@pytest.mark.parametrize(
    ("settings", "unusable"),
    [
        ({"slack": {"channel": None}}, None),
        ({}, DeliveryError("there is no Slack token", permanent=True)),
    ],
)
def test_without_a_usable_receiver_it_is_an_artifact_only(settings: Any, unusable: DeliveryError | None) -> None:
    installation = Installation(**settings)
    installation.unusable = unusable
    assert installation.digest() == "Nothing is wrong."
    assert (installation.published, installation.queued, installation.saved.outbox.digest_day) == (1, [], None)


def test_a_secret_that_cannot_be_read_now_is_read_by_the_next_check() -> None:
    installation = Installation()
    installation.unusable = busy()
    installation.digest()
    installation.unusable = None
    installation.check(NOW + minutes(5))
    assert len(installation.channel.digests) == 1


def test_it_is_sent_though_it_could_not_be_published_and_the_run_fails() -> None:
    installation = Installation()
    installation.artifact_fault = Unreachable("no answer")
    with pytest.raises(Unreachable):
        installation.digest()
    assert len(installation.channel.digests) == 1


def test_without_the_lock_nothing_is_sent_and_the_run_fails() -> None:
    installation = Installation()
    installation.free = False
    with pytest.raises(StateError, match="run the digest again"):
        installation.digest()
    assert (installation.channel.digests, installation.saves) == ([], 0)


def test_what_a_lost_lock_leaves_is_sent_by_the_check_that_took_it() -> None:
    installation = Installation()
    # The first time it is queued, the second time its artifact is registered.
    installation.save_fault = (3, LockLost("taken over"))
    with pytest.raises(LockLost):
        installation.digest()
    assert (installation.channel.digests, installation.queued) == ([], ["prefect-digest-2026-11-23"])
    installation.check(NOW + minutes(5))
    assert len(installation.channel.digests) == 1


@pytest.mark.parametrize(
    ("settings", "receiver"),
    [
        ({"slack": {"channel": "ops"}}, ("ops", None, ())),
        ({"slack": {"channel": "ops"}, "alerts": {"default": {"channel": "alerts"}}}, ("ops", None, ())),
        # Whom alerts mention is not mentioned every day.
        ({"alerts": {"default": {"channel": "alerts", "mentions": ["here"]}}}, ("alerts", None, ())),
        # A block may be a pager.
        ({"alerts": {"default": {"block": "slack-webhook/ops"}}}, (None, None, ())),
        (
            {"slack": {"channel": "ops"}, "digest": {"receiver": {"channel": "daily", "mentions": ["here"]}}},
            ("daily", None, ("here",)),
        ),
        ({}, (None, None, ())),
    ],
)
def test_its_receiver(settings: dict[str, Any], receiver: tuple[Any, ...]) -> None:
    found = policies(**settings).config.receiver("watchdog-digest")
    assert found
    assert (found.channel, found.block, found.mentions) == receiver


@pytest.mark.parametrize("readable", [True, False])
def test_it_is_repeated_once_at_most_where_every_outcome_is_unknown(readable: bool) -> None:
    installation = Installation()
    installation.channel.readable = readable
    installation.channel.fault = lambda _: busy(outcome_unknown=True)
    installation.digest()
    for hour in range(1, 24):
        installation.check(NOW + hours(hour))
    assert (installation.channel.tries, installation.queued) == (2, [])


def test_a_digest_that_is_too_old_leaves_no_trouble_behind() -> None:
    installation = Installation()
    installation.channel.fault = lambda _: busy()
    installation.digest()
    installation.check(NOW + DAY)
    assert installation.saved.outbox.troubles == {}


def test_a_second_run_reports_a_rejection_though_the_trouble_of_the_route_is_over() -> None:
    installation = Installation()
    installation.channel.fault = lambda _: rejected()
    with pytest.raises(DeliveryError):
        installation.digest()
    outbox = installation.saved.outbox.model_copy(update={"troubles": {}})
    installation.saved = installation.saved.model_copy(update={"outbox": outbox})
    with pytest.raises(DeliveryError, match="rejected the digest"):
        installation.digest(NOW)


@pytest.mark.parametrize(("route", "mentions"), [("watchdog-digest", True), ("fallback", False)])
def test_a_fallback_mentions_nobody_for_a_digest(route: str, mentions: bool) -> None:
    installation = Installation()
    installation.channel.fault = lambda _: busy()
    installation.digest()
    [delivery] = installation.saved.outbox.queue
    assert delivery_message(delivery.model_copy(update={"route": route})).mentions is mentions


@pytest.mark.parametrize("may_show", [False, True])
def test_a_traceback_is_in_the_digest_only_where_messages_may_show_one(may_show: bool) -> None:
    class Failing(Installation):
        def observe(self, now: datetime, ledger: Ledger, policies: Policies) -> Observation:
            reason = failure_of("ValueError: no rows").model_copy(
                update={"traceback": "customer = 4711\nValueError: x"}
            )
            return observation(run("FAILED", message="ValueError: no rows"), at=now, reasons={"run": reason})

    there = Failing(alerts={"traceback": may_show})
    there.digest()
    [sent] = there.channel.digests
    assert "no rows" in str(sent.digest)
    assert ("customer = 4711" in str(sent.digest)) is may_show
