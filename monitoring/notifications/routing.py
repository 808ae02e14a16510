"""Where notifications go, and which silences and quiet hours are active."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from monitoring.config.alert_settings import DEFAULT_ROUTE, QuietHours
from monitoring.config.settings import Config
from monitoring.model.incident import Incident
from monitoring.model.silence import Silence, active_silence

_SATURDAY = 5


def route_of(incident: Incident, config: Config) -> str:
    """The name of an incident's route: the first match."""
    return next((route.name for route in config.routes if route.match.matcher.matches(incident.labels)), DEFAULT_ROUTE)


def has_receiver(route: str, config: Config) -> bool:
    """Whether a route has a receiver."""
    receiver = config.receiver(route)
    return receiver is not None and receiver.kind is not None


def is_editable(route: str, config: Config) -> bool:
    """Whether a route's receiver can edit messages and has threads."""
    receiver = config.receiver(route)
    return receiver is not None and receiver.kind == "channel"


def silence_of(incident: Incident, silences: Iterable[Silence], now: datetime) -> Silence | None:
    """The active silence that matches an incident; of several, the silence that ends last."""
    return active_silence(incident.labels, silences, now)


def quiet(hours: QuietHours, now: datetime) -> bool:
    """Whether warnings wait at that time, which may be in any zone."""
    local = now.astimezone(ZoneInfo(hours.time_zone))
    if hours.weekends and local.weekday() >= _SATURDAY:
        return True
    if hours.begin is None:
        return False
    at = f"{local:%H:%M}"
    if hours.begin < hours.end:
        return hours.begin <= at < hours.end
    # Across midnight.
    return at >= hours.begin or at < hours.end
