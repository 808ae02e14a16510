"""Documents as an earlier version saved them."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "documents_before"


def documents_before() -> dict[str, str]:
    """The bodies by the name of their document."""
    return {file.stem: file.read_text() for file in sorted(_FOLDER.iterdir()) if file.name != "README.md"}
