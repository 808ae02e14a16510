"""What the tests of commands share."""

from __future__ import annotations

import httpcore._sync.connection
import pytest


@pytest.fixture(autouse=True)
def _no_wait_between_connection_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect again at once where nothing listens: Prefect's client waits 1.5 s over its four attempts."""
    monkeypatch.setattr(httpcore._sync.connection, "RETRIES_BACKOFF_FACTOR", 0.0)
