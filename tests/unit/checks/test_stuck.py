"""stuck: a paused run beyond its own time-out. (Other states are with the runs that wait.)"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.support.builders import NOW, found, hours, minutes, names, observation, run

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("state_name", ["Paused", "Suspended"])
@pytest.mark.parametrize(
    ("paused_for", "timeout", "stuck_since"),
    [
        (hours(1), -minutes(15), None),
        (hours(1), -minutes(15) - SECOND, -minutes(15) - SECOND),
        (hours(1), hours(1), None),
        (hours(24), None, None),
        (hours(24) + SECOND, None, -hours(24) - SECOND),
        # Its author wants it to wait for so long.
        (hours(24) + SECOND, hours(100), None),
        (hours(30), -minutes(20), -minutes(20)),
    ],
)
def test_paused_past_its_own_time_out_or_too_long(
    state_name: str, paused_for: timedelta, timeout: timedelta | None, stuck_since: timedelta | None
) -> None:
    paused = run(
        "PAUSED",
        state_name=state_name,
        since=NOW - paused_for,
        pause_timeout=NOW + timeout if timeout is not None else None,
    )
    findings = found(observation(paused))

    assert names(findings) == ([("stuck", "etl/nightly", "warning")] if stuck_since else [])
    assert [finding.since for finding in findings] == ([NOW + stuck_since] if stuck_since else [])


def test_what_was_expected_is_shown() -> None:
    late = run("PAUSED", since=NOW - hours(2), pause_timeout=NOW - hours(1))
    (finding,) = found(observation(late))

    assert finding.summary == "etl/nightly: 1 run stuck (1 Paused)"
    assert finding.observed == "name of run: Paused for 2 h, its own timeout passed 1 h ago"
    assert finding.expected == "resumed or failed within 15 min of it"


@pytest.mark.parametrize("state", ["PENDING", "CANCELLING", "RUNNING"])
def test_a_time_out_of_a_pause_that_is_over_counts_no_more(state: Any) -> None:
    assert found(observation(run(state, since=NOW - minutes(1), pause_timeout=NOW - hours(9)))) == ()


def test_the_grace_is_a_setting() -> None:
    late = run("PAUSED", since=NOW - hours(2), pause_timeout=NOW - hours(1))

    assert found(observation(late), stuck={"timeout_grace": "1h"}) == ()
    assert found(observation(late), stuck={"enabled": False}) == ()


def test_the_oldest_of_several_is_named() -> None:
    runs = [
        run("PAUSED", "waits", since=NOW - hours(30)),
        run("PAUSED", "timed out", since=NOW - hours(2), pause_timeout=NOW - hours(1)),
        run("PENDING", "pending", since=NOW - minutes(31)),
    ]
    (finding,) = found(observation(*runs))

    assert finding.summary == "etl/nightly: 3 runs stuck (2 Paused, 1 Pending)"
    assert finding.observed == "name of waits: Paused for 1 d 6 h"
