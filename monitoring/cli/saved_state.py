"""What the checks remember, read for a person, and what that person asks of the next check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from getpass import getuser
from typing import Annotated

from cyclopts import Parameter

from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.read.maintenance import open_windows
from monitoring.adapters.prefect.store import action_requests as requests
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.pushed_config import pushed_reader
from monitoring.adapters.prefect.store.state import BlockState
from monitoring.cli.terminal import complain
from monitoring.config.settings import Config
from monitoring.config.source import load_policies
from monitoring.errors import ConfigError
from monitoring.messages.incident_list import Row
from monitoring.messages.words import moment
from monitoring.model.incident import Incident
from monitoring.model.request import Request
from monitoring.model.saved_state import SavedState
from monitoring.model.silence import Silence
from monitoring.model.target import Target as TargetServer
from monitoring.notifications.routing import silence_of

By = Annotated[
    str | None, Parameter(name="--by", allow_leading_hyphen=True, help="Who asks for it. [default: your login name]")
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON, as docs/incidents.md describes it.")]


@dataclass(frozen=True)
class Memory:
    """The saved state, and the server that keeps it."""

    api: Api
    state: BlockState
    config: Config
    saved: SavedState
    now: datetime

    @property
    def open_windows(self) -> tuple[Silence, ...]:
        """The maintenance windows that are open."""
        return open_windows(self.config.maintenance, self.now)

    def rows(self, incidents: Sequence[Incident]) -> list[Row]:
        """Incidents with what they fall under now."""
        silences = (*self.saved.silences.known, *self.open_windows)
        suppressed = self.saved.outbox.suppressed
        return [
            Row(
                incident,
                None if incident.resolved_at else silence_of(incident, silences, self.now),
                suppressed.get(incident.number),
            )
            for incident in incidents
        ]

    def next_check(self) -> str:
        """Say when what is asked for is done."""
        planned = requests.next_check(self.api, self.now)
        if planned is None:
            return "the next check does it; none is planned: is watchdog-check deployed on this server, and not paused?"
        return f"the next check does it, planned for {moment(planned)}"

    def ask(self, request: Request) -> None:
        """Leave a request for the next check."""
        requests.ask(self.api, request)


@contextmanager
def remembered(config: str | None, target: str | None) -> Iterator[Memory]:
    """Open the server, as configured, and read what the checks keep there; nothing is written.

    Raises:
        ConfigError: The configuration or the address cannot be used.
        CredentialsRefused: The server refuses our key.
        ServerProblem: The server cannot be used.
        StateError: A newer watchdog wrote the state.
    """
    now = datetime.now(timezone.utc)
    settings = load_policies(config, read_pushed=pushed_reader(TargetServer(address=target))).config
    with open_api(settings.server, TargetServer(address=target)) as api:
        state = BlockState(Documents(api), settings.state, now)
        saved, coverage = state.load()
        for query in coverage.missing:
            complain(f"{query.name}: {query.detail}")
        yield Memory(api, state, settings, saved, now)


def asking(by: str | None) -> str:
    """Who asks: the given name, or the login name.

    Raises:
        ConfigError: The name is empty, or not known.
    """
    try:
        name = (getuser() if by is None else by).strip()
    except (OSError, KeyError, ImportError):
        # As in a container whose user has no name.
        name = ""
    if not name:
        raise ConfigError("--by: expected a name; your login name is not known")
    return name
