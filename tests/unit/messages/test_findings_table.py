"""The table artifact: plain values, one row a finding."""

from __future__ import annotations

import re

from monitoring.messages import findings_table as table
from tests.support import samples


def test_every_finding_is_a_row_in_the_reports_order() -> None:
    report = samples.bad()
    rows = table.findings(report)
    shown = [str(row["fingerprint"]).replace("\u2039", "<").replace("\u2060", "") for row in rows]
    assert shown == [finding.fingerprint for finding in report.findings]
    assert {type(value) for row in rows for value in row.values()} <= {str, int, type(None)}


def test_a_cause_is_one_string_and_a_time_has_its_zone() -> None:
    row = table.findings(samples.bad())[0]
    assert row["cause"] == "work pool k8s has no live worker"
    assert row["since"] == "2026-03-10 03:00 UTC"
    assert row["runs"] == 2


def test_a_healthy_report_has_no_rows() -> None:
    assert table.findings(samples.healthy()) == []


def test_rows_are_bounded_and_the_rest_is_counted() -> None:
    rows = table.findings(samples.crowd(5_000))
    assert len(rows) == table.MAX_ROWS + 1
    assert rows[-1]["summary"] == "and 4,100 more findings: see `watchdog check --json`"
    assert rows[-1].keys() == rows[0].keys()


def test_no_cell_is_a_link_or_markup_in_a_viewer_that_renders_markdown() -> None:
    hostile = "<script>x</script>[go](javascript:x)![i](https://evil.example/i.png)"
    finding = samples.finding("failed", f"etl/{hostile}", summary=hostile, observed=hostile, owner=hostile)
    (row,) = table.findings(samples.report(finding))
    cells = " ".join(str(cell) for name, cell in row.items() if name != "url")
    assert not re.search(r"<|\]\(", cells)
    assert "script>x" in cells
