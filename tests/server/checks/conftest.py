"""A server with noise on it, on which nothing that is healthy may be found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.assessment import assess_server
from tests.support.noise import noise
from tests.support.seeding import Seed


@pytest.fixture
def world(seed: Seed) -> Iterator[Seed]:
    """A server with noise on it. None of that is ever found, whatever else a test plants."""
    noise(seed)
    yield seed
    noisy = [name for _, name in assess_server(seed.now).found if name.startswith("noise-")]
    assert noisy == []
