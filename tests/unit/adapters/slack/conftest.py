"""What the tests of Slack share."""

from __future__ import annotations

import pytest


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which the client would have slept before it tried again; it tries at once."""
    seconds: list[float] = []
    monkeypatch.setattr("monitoring.adapters.slack.client.time.sleep", seconds.append)
    return seconds
