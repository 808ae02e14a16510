"""Publishes Prefect events through the API, which answers when the server has them, and finds the stored events.

Prefect's own ``emit_event`` sends in the background, where a kill can lose events, and adds resources of the run that
it is called in.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from monitoring.adapters.prefect.client.api import Api
from monitoring.errors import BadAnswer, CredentialsRefused
from monitoring.logs import get_logger
from monitoring.model.base import Value
from monitoring.model.outbox import Event

_log = get_logger(__name__)

_UNPROCESSABLE = 422
_MARGIN = timedelta(seconds=1)


class _Row(Value):
    id: str


class _Page(Value):
    events: tuple[_Row, ...]


@dataclass
class PrefectEvents:
    """The events of one server, as ``ports.Events``."""

    api: Api

    def send(self, events: Sequence[Event]) -> None:
        """Send events in one request; an event with an id that was sent before is stored once.

        A server may be configured to accept fewer related resources than ours have. Then events are sent without any,
        one by one: an event that the server never accepts would hold up all later events.
        """
        if not events:
            return
        try:
            self.api.post("/events", [_encoded(event) for event in events])
        except BadAnswer as problem:
            if problem.status != _UNPROCESSABLE:
                raise
            _log.warning("events cut", says="the server takes fewer related resources: they are left out")
            for event in events:
                self.api.post("/events", [_encoded(event.model_copy(update={"related": ()}))])

    def kept(self, events: Sequence[Event]) -> Collection[str]:
        """Return the ids of the events, of at most 50, that the server has stored: all if we may not read events."""
        ids = [event.id for event in events]
        # Without a range, the server uses its own.
        times = [event.at for event in events]
        occurred = {"since": (min(times) - _MARGIN).isoformat(), "until": (max(times) + _MARGIN).isoformat()}
        body = {"filter": {"id": {"id": ids}, "occurred": occurred}, "limit": len(ids)}
        try:
            return {row.id for row in self.api.query("/events/filter", body, _Page).events}
        except CredentialsRefused:
            return set(ids)


def _encoded(event: Event) -> dict[str, Any]:
    """An event as the server accepts it (prefect/server/events/schemas/events.py, ``Event``)."""
    return {
        "id": event.id,
        "occurred": event.at.isoformat(),
        "event": event.name,
        "resource": dict(event.resource),
        "related": [dict(resource) for resource in event.related],
        "payload": dict(event.payload),
    }
