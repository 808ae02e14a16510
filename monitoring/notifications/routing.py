"""Which incidents something is for: a route, a silence, a maintenance window."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from monitoring.config.alert_settings import DEFAULT_ROUTE, QuietHours
from monitoring.config.settings import Config
from monitoring.model.incident import Incident
from monitoring.model.silence import Silence

_SATURDAY = 5


def route_of(incident: Incident, config: Config) -> str:
    """The name of the route that tells of an incident: the first that matches."""
    return next((route.name for route in config.routes if route.match.matcher.matches(incident.labels)), DEFAULT_ROUTE)


def silence_of(incident: Incident, silences: Iterable[Silence], now: datetime) -> Silence | None:
    """The silence that an incident falls under, of several the one that ends last."""
    holding = [silence for silence in silences if silence.active(now) and silence.matches(incident.labels)]
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
