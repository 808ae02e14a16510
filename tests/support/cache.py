"""What takes long to make is made once, for all workers and all runs of the tests."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.support.paths import PROJECT

_CACHE = PROJECT / ".cache"


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return a file or folder of the cache.

    Args:
        name: Its name, with the version of what it holds.
        make: Called where it is missing, by one worker at a time; makes it at the path that it is given.
    """
    kept = _CACHE / name
    _CACHE.mkdir(exist_ok=True)
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
                made = Path(folder) / "made"
                make(made)
                made.rename(kept)
    return kept
