"""All that is saved between checks."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import AwareDatetime, Field

from monitoring.model.base import Value
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.outbox import Outbox
from monitoring.model.request import Request, Silences


class Published(Value):
    """One version of an artifact that the watchdog made."""

    id: str
    created: AwareDatetime


class PublishedArtifact(Value):
    """What the watchdog published under one key: the identity of what it says, and its versions, newest last."""

    identity: str
    versions: tuple[Published, ...]


class SavedState(Value):
    """All that the watchdog remembers between checks."""

    ledger: Ledger = Ledger()
    incidents: Incidents = Incidents()
    silences: Silences = Silences()
    outbox: Outbox = Outbox()
    #: Closed incidents, newest first.
    closed: tuple[Incident, ...] = ()
    #: What people have asked for at the command line. What is not there any more when it is saved was done.
    requests: tuple[Request, ...] = ()
    #: Published artifacts by key.
    artifacts: Mapping[str, PublishedArtifact] = Field(default_factory=dict)
