"""Times as people give them at the command line: with their zone, or not at all."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from monitoring.errors import ConfigError

#: Beyond these, the spans that are taken from a moment or added to it would leave the calendar.
_EARLIEST = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LATEST = datetime(2999, 1, 1, tzinfo=timezone.utc)


def moment(option: str, text: str) -> datetime:
    """Read a time, and return it in UTC.

    Args:
        option: Where it was given, for the error: ``--at``.
        text: ISO 8601 with an offset or a Z.

    Raises:
        ConfigError: It is no time, or has no zone.
    """
    try:
        # Python 3.10 does not read the Z.
        found = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not _EARLIEST <= found <= _LATEST:
        raise ConfigError(f"{option}: {text!r}: expected a time with its zone, such as 2026-03-10T02:00:00Z")
    return found.astimezone(timezone.utc)
