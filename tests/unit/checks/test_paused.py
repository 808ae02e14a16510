from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.history.ledger import fold
from monitoring.model.ledger import Ledger
from monitoring.model.prefect import Deployment
from tests.support.builders import NOW, deployment, found, hours, minutes, names, observation

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


def served(*, polled: timedelta, paused: timedelta, **fields: Any) -> Deployment:
    """A paused deployment without a work pool: how long ago it was polled last, and paused."""
    return deployment(scheduled=False, paused=True, last_polled=NOW - polled, inactive_since=NOW - paused, **fields)


@pytest.mark.parametrize(
    ("polled", "paused", "expected"),
    [
        pytest.param(65, 64, "warning", id="paused after the last poll"),
        pytest.param(65, 5, "unknown", id="paused or changed long after the last poll"),
        pytest.param(65, 66, "quiet", id="polled on after the pause"),
        pytest.param(1, 1, "quiet", id="it is still polled"),
    ],
)
def test_a_pause_of_a_process_that_ended_is_told_from_that_of_a_person(polled: int, paused: int, expected: str) -> None:
    seen = served(polled=minutes(polled), paused=minutes(paused))
    findings = found(observation(deployments=[seen], unserved={seen.id: NOW - minutes(30)}))
    assert [("unknown" if finding.unknown else finding.severity) for finding in findings] == (
        [] if expected == "quiet" else [expected]
    )


def test_a_pause_that_a_check_saw_before_the_process_ended_was_made_by_a_person() -> None:
    ledger = fold(Ledger(), observation(deployments=[served(polled=minutes(61), paused=hours(5))], at=NOW - hours(1)))
    later = {"polled": minutes(40), "paused": minutes(40)}
    for made, expected in ((hours(9), []), (hours(2), [("paused", "etl/nightly", "warning")])):
        # Schedules that were made since show that the process started again.
        seen = served(**later, schedules_made=NOW - made)
        assert names(found(observation(deployments=[seen], unserved={seen.id: NOW - minutes(30)}), ledger)) == expected
