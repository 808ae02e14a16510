"""Who holds the slots of a global concurrency limit: code inside runs does, and only events show it.

Each run that acquires slots sends ``prefect.concurrency-limit.acquired`` and, when it releases
them, ``prefect.concurrency-limit.released`` (prefect/concurrency/_events.py). A killed process releases nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import AwareDatetime, Field

from monitoring.adapters.prefect.read.collection import Collection, read_events
from monitoring.adapters.prefect.read.rows import Row, parsed
from monitoring.model.base import Value

_ACQUIRED = "prefect.concurrency-limit.acquired"
_RELEASED = "prefect.concurrency-limit.released"
_FLOW_RUN = "prefect.flow-run."
#: The maximum that the server returns at once (prefect/server/api/events.py, ``INTERACTIVE_PAGE_SIZE``).
_PAGE = 50
_MAX_PAGES = 4
#: How long a server keeps events by default.
_HISTORY = timedelta(days=7)


class Held(NamedTuple):
    """The slots of one limit that are held.

    Args:
        slots: How many each flow run holds, by its id.
        more: Whether others may hold slots: older events were not read, or code outside runs took some.
    """

    slots: Counter[str]
    more: bool


class _Event(NamedTuple):
    id: str
    at: datetime
    slots: int
    flow_run_id: str | None


class _Resource(Value):
    """The limit in an event."""

    slots: int = Field(alias="slots-acquired")


class _EventRow(Value):
    """An event about a limit."""

    id: str
    event: str
    occurred: AwareDatetime
    resource: _Resource
    related: tuple[Mapping[str, Any], ...] = ()


def held_slots(collection: Collection, limit_id: str) -> Held:
    """Derive from the newest events of a limit who holds its slots.

    Args:
        collection: Queries the server.
        limit_id: The limit.
    """
    events: dict[str, _Event] = {}
    until = collection.now
    for _ in range(_MAX_PAGES):
        page = collection.query("limit-holders", None, _page, collection, limit_id, until)
        if page is None:
            break
        events |= {event.id: event for event in page}
        if len(page) < _PAGE:
            return _held(events, more=False)
        until = min(event.at for event in page)
    return _held(events, more=True)


def _held(events: Mapping[str, _Event], *, more: bool) -> Held:
    slots: Counter[str | None] = Counter()
    for event in events.values():
        slots[event.flow_run_id] += event.slots
    outside = slots.pop(None, 0)
    return Held(Counter({id: count for id, count in slots.items() if id and count > 0}), more or outside > 0)


def _page(collection: Collection, limit_id: str, until: datetime) -> list[_Event]:
    body = {
        "filter": {
            "event": {"name": [_ACQUIRED, _RELEASED]},
            "resource": {"id": [f"prefect.concurrency-limit.{limit_id}"]},
            "occurred": {"since": (collection.now - _HISTORY).isoformat(), "until": until.isoformat()},
            "order": "DESC",
        },
        "limit": _PAGE,
    }
    return [parsed("events", _event, row) for row in read_events(collection.api, body)]


def _event(row: Row) -> _Event:
    event = _EventRow.model_validate(row)
    runs = (
        resource["prefect.resource.id"]
        for resource in event.related
        if resource.get("prefect.resource.role") == "flow-run"
    )
    flow_run = next(runs, None)
    return _Event(
        id=event.id,
        at=event.occurred,
        slots=event.resource.slots if event.event == _ACQUIRED else -event.resource.slots,
        flow_run_id=flow_run.removeprefix(_FLOW_RUN) if flow_run else None,
    )
