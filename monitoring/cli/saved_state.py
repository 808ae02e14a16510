"""Reads the saved state for people, and saves their action requests for the next check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from monitoring.cli.session import configuration, open_session
from monitoring.cli.terminal import print_error
from monitoring.errors import ConfigError
from monitoring.messages.incident_messages import IncidentView
from monitoring.messages.words import timestamp
from monitoring.model.incident import Incident
from monitoring.model.saved_state import SavedState
from monitoring.notifications.routing import silence_of

if TYPE_CHECKING:
    from monitoring.wiring import Session

By = Annotated[
    str | None, Parameter(name="--by", allow_leading_hyphen=True, help="Who requests it. [default: your login name]")
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON, as docs/incidents.md describes it.")]


@dataclass(frozen=True)
class StateSession:
    """The saved state, and the session with the server that keeps it."""

    server: Session
    saved: SavedState

    def rows(self, incidents: Sequence[Incident]) -> list[IncidentView]:
        """Incidents, each with its active silence."""
        now = self.server.now
        silences = (*self.saved.silences.known, *self.server.open_windows())
        suppressed = self.saved.outbox.suppressed
        return [
            IncidentView(
                incident,
                None if incident.resolved_at else silence_of(incident, silences, now),
                suppressed.get(incident.number),
            )
            for incident in incidents
        ]

    def next_check(self) -> str:
        """Describe when an action request is applied."""
        planned = self.server.next_check()
        if planned is None:
            return "the next check applies it, but none is planned: is watchdog-check deployed, and not paused?"
        return f"the next check applies it, planned for {timestamp(planned)}"


@contextmanager
def open_saved_state(config: str | None, target: str | None) -> Iterator[StateSession]:
    """Open a session with the server, as configured, and read the saved state there; nothing is written.

    Raises:
        ConfigError: The configuration or the address cannot be used.
        CredentialsRefused: The server rejects the API key.
        ServerProblem: The server cannot be used.
        StateError: A newer watchdog wrote the state.
    """
    with open_session(configuration(config, target), target) as server:
        saved, coverage = server.state().load()
        for query in coverage.missing:
            print_error(f"{query.name}: {query.detail}")
        yield StateSession(server, saved)


def requester(by: str | None) -> str:
    """Who requests an action: the given name, or the login name.

    Raises:
        ConfigError: The name is empty or unknown.
    """
    try:
        name = (getuser() if by is None else by).strip()
    except (OSError, KeyError, ImportError):
        # For example in a container whose user has no name.
        name = ""
    if not name:
        raise ConfigError("--by: expected a name, because your login name is unknown")
    return name
