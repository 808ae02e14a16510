"""What is shown of one incident, at a terminal and to programs."""

from __future__ import annotations

import io

from monitoring.incidents.requests import apply_requests
from monitoring.messages import terminal
from monitoring.messages.incident_json import incident_json
from monitoring.messages.incident_messages import IncidentView, incident_message
from monitoring.messages.plain import plain
from monitoring.messages.report_messages import digest_message
from monitoring.model.incident import Incident, Incidents, Step
from monitoring.model.request import Request, Silences
from tests.support import samples
from tests.support.builders import NOW, hours
from tests.support.simulation import problem


def test_a_step_that_somebody_asked_for_says_who_and_what_they_said_and_does_nothing() -> None:
    here = Incident(finding=problem("etl/a"), number=3, opened_at=NOW - hours(1), fired_at=NOW - hours(1))
    request = Request(name="request-1", what="close", at=NOW, by="ann\x1b[31m", subject="W-3", note="we\ngave up\u202e")
    (over,) = apply_requests([request], Incidents(open={"x": here}), Silences(), NOW).closed
    shown = io.StringIO()
    terminal.show(terminal.console(shown), incident_message(IncidentView(over), ""))
    assert "resolved: closed, by ann: we gave up\n" in shown.getvalue()


def test_an_incident_that_nobody_has_mended_is_closed_and_not_resolved() -> None:
    report = samples.digest(samples.healthy())
    (mended,) = report.resolved
    step = Step(to="resolved", at=samples.NOW, reason="paused-while-failing")
    closed = mended.moved(step, resolution="paused-while-failing")
    shown = io.StringIO()
    terminal.show(terminal.console(shown), incident_message(IncidentView(closed), ""))
    assert "closed: paused while failing" in shown.getvalue()
    assert "resolved" not in shown.getvalue().lower()

    kept = incident_json(IncidentView(closed))
    assert (kept["resolution"], kept["time_to_resolve"]) == ("paused-while-failing", None)
    _, digest = plain(digest_message(report.model_copy(update={"resolved": (mended, closed)})))
    assert "Nothing is wrong now, but 1 incident was closed though nobody mended anything." in digest
    assert "Closed without being mended in the last 24 hours (1)" in digest
    assert "Resolved in the last 24 hours (1)" in digest
