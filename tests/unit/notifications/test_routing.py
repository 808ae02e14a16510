"""Which incidents a route, a silence or a window is for, and when warnings wait."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from monitoring.config.alert_settings import QuietHours
from monitoring.config.match import AlertMatch
from monitoring.config.settings import Config
from monitoring.model.incident import Incident
from monitoring.model.silence import Silence
from monitoring.notifications.routing import quiet, route_of, silence_of
from tests.support.builders import NOW, hours, minutes
from tests.support.simulation import problem

NIGHTLY = Incident(
    finding=problem("etl/nightly", "failed", severity="critical", owner="data"),
    number=1,
    opened_at=NOW,
    tags=("prod", "finance"),
    pool="gpu",
)
POOL = Incident(finding=problem("gpu", "work-pool", kind="work-pool"), number=2, opened_at=NOW, pool="gpu")


@pytest.mark.parametrize(
    ("matcher", "nightly", "pool"),
    [
        ({"deployment": "etl/nightly"}, True, False),
        ({"deployment": "etl/*"}, True, False),
        ({"deployment": "*"}, True, False),
        ({"deployment": "ETL/*"}, False, False),
        ({"deployment": "nightly"}, False, False),
        ({"tag": "prod"}, True, False),
        ({"tag": "pro"}, False, False),
        ({"pool": "gpu"}, True, True),
        ({"pool": "gp"}, False, False),
        ({"check": "failed"}, True, False),
        ({"check": "work-pool"}, False, True),
        ({"severity": "critical"}, True, False),
        ({"severity": "warning"}, False, True),
        ({"owner": "data"}, True, False),
        ({"owner": "Data"}, False, False),
        ({"tag": "prod", "check": "failed", "pool": "gpu"}, True, False),
        ({"tag": "prod", "check": "late"}, False, False),
    ],
)
def test_all_that_is_given_must_match(matcher: dict[str, Any], nightly: bool, pool: bool) -> None:
    match = AlertMatch.model_validate(matcher)
    assert (match.matcher.matches(NIGHTLY.labels), match.matcher.matches(POOL.labels)) == (nightly, pool)


def test_an_empty_matcher_is_rejected_in_the_file_and_matches_nothing_elsewhere() -> None:
    with pytest.raises(ValidationError, match="expected at least one of deployment, tag, pool, check, severity, owner"):
        AlertMatch.model_validate({})
    nothing = Silence(starts_at=NOW, ends_at=NOW + hours(1))
    assert not nothing.matches(NIGHTLY.labels)


def test_the_first_route_that_matches_counts_and_else_the_default() -> None:
    config = Config.model_validate(
        {
            "routes": [
                {"name": "critical", "match": {"severity": "critical"}, "channel": "a"},
                {"name": "gpu", "match": {"pool": "gpu"}, "channel": "b"},
            ]
        }
    )
    other = NIGHTLY.model_copy(update={"finding": problem("web/scrape"), "pool": None})
    assert [route_of(incident, config) for incident in (NIGHTLY, POOL, other)] == ["critical", "gpu", "default"]


@pytest.mark.parametrize(
    ("offset", "silenced"),
    [(-minutes(1), False), (minutes(0), True), (minutes(59), True), (minutes(60), False)],
)
def test_a_silence_holds_from_its_start_to_right_before_its_end(offset: timedelta, silenced: bool) -> None:
    silence = Silence(id="S-1", check="failed", starts_at=NOW, ends_at=NOW + hours(1))
    assert (silence_of(NIGHTLY, [silence], NOW + offset) == silence) == silenced


def test_of_several_silences_the_one_counts_that_ends_last() -> None:
    short, long = (Silence(id=f"S-{n}", check="failed", starts_at=NOW, ends_at=NOW + hours(n)) for n in (1, 2))
    assert silence_of(NIGHTLY, [short, long], NOW) == silence_of(NIGHTLY, [long, short], NOW) == long


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("hours_", "moment", "waits"),
    [
        # Over midnight, in UTC.
        ({"begin": "22:00", "end": "07:00"}, "2026-03-10T21:59", False),
        ({"begin": "22:00", "end": "07:00"}, "2026-03-10T22:00", True),
        ({"begin": "22:00", "end": "07:00"}, "2026-03-10T06:59", True),
        ({"begin": "22:00", "end": "07:00"}, "2026-03-10T07:00", False),
        # Within a day.
        ({"begin": "12:00", "end": "13:00"}, "2026-03-10T11:59", False),
        ({"begin": "12:00", "end": "13:00"}, "2026-03-10T12:00", True),
        ({"begin": "12:00", "end": "13:00"}, "2026-03-10T13:00", False),
        # In a zone, on both sides of its change to summer time (2026-03-29).
        ({"begin": "22:00", "end": "07:00", "time_zone": "Europe/Berlin"}, "2026-03-28T05:59", True),
        ({"begin": "22:00", "end": "07:00", "time_zone": "Europe/Berlin"}, "2026-03-28T06:00", False),
        ({"begin": "22:00", "end": "07:00", "time_zone": "Europe/Berlin"}, "2026-03-29T04:59", True),
        ({"begin": "22:00", "end": "07:00", "time_zone": "Europe/Berlin"}, "2026-03-29T05:00", False),
        # At the week-end: Saturday and Sunday of the zone.
        ({"weekends": True}, "2026-03-27T23:59", False),
        ({"weekends": True}, "2026-03-28T00:00", True),
        ({"weekends": True}, "2026-03-29T23:59", True),
        ({"weekends": True}, "2026-03-30T00:00", False),
        ({"weekends": True, "time_zone": "Asia/Tokyo"}, "2026-03-27T15:00", True),
        ({}, "2026-03-28T03:00", False),
    ],
)
def test_quiet_hours_are_a_time_of_day_in_a_zone(hours_: dict[str, Any], moment: str, waits: bool) -> None:
    assert quiet(QuietHours.model_validate(hours_), at(moment)) == waits


@pytest.mark.parametrize(
    ("settings", "problem_"),
    [
        ({"begin": "22:00", "end": "22:00"}, "expected begin and end to differ"),
        ({"begin": "24:00"}, "expected a time of day in quotes"),
        ({"begin": "9:00"}, "expected a time of day in quotes"),
        ({"time_zone": "Berlin"}, "expected an IANA time zone"),
    ],
)
def test_quiet_hours_that_are_none_are_rejected(settings: dict[str, Any], problem_: str) -> None:
    with pytest.raises(ValidationError, match=problem_):
        QuietHours.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "problem_"),
    [
        ({"routes": [{"name": "a", "match": {"tag": "x"}}]}, "expected one of channel, webhook_secret, block"),
        (
            {"routes": [{"name": "a", "match": {"tag": "x"}, "channel": "c", "block": "slack-webhook/x"}]},
            "expected only one of channel, webhook_secret, block",
        ),
        (
            {"routes": [{"name": "default", "match": {"tag": "x"}, "channel": "c"}]},
            "expected a name other than default, fallback, watchdog-digest",
        ),
        ({"routes": [{"name": "a", "match": {"tag": "x"}, "channel": "c"}] * 2}, "'a' is used more often"),
        ({"routes": [{"name": "a", "match": {"tag": "x"}, "block": "x"}]}, "expected type and name of a notification"),
        ({"alerts": {"default": {"channel": "c", "mentions": ["@ann"]}}}, "expected the id of a Slack user"),
        ({"routes": [{"name": "A b", "match": {"tag": "x"}, "channel": "c"}]}, "expected 1 to 39 lower case letters"),
        ({"maintenance": [{"match": {"tag": "x"}, "cron": "nightly", "lasts": "1h"}]}, "expected a cron expression"),
        ({"maintenance": [{"match": {"tag": "x"}, "cron": "0 2 * * *"}]}, "Field required"),
    ],
)
def test_routes_and_windows_that_cannot_be_used_are_rejected(settings: dict[str, Any], problem_: str) -> None:
    with pytest.raises(ValidationError, match=problem_):
        Config.model_validate(settings)
