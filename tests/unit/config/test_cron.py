"""The verdict on a schedule is Prefect's own, without Prefect."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule
from pydantic import TypeAdapter, ValidationError

from monitoring.config.cron import Cron, CronZone

LINES = [
    "0 2 * * SAT",
    "*/5 * * * *",
    "0 2 * * 6#2",
    "0 0 L * *",
    "0 0 * * L5",
    "0 0 1,15 * MON-FRI",
    "0 0 29 2 *",
    "0 0 31 2 *",
    "0 0 30 2 *",
    "0 22-4 * * *",
    "@daily",
    "@hourly",
    "@reboot",
    "@fortnightly",
    "0 2 * * * 30",
    "0 2 * * * 30 2027",
    "0 2 * *",
    "60 2 * * *",
    "0 24 * * *",
    "0 0 0 * *",
    "0 0 32 * *",
    "0 0 * 13 *",
    "0 0 * * 7",
    "0 0 * * 8",
    "R 2 * * *",
    "h 2 * * *",
    "H(0-9) 2 * * *",
    "0 2 * * SATURDAY",
    "0 2 ? * *",
    "*/0 * * * *",
    "5/10 * * * *",
    "0 2 * * SAT,",
    "-1 * * * *",
    "a b c d e",
    "",
    "٣ * * * *",
]
FIELD = st.one_of(
    st.text(alphabet="0123456789*/,-#LRHlrh?", min_size=1, max_size=6),
    st.sampled_from(["*", "*/5", "SAT", "mon-fri", "jan", "L", "1-5/2", "6#3", "59", "60", "?"]),
)


def is_accepted(kind: Any, text: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return False
    return True


def prefects_verdict(cron: str, time_zone: str) -> bool:
    try:
        CronSchedule(cron=cron, timezone=time_zone)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("line", LINES)
def test_a_cron_expression_is_readable_where_prefect_reads_it(line: str) -> None:
    assert is_accepted(Cron, line) is prefects_verdict(line, "UTC")


def test_the_table_has_expressions_of_both_kinds() -> None:
    assert {is_accepted(Cron, line) for line in LINES} == {True, False}


@given(st.lists(FIELD, min_size=4, max_size=7).map(" ".join))
def test_so_is_any_other(line: str) -> None:
    assert is_accepted(Cron, line) is prefects_verdict(line, "UTC")


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "EST5EDT", "posixrules", "Mars/Olympus", "localtime", "+02:00"]
)
def test_a_time_zone_is_known_where_prefect_knows_it(zone: str) -> None:
    assert is_accepted(CronZone, zone) is prefects_verdict("0 2 * * *", zone)
