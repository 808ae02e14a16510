"""Parses times on the command line, which must have a zone."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from monitoring.errors import ConfigError

#: Beyond these, adding or subtracting a duration would leave the calendar.
_EARLIEST = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LATEST = datetime(2999, 1, 1, tzinfo=timezone.utc)


def parse_time(option: str, text: str) -> datetime:
    """Parse the time in an option, such as ``--at``: ISO 8601 with an offset or a Z; return it in UTC.

    Raises:
        ConfigError: It is not a time, or has no zone.
    """
    try:
        # Python 3.10 does not read the Z.
        found = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not _EARLIEST <= found <= _LATEST:
        raise ConfigError(f"{option}: {text!r}: expected a time with its zone, such as 2026-03-10T02:00:00Z")
    return found.astimezone(timezone.utc)
