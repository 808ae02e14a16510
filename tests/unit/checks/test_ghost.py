"""ghost: runs that have ended and are still alive."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.model.observation import LaterSign
from tests.support.builders import NOW, found, hours, minutes, names, observation, run

ENDED = NOW - hours(2)


def sign(run_id: str = "run", *, occurred: timedelta, received: timedelta | None = None, **fields: Any) -> LaterSign:
    """A heartbeat so long after the end of a run that was cancelled two hours ago."""
    times = {"occurred": ENDED + occurred, "received": ENDED + (occurred if received is None else received)}
    ended = run("CANCELLED", run_id, since=ENDED, work_pool=fields.pop("work_pool", None))
    return LaterSign.model_validate({"run": ended, "kind": "heartbeat", **times, **fields})


@pytest.mark.parametrize(
    ("occurred", "received", "alive"),
    [
        (5, 5, False),
        (5.1, 5.1, True),
        # Its clock is ahead, or it was sent long after it happened: either time must be late enough.
        (60, 4, False),
        (4, 60, False),
        (60, 50, True),
    ],
)
def test_a_sign_counts_by_the_earlier_of_its_times(occurred: float, received: float, alive: bool) -> None:
    seen = observation(later_signs=(sign(occurred=minutes(occurred), received=minutes(received)),))

    assert names(found(seen)) == ([("ghost", "etl/nightly", "warning")] if alive else [])


def test_the_grace_is_a_setting() -> None:
    seen = observation(later_signs=(sign(occurred=minutes(20)),))

    assert names(found(seen, ghost={"grace": "20m"})) == []


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"infrastructure": "host:4711", "work_pool": "etl"}, "stop the process host:4711 of work pool etl"),
        ({"infrastructure": "host:4711"}, "stop the process host:4711"),
        ({"work_pool": "etl"}, "stop the process in work pool etl"),
        ({}, "stop the process"),
    ],
)
def test_it_says_what_to_stop(fields: dict[str, Any], where: str) -> None:
    (finding,) = found(observation(later_signs=(sign(occurred=hours(1), **fields),)))

    assert finding.expected == f"no sign of life after the end; {where}"


def test_several_ghosts_are_one_finding_and_each_is_named() -> None:
    """The oldest counts."""
    first = sign("first", occurred=hours(1), infrastructure="host:1")
    seen = observation(later_signs=(sign("second", occurred=hours(2), infrastructure="host:2"), first))

    (finding,) = found(seen)

    assert finding.summary == "etl/nightly: 2 runs ended for Prefect, and still alive"
    assert (finding.since, finding.flow_run_count) == (ENDED, 2)
    assert finding.evidence == ("name of second: process host:2", "name of first: process host:1")
