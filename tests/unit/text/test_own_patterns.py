"""Patterns that some text would keep busy for ever are known as such, and usual ones are not."""

from __future__ import annotations

import pytest

from monitoring.text.own_patterns import is_slow


@pytest.mark.parametrize(
    "pattern", [r"(A+)+!", r"(a|aa)+$", r"(\w+\s?)*;", r"(x+x+)+y", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(ab|a|b)*c"]
)
def test_a_pattern_that_may_never_end_is_slow(pattern: str) -> None:
    assert is_slow(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"ACME-\d+",
        r"\b\d{3}-\d{2}-\d{4}\b",
        r"[\w.+-]+@[\w.-]+\.\w+",
        r"[A-Za-z0-9+/]{40,}={0,2}",
        r"(?i)customer[ _-]?id\s*[:=]\s*\S+",
        r".*secret.*",
        r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}",
        r"(?<=user=)\w+",
        r"(?s)BEGIN.*?END",
        r"https?://\S+/private/\S+",
    ],
)
def test_a_usual_pattern_is_not(pattern: str) -> None:
    assert not is_slow(pattern)
