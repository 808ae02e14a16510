"""The tables of unusual ends are made of the raw figures, the claims of the page hold, and a sample is as they say."""

from __future__ import annotations

import json

import pytest

from benchmarks.intervals import wilson
from benchmarks.suspicious_runs import judged_pattern
from benchmarks.unusual_ends import CHOOSING, HELD_OUT, tables
from monitoring.checks.suspicious import Suspicious
from tests.support.paths import PROJECT

RAW = json.loads((PROJECT / "docs/unusual-ends.json").read_text(encoding="utf-8"))
PAGE = (PROJECT / "docs/unusual-ends.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "table"), tables(RAW).items(), ids=lambda value: value.split("\n")[0][:20])
def test_the_tables_are_those_of_the_raw_figures(name: str, table: str) -> None:
    assert f"<!-- {name} -->\n{table}\n<!-- end of {name} -->" in PAGE


def test_the_figures_are_of_seeds_on_which_nothing_was_chosen() -> None:
    assert RAW["measured"]["seeds"] == {"choosing": list(CHOOSING), "held out": list(HELD_OUT)}
    assert not {*CHOOSING} & {*HELD_OUT}


def test_a_sample_of_a_seed_finds_most_of_what_is_planted_and_nothing_else() -> None:
    """Two planted runs among the newest thirty hide the next."""
    counts = judged_pattern(HELD_OUT[0], "run time", "steady", Suspicious(), deployments=5)

    assert counts["x10 found"] + counts["x50 found"] > 0.7 * (counts["x10"] + counts["x50"]) > 10
    assert counts.get("ordinary found", 0) == 0


def test_the_interval_is_wilsons() -> None:
    """The values of the usual tables."""
    assert [round(bound, 3) for bound in wilson(8, 10)] == [0.490, 0.943]
    assert [round(bound, 3) for bound in wilson(0, 10)] == [0.0, 0.278]
    assert wilson(0, 0) == (0.0, 1.0)
