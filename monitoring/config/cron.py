"""Checks cron expressions with Prefect's own parser, without importing the rest of Prefect."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

#: Prefect's copy of croniter. Importing all of Prefect takes a second, and a command that only checks the
#: configuration does not need it.
_PARSER = "_vendor/croniter/croniter.py"
#: Random and hashed expressions, which croniter reads and Prefect rejects.
_REJECTED = {"r", "h"}


def readable(cron: str, time_zone: str) -> bool:
    """Return whether Prefect can read a cron expression and its time zone.

    Source: prefect/server/schemas/schedules.py, ``CronSchedule``, and prefect/_internal/schemas/validators.py.
    """
    rejected = _REJECTED.intersection(cron.casefold().split())
    return bool(_croniter().is_valid(cron)) and not rejected and time_zone in _time_zones()


@cache
def _time_zones() -> set[str]:
    return available_timezones()


@cache
def _croniter() -> Any:
    # Finding a package does not import it.
    package = find_spec("prefect")
    assert package
    assert package.submodule_search_locations
    parser = spec_from_file_location("prefect_croniter", Path(package.submodule_search_locations[0], _PARSER))
    assert parser
    assert parser.loader
    module = module_from_spec(parser)
    parser.loader.exec_module(module)
    return module.croniter
