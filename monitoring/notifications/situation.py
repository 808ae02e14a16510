"""The state after a check that decides which notifications are due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from monitoring.config.settings import Config
from monitoring.model.incident import Incident, Incidents
from monitoring.model.silence import Silence


@dataclass(frozen=True)
class Situation:
    """The state after a check.

    Args:
        incidents: The open incidents.
        closed: The incidents that were closed recently, also by this check.
        silences: Silences and maintenance windows, active or not.
        config: Routes, intervals and quiet hours.
        ui_url: Address of the Prefect UI, if there is one.
        now: The time of the check.
        complete: Whether the check saw everything.
    """

    incidents: Incidents
    closed: Sequence[Incident]
    silences: Sequence[Silence]
    config: Config
    ui_url: str | None
    now: datetime
    complete: bool

    @cached_property
    def firing(self) -> Mapping[int, Incident]:
        """The firing incidents by number."""
        return {incident.number: incident for incident in self.incidents.open.values() if incident.firing}

    @cached_property
    def known(self) -> Mapping[int, Incident]:
        """The firing incidents and the closed ones by number."""
        return {incident.number: incident for incident in self.closed if incident.number} | dict(self.firing)

    @cached_property
    def ids(self) -> Mapping[str, str]:
        """The ids of open incidents by fingerprint; empty for pending ones."""
        return {incident.finding.fingerprint: incident.id for incident in self.incidents.open.values()}
