"""What the integration tests share."""

from __future__ import annotations

import pytest

from tests.support.noise import noise
from tests.support.seeding import Seed


@pytest.fixture
def world(seed: Seed) -> Seed:
    """The session's server, with background noise on it."""
    noise(seed)
    return seed
