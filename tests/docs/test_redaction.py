"""The table of what the redactor finds is made of the raw figures, and only what no pattern can know passes."""

from __future__ import annotations

import json

from benchmarks.redaction import ORDINARY, table
from tests.support.paths import PROJECT

RAW = json.loads((PROJECT / "docs/redaction.json").read_text(encoding="utf-8"))
UNKNOWABLE = {"a password in a sentence", "a lone secret without a form"}


def test_the_table_is_that_of_the_raw_figures() -> None:
    assert table(RAW) in (PROJECT / "docs/redaction.md").read_text(encoding="utf-8")


def test_what_passes_is_what_no_pattern_can_know() -> None:
    found = RAW["the watchdog"]

    assert {kind for kind, counts in found["leaks"].items() if any(counts.values())} <= UNKNOWABLE
    assert found["changed"] / ORDINARY < 0.005
