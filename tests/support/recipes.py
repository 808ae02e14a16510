"""The recipes of the documentation, followed on a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import PROJECT

RECIPES = PROJECT / "docs/contributing"
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".demo", ".cache", ".hypothesis", ".*_cache", "*.egg-info", "build", "dist"
)
_PATH = re.compile(r"`([\w./-]+\.(?:py|md|json|yaml|yml))`")


class Edit(NamedTuple):
    """A change that a recipe shows: lines of a file, each kept (a space before it), new (a plus) or gone (a minus)."""

    path: str
    lines: tuple[str, ...]

    def apply(self, folder: Path) -> None:
        """Make the change in a copy of the project.

        Raises:
            AssertionError: The lines that are there before are not in the file one after the other, or more than once.
        """
        file = folder / self.path
        before = "".join(f"{line[1:]}\n" for line in self.lines if line[0] != "+")
        after = "".join(f"{line[1:]}\n" for line in self.lines if line[0] != "-")
        text = file.read_text() if before else ""
        assert before or not file.exists(), f"{self.path} is not new"
        assert text.count(before) == 1, f"{self.path} has not exactly once:\n{before}"
        file.write_text(text.replace(before, after))


def edits(page: str) -> Iterator[Edit]:
    """The changes that a recipe shows, each in the file that its step names first."""
    path = ""
    for part in re.split(r"^( *```diff\n.*?^ *```)$", page, flags=re.MULTILINE | re.DOTALL):
        if not part.lstrip().startswith("```diff"):
            *_, step = re.split(r"^\d+\. ", part, flags=re.MULTILINE)
            path = next(iter(_PATH.findall(step)), path)
            continue
        first, *lines, _ = part.splitlines()
        indent = len(first) - len(first.lstrip())
        # An editor may have taken the blank before an empty line away.
        yield Edit(path, tuple(line[indent:] or " " for line in lines))


def follow(recipe: str, folder: Path) -> Path:
    """Copy the project and make the changes of a recipe; return the copy."""
    copy = folder / "project"
    shutil.copytree(PROJECT, copy, ignore=_LEFT_OUT)
    for edit in edits((RECIPES / recipe).read_text()):
        edit.apply(copy)
    return copy


def python(copy: Path, program: str, *arguments: str, **env: str) -> str:
    """Run a program in a copy of the project, and return its output.

    Raises:
        AssertionError: It has failed.
    """
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
