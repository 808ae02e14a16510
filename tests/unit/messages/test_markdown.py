"""The Markdown of a report: what the artifacts say."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from monitoring.messages.markdown import markdown_page
from monitoring.messages.report_messages import digest_message, health_message
from monitoring.model.finding import Cause, Finding
from monitoring.model.report import DigestReport, HealthReport
from monitoring.text.limits import MARKDOWN
from tests.support import samples

GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def health_page(report: HealthReport) -> str:
    return markdown_page(health_message(report))


def digest_page(report: DigestReport) -> str:
    return markdown_page(digest_message(report))


def hrefs(text: str) -> set[object]:
    return {
        child.attrGet("href")
        for token in GITHUB.parse(text)
        for child in token.children or []
        if child.type == "link_open"
    }


def test_every_finding_has_its_link() -> None:
    report = samples.bad()
    assert {finding.url for finding in report.findings} <= hrefs(health_page(report))


def test_runs_are_linked_and_counted() -> None:
    text = health_page(samples.bad())
    assert f"{samples.UI}/runs/flow-run/run-2" in hrefs(text)
    assert "3 runs: " in text


def test_without_a_ui_runs_are_counted_only() -> None:
    server = samples.SERVER.model_copy(update={"ui_url": None})
    text = health_page(samples.bad().model_copy(update={"server": server}))
    assert "/runs/flow-run/" not in text
    assert "3 runs" in text


def test_a_hostile_name_makes_no_link_no_image_and_no_html() -> None:
    for text in (health_page(samples.bad()), digest_page(samples.digest(samples.bad()))):
        tokens = [child for token in GITHUB.parse(text) for child in token.children or []]
        assert not {token.type for token in tokens} & {"html_inline", "image", "code_inline", "em"}
        assert all(str(href).startswith(samples.UI) for href in hrefs(text))
        html = [token.content for token in GITHUB.parse(text) if token.type == "html_block"]
        assert all(re.fullmatch(r"<details><summary>[\w :]+</summary>\n|</details>\n", own) for own in html)


def test_every_table_is_whole() -> None:
    text = digest_page(samples.digest(samples.bad()))
    tokens = GITHUB.parse(text)
    rows = [token.type for token in tokens].count("tr_open")
    assert rows == sum(line.startswith("|") for line in text.splitlines()) - text.count("|---|\n")


def test_thousands_of_findings_stay_readable_and_are_counted() -> None:
    text = health_page(samples.crowd(2_000))
    assert len(text) < 2_000_000
    assert sum(line.startswith("| critical") for line in text.splitlines()) <= MARKDOWN.rows * 7
    assert "more findings: see `watchdog check --json`" in text
    assert "more symptoms" in text


def test_what_could_not_be_judged_does_not_look_like_a_problem() -> None:
    text = health_page(samples.report(samples.finding("zombie", "ml/score", severity="info", unknown=True)))
    assert "# 🟢 OK prod: Nothing wrong was seen, but 1 subject could not be judged." in text
    assert text.index("1 subject could not be judged") < text.index("ml/score")


def test_what_is_worth_knowing_does_not_look_like_a_problem() -> None:
    text = health_page(samples.report(samples.finding("paused", "old/import", severity="info")))
    assert "# 🟢 OK prod: Nothing is wrong." in text
    assert text.index("For information") < text.index("old/import")
    assert "could not be judged" not in text


def test_information_that_a_problem_explains_stands_under_it() -> None:
    cause = samples.finding("failed", "a/cause")
    known = samples.finding("slow", "a/slower", severity="info", symptom_of=cause.fingerprint)
    text = health_page(samples.report(cause, known))
    assert text.index("↳ symptom") < text.index("a/slower")
    assert "For information" not in text


def test_who_should_look_is_named() -> None:
    finding = samples.finding("failed", "a/b", owner="data")
    for text in (health_page(samples.report(finding)), digest_page(samples.digest(samples.report(finding)))):
        assert "(owner: data) |" in text


def test_evidence_is_shown_as_it_is_and_cannot_end_its_block() -> None:
    lines = ("  File x", "```", "</code></pre>", samples.HOSTILE)
    text = health_page(samples.report(samples.finding("failed", "a/b", evidence=lines)))
    (block,) = [token.content for token in GITHUB.parse(text) if token.type == "fence"]
    assert block.splitlines() == list(lines)


@pytest.mark.parametrize(("number", "last"), [(10, "line 9"), (11, "and 2 more lines")])
def test_evidence_is_bounded_and_the_rest_is_counted(number: int, last: str) -> None:
    lines = tuple(f"line {n}" for n in range(number))
    text = health_page(samples.report(samples.finding("failed", "a/b", evidence=lines)))
    (block,) = [token.content for token in GITHUB.parse(text) if token.type == "fence"]
    assert block.splitlines()[-1] == last
    assert len(block.splitlines()) == MARKDOWN.lines


def test_the_way_that_a_failure_took_is_shown() -> None:
    cause = Cause(kind="flow-run", name="load", reason="failed", path=("a/b", "load", "read"))
    text = health_page(samples.report(samples.finding("failed", "a/b", cause=cause)))
    assert "flow run load failed (a/b \\> load \\> read)" in text


def test_a_symptom_of_a_symptom_is_shown_under_the_first_cause() -> None:
    cause = samples.finding("failed", "a/cause")
    symptom = samples.finding("late", "b/symptom", symptom_of=cause.fingerprint)
    second = samples.finding("stale", "c/second", symptom_of=symptom.fingerprint)
    report = samples.report().model_copy(update={"findings": (cause, symptom, second), "status": "warning"})
    text = health_page(report)
    assert "WARNING prod: 1 warning.\n\n2 symptoms" in text
    assert text.count("↳ symptom") == 2


def test_a_symptom_whose_cause_is_not_in_the_report_stands_for_itself() -> None:
    report = samples.report(samples.finding("late", "b/symptom", symptom_of="elsewhere"))
    assert "| warning | [b/symptom]" in health_page(report)


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (samples.unknown_digest(samples.healthy()), "| Yesterday | unknown |"),
        (
            samples.unknown_digest(samples.healthy()).model_copy(update={"yesterday": samples.totals(9)}),
            "| Yesterday | no runs ended | 0 |",
        ),
        (
            samples.unknown_digest(samples.healthy()).model_copy(update={"yesterday": samples.totals(9, cancelled=4)}),
            "| Yesterday | only cancelled runs (4) | 4 |",
        ),
        (samples.digest(samples.healthy()), "97.2 % (1,190 of 1,224 runs)"),
    ],
)
def test_unknown_is_not_zero_and_nothing_is_not_failure(report: DigestReport, text: str) -> None:
    assert text in digest_page(report)


def test_text_of_every_field_is_escaped() -> None:
    hostile = samples.HOSTILE
    finding: Finding = samples.finding("failed", hostile, summary=hostile, observed=hostile, expected=hostile)
    text = health_page(samples.report(finding))
    row = next(line for line in text.splitlines() if line.startswith("| warning"))
    assert row.count("\\|") == 4
    assert "<!channel>" not in text.replace("\\<!channel\\>", "")
