"""Cron expressions and their time zones, checked with Prefect's own parser, without importing the rest of Prefect."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator

from monitoring.model.fields import TimeZoneName

#: Prefect's copy of croniter. Importing all of Prefect takes a second, and a command that only checks the
#: configuration does not need it.
_PARSER = "_vendor/croniter/croniter.py"
#: Random and hashed expressions, which croniter reads and Prefect rejects.
_REJECTED = {"r", "h"}


def _readable(cron: str) -> str:
    # Source: prefect/server/schemas/schedules.py, ``CronSchedule``.
    if not _croniter().is_valid(cron) or _REJECTED.intersection(cron.casefold().split()):
        raise ValueError("expected a cron expression that Prefect can read, such as `0 2 * * SAT`")
    return cron


def _known(time_zone: str) -> str:
    # Source: prefect/_internal/schemas/validators.py.
    if time_zone not in available_timezones():
        raise ValueError("expected a time zone that Prefect knows, such as Europe/Berlin or UTC")
    return time_zone


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


Cron = Annotated[str, AfterValidator(_readable)]
CronZone = Annotated[TimeZoneName, AfterValidator(_known)]
