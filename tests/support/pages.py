"""Pages of the documentation, as tests read them."""

from __future__ import annotations

import re
from collections.abc import Iterator

_ITEM = re.compile(r"^- (.*(?:\n {2}\S.*)*)$", re.MULTILINE)


def items(page: str) -> Iterator[str]:
    """Each item of the page's lists on one line, however it is wrapped."""
    for item in _ITEM.findall(page):
        yield re.sub(r"\n\s*", " ", item)
