"""How long incidents took, and how that is humanized."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.incidents.timing import to_detect, to_resolve, usual
from monitoring.messages.words import statistics
from monitoring.model.incident import Incident
from tests.support.builders import NOW, minutes
from tests.support.simulation import problem


def incident(**fields: Any) -> Incident:
    finding = problem("etl/nightly", since=NOW - minutes(60))
    return Incident.model_validate({"finding": finding, "opened_at": NOW - minutes(50), **fields})


@pytest.mark.parametrize(
    ("fields", "detect", "resolve"),
    [
        pytest.param({}, None, None, id="pending"),
        pytest.param({"fired_at": NOW - minutes(45)}, minutes(15), None, id="firing"),
        pytest.param({"fired_at": NOW - minutes(45), "preexisting": True}, None, None, id="known before"),
        pytest.param({"fired_at": NOW - minutes(45), "resolved_at": NOW}, minutes(15), minutes(60), id="over"),
        pytest.param(
            {"fired_at": NOW - minutes(45), "resolved_at": NOW, "unseen_since": NOW - minutes(20)},
            minutes(15),
            minutes(40),
            id="gone for a while before it was believed",
        ),
        pytest.param({"fired_at": NOW - minutes(70)}, minutes(0), None, id="it began later, as is known now"),
    ],
)
def test_times_count_from_when_it_began(
    fields: dict[str, datetime], detect: timedelta | None, resolve: timedelta | None
) -> None:
    assert (to_detect(incident(**fields)), to_resolve(incident(**fields))) == (detect, resolve)


def test_what_is_usual_leaves_out_what_is_not_known() -> None:
    assert usual([minutes(1), None, minutes(30), minutes(2)]) == minutes(2)
    assert usual([minutes(1), minutes(2)]) == minutes(1.5)
    assert usual([None]) is None


def test_the_medians_are_shown_as_far_as_they_are_known() -> None:
    resolved = incident(fired_at=NOW - minutes(45), resolved_at=NOW)
    assert statistics([resolved, resolved]) == "Median time: 15 min to detect, 1 h to resolve."
    known = resolved.model_copy(update={"preexisting": True})
    assert statistics([known]) == "Median time: 1 h to resolve."
    assert statistics([]) == ""
