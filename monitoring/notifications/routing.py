"""Which incidents something is for: a route, a silence, a maintenance window."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Protocol
from zoneinfo import ZoneInfo

from monitoring.config.settings import DEFAULT_ROUTE, Config, QuietHours
from monitoring.model.finding import CheckName, Severity
from monitoring.model.incident import Incident
from monitoring.model.silence import Silence

_SATURDAY = 5


class Matcher(Protocol):
    """What an incident is matched by. All that is given must match; where nothing is, nothing does."""

    @property
    def deployment(self) -> str | None:
        """A shell-style pattern on ``flow/deployment``."""

    @property
    def tag(self) -> str | None:
        """A tag of the deployment."""

    @property
    def pool(self) -> str | None:
        """The work pool, or the deployment's."""

    @property
    def check(self) -> CheckName | None:
        """The check that found it."""

    @property
    def severity(self) -> Severity | None:
        """Its severity."""

    @property
    def owner(self) -> str | None:
        """Its owner."""


def matches(matcher: Matcher, incident: Incident) -> bool:
    """Whether an incident is what something is for."""
    finding = incident.finding
    asked = [
        matcher.deployment is None
        or (finding.subject.kind in ("deployment", "flow") and fnmatchcase(finding.subject.name, matcher.deployment)),
        matcher.tag is None or matcher.tag in incident.tags,
        matcher.pool is None or matcher.pool == incident.pool,
        matcher.check is None or matcher.check == finding.check,
        matcher.severity is None or matcher.severity == finding.severity,
        matcher.owner is None or matcher.owner == finding.owner,
    ]
    given = (matcher.deployment, matcher.tag, matcher.pool, matcher.check, matcher.severity, matcher.owner)
    return any(one is not None for one in given) and all(asked)


def route_of(incident: Incident, config: Config) -> str:
    """The name of the route that tells of an incident: the first that matches."""
    return next((route.name for route in config.routes if matches(route.match, incident)), DEFAULT_ROUTE)


def silence_of(incident: Incident, silences: Iterable[Silence], now: datetime) -> Silence | None:
    """The silence that an incident falls under, of several the one that ends last."""
    holding = [silence for silence in silences if silence.active(now) and matches(silence, incident)]
    return max(holding, key=lambda silence: silence.ends_at, default=None)


def quiet(hours: QuietHours, now: datetime) -> bool:
    """Whether warnings wait at that moment.

    Args:
        hours: As configured.
        now: Any zone.
    """
    local = now.astimezone(ZoneInfo(hours.time_zone))
    if hours.weekends and local.weekday() >= _SATURDAY:
        return True
    if hours.begin is None:
        return False
    at = f"{local:%H:%M}"
    if hours.begin < hours.end:
        return hours.begin <= at < hours.end
    # Over midnight.
    return at >= hours.begin or at < hours.end
