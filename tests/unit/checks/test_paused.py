from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.history.ledger import fold
from monitoring.model.ledger import Ledger
from tests.support.builders import NOW, deployment, found, names, observation

SECOND = timedelta(seconds=1)
LIMIT = timedelta(days=14)


@pytest.mark.parametrize(("age", "reported"), [(LIMIT - SECOND, False), (LIMIT, False), (LIMIT + SECOND, True)])
@pytest.mark.parametrize("fields", [{"paused": True}, {}], ids=["paused", "inactive"])
def test_what_is_paused_for_long_is_information(age: timedelta, reported: bool, fields: dict[str, Any]) -> None:
    quiet = deployment(scheduled=False, inactive_since=NOW - age, **fields)

    findings = found(observation(deployments=[quiet]))

    assert names(findings) == ([("paused", "etl/nightly", "info")] if reported else [])
    assert not any(finding.unknown for finding in findings)


def test_what_was_paused_is_distinguished() -> None:
    since = NOW - timedelta(days=15)
    (paused,) = found(observation(deployments=[deployment(scheduled=False, paused=True, inactive_since=since)]))
    (inactive,) = found(observation(deployments=[deployment(scheduled=False, inactive_since=since)]))

    assert paused.summary == "etl/nightly: paused for 15 d"
    assert inactive.summary == "etl/nightly: all its schedules are inactive for 15 d"
    assert paused.observed == "paused since 2026-11-08 12:00 UTC or earlier"
    assert paused.since == since


def test_the_earliest_known_time_counts_until_it_is_active_again() -> None:
    def seen(ago: timedelta, **fields: Any) -> Ledger:
        return fold(ledger, observation(deployments=[deployment(**fields)], at=NOW - ago))

    ledger = Ledger()
    ledger = seen(timedelta(days=20), scheduled=False, paused=True, inactive_since=NOW - timedelta(days=20))
    edited = observation(deployments=[deployment(scheduled=False, paused=True, inactive_since=NOW - SECOND)])
    assert names(found(edited, ledger)) == [("paused", "etl/nightly", "info")]

    ledger = seen(timedelta(days=1))
    assert found(edited, ledger) == ()


def test_it_can_be_turned_off() -> None:
    quiet = deployment(scheduled=False, paused=True, inactive_since=NOW - timedelta(days=99))

    assert found(observation(deployments=[quiet]), paused={"enabled": False}) == ()
