"""The server's own vitals: how fast it answers, how its clock differs, and whether events arrive."""

from __future__ import annotations

from datetime import datetime, timedelta
from statistics import median

from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import Collection, read_events
from monitoring.model.observation import EVENTS_DELAY, Vitals
from monitoring.model.prefect import FlowRun

#: Older events are not read: the server counts all events of the window in the filter.
_LOOK_BACK = timedelta(days=1)


def read_vitals(collection: Collection) -> Vitals:
    """Measure the answers of this collection until now, and read the newest event.

    Answer times are rounded to a millisecond: more cannot be seen.
    """
    answers = collection.api.traffic.answers
    newest, unheard = collection.query_if_supported("events", (None, None), _events, collection)
    return Vitals(
        answer_time=timedelta(seconds=round(median(answer.seconds for answer in answers), 3)) if answers else None,
        answers=len(answers),
        clock_offset=collection.api.traffic.clock_offset,
        newest_event=newest,
        unheard=unheard,
    )


def _events(collection: Collection) -> tuple[datetime | None, FlowRun | None]:
    """The newest event, and a run that ended after it without an event of its own.

    If events arrive, that is one request for a short window.
    """
    now, missing = collection.now, collection.config.server.events_missing
    earliest = now - max(_LOOK_BACK, 2 * missing)
    newest = _newest_event(collection, now - missing) or _newest_event(collection, earliest)
    since = newest + EVENTS_DELAY if newest else earliest
    if since > now - missing:
        return newest, None
    window = {"after_": since.isoformat(), "before_": (now - missing).isoformat()}
    path = "/flow_runs/filter"
    answer = collection.api.post(path, {"flow_runs": {"end_time": window}, "sort": "END_TIME_DESC"})
    runs = [rows.parsed(path, collection.flow_run, row) for row in rows.rows_of(answer, path)]
    # A run that never started may have been written by something else than the server.
    return newest, next((run for run in runs if run.total_run_time > timedelta(0)), None)


def _newest_event(collection: Collection, since: datetime) -> datetime | None:
    window = {"since": since.isoformat(), "until": collection.now.isoformat()}
    events = read_events(collection.api, {"filter": {"occurred": window}, "limit": 1})
    return max((rows.parsed("events", _occurred, row) for row in events), default=None)


def _occurred(row: rows.Row) -> datetime:
    return rows.to_time(row["occurred"])
