"""Watches the watchdog: an automation on the Prefect server that notifies if no check completes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from monitoring.notifications.events import CHECK_COMPLETED, check_resource
from monitoring.text.durations import humanized

#: A check may be late, and so may the next check.
INTERVALS = 3
#: The shortest time that a server accepts (prefect/server/events/schemas/automations.py, ``EventTrigger``).
SHORTEST = timedelta(seconds=10)


_PREFIX = "watchdog-silent-"
_MADE_BY = "Made by `watchdog automation deploy`"


def silent_name(target: str) -> str:
    """The name of the automation."""
    return f"{_PREFIX}{target}"


def is_ours(name: str, description: str) -> bool:
    """Whether an automation was made by the command, even if the target had another name then."""
    return name.startswith(_PREFIX) and description.startswith(_MADE_BY)


def patience(due: Sequence[datetime]) -> timedelta | None:
    """How long no check may complete: three times the longest interval of the schedule; None without a schedule."""
    intervals = [later - sooner for sooner, later in pairwise(due)]
    return INTERVALS * max(intervals) if intervals else None


def silent_automation(target: str, within: timedelta, block_id: str, page: str | None) -> dict[str, Any]:
    """The automation, as the API accepts it.

    ``after`` as well as ``expect``, and no ``for_each``: the server waits from the last event on, or from its own start
    if there was none. With ``for_each``, a restarted server forgets which resources it waits for.
    """
    look = f" at {page}" if page else ""
    return {
        "name": silent_name(target),
        "description": f"{_MADE_BY}: notifies when the watchdog itself is silent.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            # Of whatever name: a new ``target.name`` must not make it fire. A server has one watchdog.
            "match": {"prefect.resource.id": check_resource("*")},
            "after": [CHECK_COMPLETED],
            "expect": [CHECK_COMPLETED],
            "for_each": [],
            "threshold": 1,
            "within": within.total_seconds(),
        },
        "actions": [
            {
                "type": "send-notification",
                "block_document_id": block_id,
                "subject": f"The watchdog of {target} is silent",
                "body": (
                    f"No check of {target} has completed for {humanized(within)}, so no incidents there are reported. "
                    f"Look{look}: is the deployment paused, does its work pool have a live worker, why did its last "
                    f"runs fail? `watchdog doctor` shows more. This notification repeats every {humanized(2 * within)} "
                    "until a check completes."
                ),
            }
        ],
    }
