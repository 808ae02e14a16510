"""What people ask for at the command line, done once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.incidents.requests import apply_requests
from monitoring.model.incident import Incident, Incidents
from monitoring.model.request import Request, Silences
from monitoring.model.silence import Silence
from tests.support.builders import NOW, hours
from tests.support.simulation import problem

DAY = timedelta(days=1)
A = Incident(finding=problem("etl/a"), number=3, opened_at=NOW - hours(1), fired_at=NOW - hours(1))
OPEN = Incidents(open={A.finding.fingerprint: A}, next_number=4)


def asked(what: str, subject: str = "", name: str = "request-1", **fields: Any) -> Request:
    values = {"name": name, "what": what, "at": NOW - hours(0.1), "by": "ann", "subject": subject, "note": "why"}
    return Request.model_validate({**values, **fields})


def silence(name: str, until: timedelta = DAY) -> Request:
    return asked("silence", name=name, silence=Silence(check="late", starts_at=NOW, ends_at=NOW + until))


def test_silences_get_ids_in_the_order_of_their_requests() -> None:
    second, first = silence("request-b"), silence("request-a")
    after = apply_requests([second, first], OPEN, Silences(next_number=7), NOW).silences
    assert [(silence.id, silence.request, silence.author, silence.reason) for silence in after.known] == [
        ("S-7", "request-a", "ann", "why"),
        ("S-8", "request-b", "ann", "why"),
    ]
    assert after.next_number == 9


def test_a_request_repeated_after_a_crash_is_applied_once() -> None:
    requests = [silence("request-a"), asked("acknowledge", "W-3", "request-b")]
    once = apply_requests(requests, OPEN, Silences(), NOW)
    twice = apply_requests(requests, once.incidents, once.silences, NOW + hours(1))
    assert (twice.incidents, twice.silences, twice.rejected) == (once.incidents, once.silences, ())


@pytest.mark.parametrize("subject", ["W-3", "w-3", "3"])
def test_an_acknowledgement_is_a_step_of_the_incident(subject: str) -> None:
    (incident,) = apply_requests([asked("acknowledge", subject)], OPEN, Silences(), NOW).incidents.open.values()
    assert incident.acknowledged
    assert (incident.acknowledged.by, incident.acknowledged.note) == ("ann", "why")
    assert [(step.to, step.reason) for step in incident.history] == [("updated", "acknowledged")]


def test_a_closed_incident_names_the_author_of_the_request() -> None:
    after = apply_requests([asked("close", "W-3")], OPEN, Silences(), NOW)
    assert after.incidents.open == {}
    assert [(incident.id, incident.resolution, incident.resolved_at) for incident in after.closed] == [
        ("W-3", "closed", NOW)
    ]
    assert [(step.by, step.note) for incident in after.closed for step in incident.history] == [("ann", "why")]


@pytest.mark.parametrize(
    ("what", "subject", "undone"),
    [
        ("acknowledge", "W-4", "W-4: there is no such open incident"),
        ("acknowledge", "W-0", "W-0: there is no such open incident"),
        ("close", "W-²", "W-²: there is no such open incident"),
        ("close", "everything", "everything: there is no such open incident"),
        ("expire", "S-1", "S-1: there is no such silence that has not ended"),
    ],
)
def test_a_rejected_request_is_reported_and_changes_nothing(what: str, subject: str, undone: str) -> None:
    pending = A.model_copy(update={"number": 0, "fired_at": None, "finding": problem("etl/b")})
    before = OPEN.model_copy(update={"open": {**OPEN.open, "pending": pending}})
    after = apply_requests([asked(what, subject)], before, Silences(), NOW)
    assert (after.incidents, after.silences, after.closed, after.rejected) == (before, Silences(), (), (undone,))


def test_an_expired_silence_ends_now_and_one_that_has_not_begun_never_holds() -> None:
    begun, ahead = silence("request-a"), silence("request-b")
    ahead = ahead.model_copy(
        update={"silence": Silence(check="late", starts_at=NOW + DAY, ends_at=NOW + 2 * DAY), "name": "request-b"}
    )
    known = apply_requests([begun, ahead], OPEN, Silences(), NOW).silences
    later = NOW + hours(1)
    after = apply_requests([asked("expire", "S-1", "x"), asked("expire", "S-2", "y")], OPEN, known, later).silences
    assert not any(silence.active(moment) for silence in after.known for moment in (later, NOW + DAY, NOW + 1.5 * DAY))


@pytest.mark.parametrize(("ago", "kept"), [(timedelta(days=7) - hours(1), 1), (timedelta(days=7), 0)])
def test_a_silence_is_kept_for_a_week_after_its_end(ago: timedelta, kept: int) -> None:
    ended = Silence(id="S-1", check="late", starts_at=NOW - 30 * DAY, ends_at=NOW - ago)
    assert len(apply_requests([], OPEN, Silences(known=(ended,)), NOW).silences.known) == kept
