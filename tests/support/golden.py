"""Golden files, and the switch that writes them anew: ``pytest tests/unit/messages --regenerate-golden``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.paths import PROJECT

GOLDEN = PROJECT / "tests" / "golden"

Golden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate-golden", action="store_true", help="write the golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a rendering with its golden file, named first."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--regenerate-golden", default=False):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} differs; is the change meant?"

    return compare
