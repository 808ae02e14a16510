"""Why no notification is sent of an incident, and how the reason reads."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.model.incident import Acknowledgement, Closed, Incident, Incidents, Step
from monitoring.model.outbox import Suppression, SuppressionReason
from monitoring.model.silence import Silence
from monitoring.notifications.situation import Situation
from monitoring.notifications.suppression import suppression_of_new, suppression_of_repeat, suppression_of_rise
from tests.support.builders import NOW, hours, minutes, policies
from tests.support.simulation import problem

CAUSE = Incident(finding=problem("etl/cause"), number=3, opened_at=NOW, fired_at=NOW)
SILENCE = Silence(id="S-1", check="late", starts_at=NOW, ends_at=NOW + hours(1), reason="we know")
NOON_BREAK: dict[str, Any] = {"alerts": {"quiet_hours": {"begin": "11:00", "end": "13:00"}}}


def fires(**fields: Any) -> Incident:
    finding = problem("etl/a", **fields.pop("finding", {}))
    return Incident(finding=finding, number=4, opened_at=NOW, fired_at=NOW, **fields)


def situation(
    *others: Incident, silences: tuple[Silence, ...] = (), complete: bool = True, **settings: Any
) -> Situation:
    incidents = Incidents(
        open={incident.finding.fingerprint: incident for incident in others},
        baselined_at=NOW - hours(2),
        closed_by_hand={"by hand": Closed(at=NOW, severity="warning")},
    )
    return Situation(incidents, (), silences, policies(**settings).config, None, NOW, complete)


def name(suppression: Suppression | None) -> str | None:
    return suppression.reason.value if suppression else None


WORSE = Step(to="updated", at=NOW - hours(1), reason="worse")
SYMPTOM = {"symptom_of": CAUSE.finding.fingerprint}
PENDING = CAUSE.model_copy(update={"number": 0, "fired_at": None})
WINDOW = SILENCE.model_copy(update={"id": "", "reason": "upgrade"})


@pytest.mark.parametrize(
    ("incident", "now", "text"),
    [
        (fires(), situation(), None),
        (fires(preexisting=True), situation(), "it existed before the watchdog's first check"),
        (fires(preexisting=True, history=(WORSE,)), situation(), None),
        (fires(finding=SYMPTOM), situation(CAUSE), "inhibited by W-3"),
        (fires(finding=SYMPTOM), situation(PENDING), "inhibited by its cause, which is pending"),
        (fires(finding=SYMPTOM), situation(), None),
        (
            fires(finding={"symptom_of": "by hand"}),
            situation(),
            "inhibited by an incident that was closed by hand",
        ),
        (fires(uninhibited_at=NOW), situation(), "its cause was just resolved"),
        (fires(uninhibited_at=NOW - minutes(5)), situation(), None),
        (fires(uninhibited_at=NOW - minutes(5)), situation(complete=False), "its cause was just resolved"),
        (fires(uninhibited_at=NOW - minutes(30)), situation(complete=False), None),
        (fires(), situation(silences=(SILENCE,)), f"S-1 (we know) until {NOW + hours(1):%Y-%m-%d %H:%M} UTC"),
        (fires(), situation(silences=(WINDOW,)), f"maintenance (upgrade) until {NOW + hours(1):%Y-%m-%d %H:%M} UTC"),
        (fires(), situation(**NOON_BREAK), "quiet hours"),
        (fires(finding={"severity": "critical"}), situation(**NOON_BREAK), None),
        (fires(unseen_since=NOW - minutes(5)), situation(), "not found by the check before"),
        # An acknowledgement stops reminders only.
        (fires(acknowledged=Acknowledgement(by="ann", at=NOW)), situation(), None),
    ],
)
def test_a_new_incident_is_suppressed_for_a_reason(incident: Incident, now: Situation, text: str | None) -> None:
    suppression = suppression_of_new(incident, now)
    assert (suppression and suppression.text) == text


def test_incidents_that_are_each_others_cause_are_not_inhibited() -> None:
    first = fires(finding={"symptom_of": CAUSE.finding.fingerprint})
    second = CAUSE.model_copy(
        update={"finding": CAUSE.finding.model_copy(update={"symptom_of": first.finding.fingerprint})}
    )
    assert suppression_of_new(first, situation(first, second)) is None


def test_a_preexisting_incident_that_became_critical_is_not_suppressed() -> None:
    assert suppression_of_rise(fires(preexisting=True), situation()) is None


@pytest.mark.parametrize(
    ("incident", "now", "expected"),
    [
        (fires(), situation(), None),
        (fires(acknowledged=Acknowledgement(by="ann", at=NOW)), situation(), "acknowledged"),
        (fires(unseen_since=NOW), situation(), "unseen"),
        (fires(finding=SYMPTOM), situation(CAUSE), "inhibited"),
        (fires(), situation(silences=(SILENCE,)), "silenced"),
        (fires(), situation(silences=(WINDOW,)), "maintenance"),
        (fires(), situation(**NOON_BREAK), "quiet-hours"),
        # People know of it already.
        (fires(preexisting=True), situation(), None),
        (fires(uninhibited_at=NOW), situation(), None),
    ],
)
def test_a_reminder_is_suppressed_for_a_reason(incident: Incident, now: Situation, expected: str | None) -> None:
    assert name(suppression_of_repeat(incident, now)) == expected


def test_every_reason_has_a_text() -> None:
    assert all(Suppression(reason=reason, note="why").text for reason in SuppressionReason)
