"""What the integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.stack import Server
from tests.support.measured_server import MeasuredServer, MeasuredServers
from tests.support.noise import noise
from tests.support.seeding import Seed


@pytest.fixture
def world(seed: Seed) -> Seed:
    """The session's server, with background noise on it."""
    noise(seed)
    return seed


@pytest.fixture
def measured_server(prefect_server: Server, tmp_path: Path) -> Iterator[MeasuredServers]:
    """Make ways to check the session's server with settings of the environment that measure."""
    made: list[MeasuredServer] = []

    def make(**settings: str) -> MeasuredServer:
        made.append(MeasuredServer(prefect_server, tmp_path / "place", **settings))
        return made[-1]

    yield make
    for server in made:
        server.stop()
