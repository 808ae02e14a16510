"""The page about reliability follows its figures, and the figures the catalog of faults."""

from __future__ import annotations

import json

from tests.server.faults.catalog import FAULTS
from tests.server.faults.table import FIGURES, PAGE, page


def test_the_page_is_made_of_the_figures() -> None:
    assert PAGE.read_text() == page(json.loads(FIGURES.read_text()))


def test_every_fault_was_played_and_survived() -> None:
    rows = json.loads(FIGURES.read_text())["faults"]
    assert [row["fault"] for row in rows] == [fault.name for fault in FAULTS]
    assert [row["fault"] for row in rows if row["problem"]] == []
