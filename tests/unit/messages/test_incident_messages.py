"""What is shown of one incident, at a terminal and to programs."""

from __future__ import annotations

import io

from monitoring.incidents.requests import apply_requests
from monitoring.messages import terminal
from monitoring.messages.incident_messages import IncidentView, incident_message
from monitoring.model.incident import Incident, Incidents
from monitoring.model.request import Request, Silences
from tests.support.builders import NOW, hours
from tests.support.simulation import problem


def test_a_step_that_somebody_asked_for_says_who_and_what_they_said_and_does_nothing() -> None:
    here = Incident(finding=problem("etl/a"), number=3, opened_at=NOW - hours(1), fired_at=NOW - hours(1))
    request = Request(name="request-1", what="close", at=NOW, by="ann\x1b[31m", subject="W-3", note="we\ngave up\u202e")
    (over,) = apply_requests([request], Incidents(open={"x": here}), Silences(), NOW).closed
    shown = io.StringIO()
    terminal.show(terminal.console(shown), incident_message(IncidentView(over), ""))
    assert "resolved: closed, by ann: we gave up\n" in shown.getvalue()
