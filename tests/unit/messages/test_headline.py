"""How problems are counted, in one way for all reports."""

from __future__ import annotations

import pytest

from monitoring.messages.headline import Counts, counts, headline
from monitoring.model.incident import Closed
from monitoring.model.report import HealthReport, Mark
from tests.support import samples
from tests.support.samples import NOW, finding

CLOSED = Closed(at=NOW, severity="critical", number=12, by="ana")
CAUSE = finding("failed", "etl/nightly", severity="critical")
SYMPTOM = finding("stale", "etl/nightly", severity="critical", symptom_of=CAUSE.fingerprint)
WARNING = finding("slow", "ml/train")


def marked(mark: Mark) -> HealthReport:
    """A report of a warning, and of a cause with this mark and a symptom."""
    return samples.report(CAUSE, SYMPTOM, WARNING).with_known((), {CAUSE.fingerprint: mark}, ())


@pytest.mark.parametrize(
    ("mark", "status", "said"),
    [
        (Mark(), "critical", "1 critical problem and 1 warning."),
        (Mark(acknowledged_by="ana"), "critical", "1 warning and 1 acknowledged problem."),
        (Mark(acknowledged_by="ana", silence=samples.silence()), "critical", "1 warning and 1 silenced problem."),
        (Mark(silence=samples.silence(), closed=CLOSED), "warning", "1 warning and 1 problem closed by hand."),
    ],
)
def test_a_problem_is_counted_once_by_what_people_did_about_it(mark: Mark, status: str, said: str) -> None:
    report = marked(mark)

    assert (report.status, headline(report)) == (status, said)
    number = counts(report.findings, report.marks)
    assert sum((number.critical, number.warning, number.closed, number.silenced, number.acknowledged)) == 2
    assert number.symptoms == 1


def test_only_what_is_closed_by_hand_does_not_affect_the_status() -> None:
    report = samples.report(CAUSE, SYMPTOM).with_known((), {CAUSE.fingerprint: Mark(closed=CLOSED)}, ())

    assert (report.status, headline(report)) == ("ok", "1 problem closed by hand.")


def test_without_problems_nothing_is_wrong() -> None:
    report = samples.report(finding("paused", "etl/old", severity="info"))

    assert counts(report.findings, report.marks) == Counts(information=1)
    assert headline(report) == "Nothing is wrong."
