"""The state that is saved between checks."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from monitoring.model.base import Timestamp, Value
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.outbox import Outbox
from monitoring.model.request import Request, Silences


class Published(Value):
    """One version of an artifact of the watchdog."""

    id: str
    created: Timestamp


class PublishedArtifact(Value):
    """An artifact of the watchdog: the identity of its content, and its versions, newest last."""

    identity: str
    versions: tuple[Published, ...]


class SavedState(Value):
    """The state that is saved between checks."""

    ledger: Ledger = Ledger()
    incidents: Incidents = Incidents()
    silences: Silences = Silences()
    outbox: Outbox = Outbox()
    #: Closed incidents, newest first.
    closed: tuple[Incident, ...] = ()
    #: Action requests from the command line. A request that is missing when the state is saved was applied or rejected.
    requests: tuple[Request, ...] = ()
    #: Published artifacts by key.
    artifacts: Mapping[str, PublishedArtifact] = Field(default_factory=dict)
