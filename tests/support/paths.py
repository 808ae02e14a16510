"""Where the project's own files are."""

from __future__ import annotations

from pathlib import Path

#: The folder of the project.
PROJECT = Path(__file__).resolve().parents[2]

#: The folder of the tests.
TESTS = PROJECT / "tests"
