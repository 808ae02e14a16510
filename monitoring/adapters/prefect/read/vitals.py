"""How well the server itself does: how fast it answers, what time it has, and whether events arrive."""

from __future__ import annotations

from datetime import datetime, timedelta
from statistics import median
from typing import Any

from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.errors import BadAnswer, CredentialsRefused
from monitoring.model.observation import EVENTS_DELAY, Vitals
from monitoring.model.prefect import FlowRun

#: What servers answer that have no events, or keep them from us.
_UNSUPPORTED = frozenset({404, 405, 501})
#: Nothing older is looked at: the server counts all events of the window that it is asked for.
_LOOK_BACK = timedelta(days=1)


def read_vitals(collection: Collection) -> Vitals:
    """Judge by the answers of this collection so far, and look for the newest event.

    No more is said of either than can be seen: a millisecond of an answer, and a second of the server's clock.
    """
    answers = collection.api.traffic.answers
    offsets = [answer.clock_offset for answer in answers if answer.clock_offset is not None]
    newest, unheard = collection.ask("events", (None, None), _events, collection)
    return Vitals(
        answer_time=timedelta(seconds=round(median(answer.seconds for answer in answers), 3)) if answers else None,
        answers=len(answers),
        # The median: the first answer took the time of a second one, for the CSRF token, and others wait in a queue.
        clock_offset=timedelta(seconds=round(median(offsets))) if offsets else None,
        newest_event=newest,
        unheard=unheard,
    )


def _events(collection: Collection) -> tuple[datetime | None, FlowRun | None]:
    """The newest event, and a run that ended after it without being heard of.

    Where events arrive, that is one request over a short window.
    """
    now, missing = collection.now, collection.config.server.events_missing
    earliest = now - max(_LOOK_BACK, 2 * missing)
    try:
        newest = _newest_event(collection, now - missing) or _newest_event(collection, earliest)
    except CredentialsRefused:
        return None, None
    except BadAnswer as problem:
        if problem.status in _UNSUPPORTED:
            return None, None
        raise
    since = newest + EVENTS_DELAY if newest else earliest
    if since > now - missing:
        return newest, None
    window = {"after_": since.isoformat(), "before_": (now - missing).isoformat()}
    path = "/flow_runs/filter"
    answer = collection.api.post(path, {"flow_runs": {"end_time": window}, "sort": "END_TIME_DESC"})
    runs = [
        rows.parsed(path, lambda row: rows.flow_run(row, collection.redact), row) for row in rows.rows_of(answer, path)
    ]
    # A run that never began may have been put there by other ways than the server's own.
    return newest, next((run for run in runs if run.total_run_time > timedelta(0)), None)


def _newest_event(collection: Collection, since: datetime) -> datetime | None:
    path = "/events/filter"
    window = {"since": since.isoformat(), "until": collection.now.isoformat()}
    answer = collection.api.post(path, {"filter": {"occurred": window}, "limit": 1})
    events: Any = answer.get("events") if isinstance(answer, dict) else None
    found = [rows.parsed(path, rows.EventRow.model_validate, row) for row in rows.rows_of(events, path)]
    return max((event.occurred for event in found), default=None)
