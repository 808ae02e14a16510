"""Action requests from the command line, kept on the server until the next check applies them.

Each is a document with a unique name: two requests at the same time are both kept, and neither needs the lock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.state import REQUEST, encode
from monitoring.model.base import Timestamp, Value
from monitoring.model.prefect import CHECK_FLOW
from monitoring.model.request import Request


class _Planned(Value):
    next_scheduled_start_time: Timestamp | None = None


def new_name() -> str:
    """Return a new name for a request's document."""
    return f"{REQUEST}{uuid4().hex}"


def submit(api: Api, request: Request) -> None:
    """Keep a request, with a name from ``new_name``, for the next check. Sent twice, it is kept once.

    Raises:
        ServerProblem: The server did not accept it.
        CredentialsRefused: The key may not write.
    """
    Documents(api).write(request.name, encode([request]))


def next_check(api: Api, now: datetime) -> datetime | None:
    """Return when the next check is planned to start; None if none is.

    Raises:
        ServerProblem: The server cannot be used.
    """
    body: dict[str, Any] = {
        "flows": {"name": {"any_": [CHECK_FLOW]}},
        "flow_runs": {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "next_scheduled_start_time": {"after_": now.isoformat()},
        },
        "sort": "NEXT_SCHEDULED_START_TIME_ASC",
        "limit": 1,
    }
    rows = api.query("/flow_runs/filter", body, list[_Planned])
    return rows[0].next_scheduled_start_time if rows else None
