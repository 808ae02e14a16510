"""The page about the soak follows its figures, and nothing in them grows."""

from __future__ import annotations

import json

from tests.server.soak.table import FIGURES, PAGE, growing, page


def test_the_page_is_made_of_the_figures() -> None:
    assert PAGE.read_text() == page(json.loads(FIGURES.read_text()))


def test_nothing_grows_from_check_to_check() -> None:
    assert growing(json.loads(FIGURES.read_text())["samples"]) == []
