"""The test notification of a route."""

from __future__ import annotations

from datetime import datetime

from monitoring.messages.words import timestamp
from monitoring.model.message import Message, Prose, code, inline


def route_test_message(target: str, route: str, at: datetime) -> Message:
    """What ``watchdog notify test`` sends: it is clearly no alert, and mentions nobody."""
    title = f"Test notification of the watchdog of {target}"
    return Message(
        title=title,
        level="info",
        fallback=f"{title}, for the route {route}. Nothing is wrong.",
        elements=(
            Prose(spans=inline(f"The notifications of the route {route} arrive here. Nothing is wrong.")),
            Prose(spans=inline("Sent by ", code("watchdog notify test"), f" at {timestamp(at)}."), muted=True),
        ),
    )
