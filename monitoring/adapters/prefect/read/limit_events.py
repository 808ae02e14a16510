"""Who holds the slots of a global concurrency limit: code does, inside of runs, and says so in events only.

Each run that gets slots sends ``prefect.concurrency-limit.acquired`` and, when it gives them back,
``prefect.concurrency-limit.released`` (prefect/concurrency/_events.py). A process that is killed sends no second one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import AwareDatetime, Field

from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.rows import Row, parsed, rows_of
from monitoring.errors import BadAnswer
from monitoring.model.base import Value

_ACQUIRED = "prefect.concurrency-limit.acquired"
_RELEASED = "prefect.concurrency-limit.released"
_FLOW_RUN = "prefect.flow-run."
#: The most that the server gives at once (prefect/server/api/events.py, ``INTERACTIVE_PAGE_SIZE``).
_PAGE = 50
_MAX_PAGES = 4
#: As long as a server keeps events, by default.
_HISTORY = timedelta(days=7)


class Held(NamedTuple):
    """The slots of one limit that are held.

    Args:
        slots: How many each flow run holds, by its id.
        more: Whether others may hold slots: older events were not read, or code outside of runs took some.
    """

    slots: Counter[str]
    more: bool


class _Event(NamedTuple):
    id: str
    at: datetime
    slots: int
    flow_run_id: str | None


class _Resource(Value):
    """The limit, as an event has it."""

    slots: int = Field(alias="slots-acquired")


class _EventRow(Value):
    """An event about a limit."""

    id: str
    event: str
    occurred: AwareDatetime
    resource: _Resource
    related: tuple[Mapping[str, Any], ...] = ()


def held_slots(collection: Collection, limit_id: str) -> Held:
    """Work out from the newest events of a limit who holds its slots.

    Args:
        collection: What to ask with.
        limit_id: The limit.
    """
    events: dict[str, _Event] = {}
    until = collection.now
    for _ in range(_MAX_PAGES):
        page = collection.ask("limit-holders", None, _page, collection, limit_id, until)
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
    path = "/events/filter"
    answer = collection.api.post(path, body)
    if not isinstance(answer, dict):
        raise BadAnswer(f"the server answers {path} with something that is no page of events: is this a Prefect API?")
    return [parsed("events", _event, row) for row in rows_of(answer.get("events"), path)]


def _event(row: Row) -> _Event:
    event = _EventRow.model_validate(row)
    of = (one["prefect.resource.id"] for one in event.related if one.get("prefect.resource.role") == "flow-run")
    flow_run = next(of, None)
    return _Event(
        id=event.id,
        at=event.occurred,
        slots=event.resource.slots if event.event == _ACQUIRED else -event.resource.slots,
        flow_run_id=flow_run.removeprefix(_FLOW_RUN) if flow_run else None,
    )
