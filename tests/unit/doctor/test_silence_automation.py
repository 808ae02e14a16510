"""How long a watchdog may be silent, by its schedule."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from monitoring.adapters.prefect.read.schedules import due_between
from monitoring.doctor.silence_automation import patience, silent_automation
from tests.support.builders import NOW, minutes


def due(*schedules: dict[str, object]) -> tuple[datetime, ...]:
    return due_between(schedules, after=NOW, until=NOW + timedelta(days=8), limit=1_000)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("*/5 * * * *", timedelta(minutes=15)),
        ("* * * * *", timedelta(minutes=3)),
        # Nobody is notified every night that it is night.
        ("*/15 8-17 * * *", 3 * timedelta(hours=14, minutes=15)),
        ("0 8 * * MON-FRI", 3 * timedelta(days=3)),
    ],
)
def test_three_times_the_longest_pause_of_the_schedule(cron: str, expected: timedelta) -> None:
    assert patience(due({"cron": cron, "timezone": "UTC"})) == expected


def test_several_schedules_are_taken_together() -> None:
    assert patience(due({"cron": "0 * * * *", "timezone": "UTC"}, {"cron": "30 * * * *", "timezone": "UTC"})) == (
        minutes(90)
    )


@pytest.mark.parametrize("times", [[], [NOW]])
def test_without_a_schedule_nobody_can_tell(times: list[datetime]) -> None:
    assert patience(times) is None


def test_it_says_what_is_wrong_where_to_look_and_how_often() -> None:
    automation = silent_automation("prod", minutes(15), "block-id", "http://ui.example/deployments/deployment/id")
    assert automation["trigger"]["match"] == {"prefect.resource.id": "watchdog.check.*"}, "whatever it is called"
    [action] = automation["actions"]
    assert action["subject"] == "The watchdog of prod is silent"
    for part in ("15 min", "http://ui.example/deployments/deployment/id", "watchdog doctor", "30 min"):
        assert part in action["body"]
