"""Fixtures for the tests that need real servers. A missing program is a failure that names it, never a skip."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from demo.stack import Server
from tests.support.paths import TESTS
from tests.support.servers import Emptier, Postgres, connected, start_server
from tests.support.slack import SlackEmulator

if TYPE_CHECKING:
    # It imports the whole of Prefect's server, which most tests do without.
    from tests.support.seeding import Seed

pytest_plugins = ["tests.support.golden"]

# pytest-xdist sets it for its workers, and what the watchdog prints in a pipe would be as wide as that.
os.environ.pop("COLUMNS", None)
# A shell lets what it runs in the background ignore interrupts, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ServerFactory = Callable[..., Server]

# How fast a machine is says nothing about the code. The same examples each time: a failure belongs to the change that
# it comes with. `--hypothesis-profile=explore` draws others.
settings.register_profile("explore", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", settings.get_profile("explore"), derandomize=True)
settings.load_profile("fixed")


#: What stands in these needs real servers.
_INTEGRATION = (TESTS / "server", TESTS / "corpus")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what the pure tests alone leave out."""
    return True if collection_path in _INTEGRATION and config.getoption("markexpr") == "not integration" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need real servers, by their folder, and put the pure tests first.

    They are quick, and Hypothesis refuses a strategy during which Python's shared random numbers are drawn: the event
    client that a flow in this process leaves behind does so, from its thread, whenever it pings its server.
    """
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in _INTEGRATION):
            item.add_marker(pytest.mark.integration)
    items.sort(key=lambda item: item.get_closest_marker("integration") is not None)


@pytest.fixture(scope="session")
def _shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Emptier]]:
    server = start_server(tmp_path_factory.mktemp("prefect-server"))
    yield server, Emptier(server)
    server.stop()


@pytest.fixture
def prefect_server(_shared_server: tuple[Server, Emptier]) -> Iterator[Server]:
    """The session's server, emptied for this test; Prefect's client in this process is pointed at it."""
    server, empty = _shared_server
    # A server keeps automations in its memory until it is told to forget them.
    for automation in server.request("POST", "/automations/filter", {}):
        server.request("DELETE", f"/automations/{automation['id']}")
    empty()
    with connected(server):
        yield server


@pytest.fixture
def seed(prefect_server: Server) -> Seed:
    """A history writer for `prefect_server`."""
    from tests.support.seeding import Seed

    return Seed(prefect_server.database_url)


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Postgres]:
    postgres = Postgres()
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.stop()


@pytest.fixture
def fresh_server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[ServerFactory]:
    """Make servers that a test may kill or configure: ``fresh_server({"PREFECT_...": "..."}, database="postgresql")``.

    They are stopped after the test. Prefect's client in this process is not pointed at them: see `connected`.
    """
    servers: list[Server] = []

    def make(env: Mapping[str, str] | None = None, *, database: str = "sqlite") -> Server:
        url = request.getfixturevalue("_postgres").new_database() if database == "postgresql" else None
        servers.append(start_server(tmp_path_factory.mktemp("fresh-server"), database_url=url, env=env))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def _shared_slack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlackEmulator]:
    slack = SlackEmulator(tmp_path_factory.mktemp("slack"))
    try:
        slack.start()
        yield slack
    finally:
        slack.stop()


@pytest.fixture
def slack_emulator(_shared_slack: SlackEmulator) -> SlackEmulator:
    """A Slack workspace with empty channels."""
    _shared_slack.clear()
    return _shared_slack
