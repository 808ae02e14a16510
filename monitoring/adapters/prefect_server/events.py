"""Sends Prefect events through the API, which answers when the server has them.

Prefect's own ``emit_event`` sends in the background, where a kill can lose what it was given, and adds resources of the
run that it is called in.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from monitoring.adapters.prefect_server.api import Api
from monitoring.alerting.values import Event
from monitoring.errors import BadAnswer

_log = logging.getLogger(__name__)

_REFUSED = 422


class PrefectEvents:
    """The events of one server, as ``ports.Events``."""

    def __init__(self, api: Api) -> None:
        """Use this server; nothing is sent yet."""
        self._api = api

    def send(self, events: Sequence[Event]) -> None:
        """Send events in one request; one with an id that was sent before is stored once.

        A server may have been set up to take fewer related resources than ours have. It gets them without any, one by
        one: an event that it never takes would hold up all that come after it.

        Raises:
            ServerProblem: The server did not take them.
        """
        if not events:
            return
        try:
            self._api.post("/events", [_written(event) for event in events])
        except BadAnswer as problem:
            if problem.status != _REFUSED:
                raise
            _log.warning("Events are sent without their related resources: the server takes fewer of them")
            for event in events:
                self._api.post("/events", [_written(event.model_copy(update={"related": ()}))])


def _written(event: Event) -> dict[str, Any]:
    """An event as the server takes it (prefect/server/events/schemas/events.py, ``Event``)."""
    return {
        "id": event.id,
        "occurred": event.at.isoformat(),
        "event": event.name,
        "resource": dict(event.resource),
        "related": [dict(resource) for resource in event.related],
        "payload": dict(event.payload),
    }
