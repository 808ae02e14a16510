"""Numbers are handed over to every way out, and none that fails is in another's way, or the check's."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from monitoring.alerting.values import Trouble
from monitoring.errors import DeliveryError, Unreachable
from monitoring.measuring import Measuring, hand_over
from monitoring.metrics.measure import Effort
from monitoring.metrics.outlets import PATIENCE, outlet_findings
from monitoring.metrics.values import Snapshot
from tests.support.builders import NOW, minutes, observation, policies

BEFORE, AFTER = Snapshot(target="prod", at=NOW - minutes(5)), Snapshot(target="prod", at=NOW)
GATEWAY = "metrics.pushgateway"


@dataclass
class Store:
    kept: Snapshot | None = BEFORE
    down: bool = False

    def load(self) -> Snapshot | None:
        if self.down:
            raise Unreachable("no answer")
        return self.kept

    def save(self, snapshot: Snapshot) -> None:
        if self.down:
            raise Unreachable("no answer")
        self.kept = snapshot


@dataclass
class Outlet:
    fault: DeliveryError | None = None
    taken: list[tuple[Snapshot, Snapshot | None]] = field(default_factory=list)

    def publish(self, snapshot: Snapshot, before: Snapshot | None) -> None:
        if self.fault:
            raise self.fault
        self.taken.append((snapshot, before))


def measuring(store: Store, **outlets: Outlet) -> Measuring:
    effort = Effort(requests=1, took=timedelta(seconds=1))
    return Measuring(lambda: effort, None, store, {f"metrics.{name}": outlet for name, outlet in outlets.items()})


def test_every_way_out_gets_the_numbers_and_those_of_the_check_before() -> None:
    store, outlet = Store(), Outlet()
    assert hand_over(AFTER, measuring(store, textfile=outlet), {}, NOW) == {}
    assert outlet.taken == [(AFTER, BEFORE)]
    assert store.kept == AFTER


def test_one_that_fails_is_in_nobodys_way_and_is_remembered_from_its_first_failure_on() -> None:
    store, outlet = Store(), Outlet()
    broken = Outlet(DeliveryError(f"{GATEWAY}: no answer", permanent=False))
    first = hand_over(AFTER, measuring(store, pushgateway=broken, textfile=outlet), {}, NOW)
    assert first == {GATEWAY: Trouble(since=NOW, problem=f"{GATEWAY}: no answer", permanent=False)}
    assert store.kept == AFTER
    assert len(outlet.taken) == 1
    again = hand_over(AFTER, measuring(store, pushgateway=broken), first, NOW + minutes(5))
    assert again[GATEWAY].since == NOW
    assert hand_over(AFTER, measuring(store, pushgateway=outlet), again, NOW + minutes(10)) == {}


def test_a_server_that_keeps_nothing_does_not_keep_the_numbers_from_others() -> None:
    outlet = Outlet()
    assert hand_over(AFTER, measuring(Store(down=True), dogstatsd=outlet), {}, NOW) == {}
    assert outlet.taken == [(AFTER, None)]


@pytest.mark.parametrize(
    ("lasts", "severity"), [(minutes(0), "info"), (PATIENCE - minutes(1), "info"), (PATIENCE, "warning")]
)
def test_a_way_out_that_fails_is_shown_at_once_and_a_warning_when_it_lasts(lasts: timedelta, severity: str) -> None:
    troubles = {
        GATEWAY: Trouble(since=NOW - lasts, problem=f"{GATEWAY}: no answer", permanent=False),
        "metrics.textfile": Trouble(since=NOW, problem="not configured any more", permanent=True),
    }
    settings = {"metrics": {"enabled": True, "pushgateway": "http://gateway:9091"}}
    [found] = outlet_findings(troubles, observation(), policies(**settings))
    assert (found.check, found.subject.name, found.severity) == ("watchdog", GATEWAY, severity)
    assert found.observed == f"{GATEWAY}: no answer"
    assert found.since == NOW - lasts
    assert list(outlet_findings(troubles, observation(), policies(**settings, watchdog={"enabled": False}))) == []
    assert list(outlet_findings(troubles, observation(), policies())) == []
