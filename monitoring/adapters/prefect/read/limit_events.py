"""Who holds the slots of a global concurrency limit: code inside runs does, and only events show it.

Each run that acquires slots sends ``prefect.concurrency-limit.acquired`` and, when it releases
them, ``prefect.concurrency-limit.released`` (prefect/concurrency/_events.py). A killed process releases nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import AliasPath, Field

from monitoring.adapters.prefect.read.collection import Collection, read_events
from monitoring.adapters.prefect.read.rows import parsed
from monitoring.model.base import Timestamp, Value

_ACQUIRED = "prefect.concurrency-limit.acquired"
_RELEASED = "prefect.concurrency-limit.released"
_FLOW_RUN = "prefect.flow-run."
#: The maximum that the server returns at once (prefect/server/api/events.py, ``INTERACTIVE_PAGE_SIZE``).
_PAGE = 50
_MAX_PAGES = 4
#: How long a server keeps events by default.
_HISTORY = timedelta(days=7)


class Held(NamedTuple):
    """The slots of one limit that are held."""

    #: How many each flow run holds, by its id.
    slots: Counter[str]
    #: Whether others may hold slots: older events were not read, or code outside runs took some.
    more: bool


class _Event(Value):
    id: str
    event: str
    occurred: Timestamp
    slots: int = Field(validation_alias=AliasPath("resource", "slots-acquired"))
    related: tuple[Mapping[str, str], ...] = ()

    @property
    def flow_run_id(self) -> str:
        """The flow run that acquired or released the slots; empty for code outside runs."""
        runs = (resource for resource in self.related if resource.get("prefect.resource.role") == "flow-run")
        return next(runs, {}).get("prefect.resource.id", "").removeprefix(_FLOW_RUN)


def held_slots(collection: Collection, limit_id: str) -> Held:
    """Derive from the newest events of a limit who holds its slots."""
    events: dict[str, _Event] = {}
    until = collection.now
    for _ in range(_MAX_PAGES):
        page = collection.query("limit-holders", None, _page, collection, limit_id, until)
        if page is None:
            break
        events |= {event.id: event for event in page}
        if len(page) < _PAGE:
            return _held(events, more=False)
        until = min(event.occurred for event in page)
    return _held(events, more=True)


def _held(events: Mapping[str, _Event], *, more: bool) -> Held:
    slots: Counter[str] = Counter()
    for event in events.values():
        slots[event.flow_run_id] += event.slots if event.event == _ACQUIRED else -event.slots
    outside = slots.pop("", 0)
    return Held(+slots, more or outside > 0)


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
    return [parsed("events", _Event.model_validate, row) for row in read_events(collection.api, body)]
