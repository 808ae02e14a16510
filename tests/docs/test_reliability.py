"""The page about reliability follows its figures, and the figures the catalog of faults."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tests.server.faults.catalog import FAULTS, PlayedFault
from tests.server.faults.lives import LIVES, LifeFault
from tests.server.faults.table import FIGURES, PAGE, page


def test_the_page_is_made_of_the_figures() -> None:
    assert PAGE.read_text() == page(json.loads(FIGURES.read_text()))


@pytest.mark.parametrize(("part", "faults"), [("answers", FAULTS), ("life", LIVES)])
def test_every_fault_was_played_and_survived(part: str, faults: Sequence[PlayedFault | LifeFault]) -> None:
    rows = json.loads(FIGURES.read_text())[part]["faults"]
    assert [row["fault"] for row in rows] == [fault.name for fault in faults]
    assert [row["fault"] for row in rows if row["problem"]] == []
