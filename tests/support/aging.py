"""Lets time pass for a server and its saved state: not the clock moves; all that has happened is dated back."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

from demo.stack import Server
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.state import CLOSED, month, pack, unpack
from monitoring.config.settings import Config
from monitoring.model.target import Target

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")


def date_back(server: Server, by: timedelta) -> None:
    """Date back every row of a server on SQLite and every saved document, while nothing is under way."""
    _date_back_rows(server, by)
    with open_api(Config().server, Target(address=server.api_url)) as api:
        documents = Documents(api)
        bodies = documents.read_all(documents.names())
        dated = _dated_back(bodies, by)
        for name, body in dated.items():
            documents.write(name, body)
        for name in bodies.keys() - dated.keys():
            documents.delete(name)


def _date_back_rows(server: Server, by: timedelta) -> None:
    with closing(sqlite3.connect(server.home / "prefect.db", timeout=60)) as database, database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        # What the scheduler has planned is planned anew, at times that belong to its schedules.
        database.execute("DELETE FROM flow_run WHERE auto_scheduled AND state_type = 'SCHEDULED'")
        database.execute("UPDATE flow_run SET idempotency_key = NULL WHERE auto_scheduled")
        for table in tables:
            # A run time is stored as a time since 1970.
            columns = [
                name
                for _, name, kind, *_ in database.execute(f'PRAGMA table_info("{table}")')
                if kind == "DATETIME" and name != "total_run_time"
            ]
            earlier = ", ".join(
                f""""{name}" = strftime('%Y-%m-%d %H:%M:%f000', "{name}", '-{by.total_seconds():.0f} seconds')"""
                for name in columns
            )
            if columns:
                database.execute(f'UPDATE "{table}" SET {earlier}')


def _dated_back(bodies: Mapping[str, str], by: timedelta) -> dict[str, str]:
    """The bodies of documents, by name: an incident belongs to the month in which it was resolved."""
    dated: dict[str, str] = {}
    months: dict[str, list[Any]] = defaultdict(list)
    for name, body in bodies.items():
        document = json.loads(body)
        if name.startswith(CLOSED):
            for incident in json.loads(_earlier(body, by))["data"]:
                months[month(datetime.fromisoformat(incident["resolved_at"]))].append(incident)
            continue
        if name == "ledger":
            document["data"] = _ledger_dated_back(document["data"], by)
        if name == "outbox":
            # What was the day of the last digest is another day by then.
            document["data"].pop("digest_day", None)
        dated[name] = _earlier(json.dumps(document), by)
    schema = max((json.loads(body)["schema"] for body in bodies.values()), default=0)
    return dated | {name: json.dumps({"schema": schema, "data": closed}) for name, closed in months.items()}


def _ledger_dated_back(packed: str, by: timedelta) -> str:
    ledger = json.loads(_earlier(json.dumps(unpack(packed)), by))
    for record in ledger.get("records", {}).values():
        times = record.get("run_times", {})
        times["recent"] = [(end - by.total_seconds(), took) for end, took in times.get("recent", ())]
    return pack(ledger)


def _earlier(text: str, by: timedelta) -> str:
    def earlier(found: re.Match[str]) -> str:
        return (datetime.fromisoformat(found[0].replace("Z", "+00:00")) - by).isoformat()

    return _TIME.sub(earlier, text)
