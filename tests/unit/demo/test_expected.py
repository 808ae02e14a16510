from __future__ import annotations

from demo.expected import Finding, compare

LATE = Finding("late", "warning", "deployment a/demo", "work pool deserted has no live worker")
FAILED = Finding("failed", "warning", "deployment b/demo")


def test_what_was_planted_and_reported_is_right_in_any_order() -> None:
    comparison = compare([LATE, FAILED], [FAILED, LATE])
    assert comparison.is_right
    assert comparison.verdict == "All 2 expected findings were reported, and nothing else."


def test_a_finding_that_differs_in_anything_is_missed_and_extra() -> None:
    other = LATE._replace(cause=None)
    comparison = compare([LATE, FAILED], [other, FAILED])
    assert comparison == ([FAILED], [LATE], [other])
    assert not comparison.is_right
    assert comparison.verdict == "Missed 1 of 2 expected findings; unexpected findings: 1."


def test_a_finding_that_comes_twice_is_one_too_many() -> None:
    assert compare([FAILED], [FAILED, FAILED]).extra == [FAILED]


def test_findings_about_anything_can_be_listed_beside_others() -> None:
    server = Finding("server", "critical", "server demo")
    assert compare([], [server, FAILED, LATE]).extra == sorted([server, FAILED, LATE], key=str)


def test_a_finding_is_taken_from_a_row_of_the_artifact() -> None:
    row = {"check": "failed", "severity": "warning", "subject": "deployment b/demo", "cause": None}
    assert Finding.from_row(row) == FAILED
