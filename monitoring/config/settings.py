"""The model of the configuration: every field with its unit, default and purpose.

A ``Policy`` has the settings that may differ between deployments, among them the section that each check defines. A
``Config`` adds rules, which change the policy of some deployments, and the settings of the watchdog as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, create_model, model_validator

from monitoring.checks.registry import CHECKS
from monitoring.checks.server import Server
from monitoring.checks.watchdog import Watchdog
from monitoring.config.alert_settings import (
    DEFAULT_ROUTE,
    DIGEST_ROUTE,
    FALLBACK_ROUTE,
    Alerts,
    Digest,
    Maintenance,
    Ping,
    Receiver,
    Route,
    Slack,
)
from monitoring.config.general_settings import Logs, Redact, State, Target
from monitoring.config.match import Match
from monitoring.config.metric_settings import Metrics
from monitoring.model.policy import BasePolicy

_ABOUT_POLICY = (
    "The settings that may differ between deployments: the owner, and a section for each check of deployments."
)

if TYPE_CHECKING:

    class Policy(BasePolicy):
        """The settings that may differ between deployments."""

else:
    Policy = create_model(
        "Policy",
        __base__=BasePolicy,
        __module__=__name__,
        __doc__=_ABOUT_POLICY,
        **{
            check.field: (check.section, Field(check.section(), description=check.about))
            for check in CHECKS
            if not check.whole
        },
    )


class Rule(Policy):
    """A change of the policy of some deployments; only the fields that it sets count."""

    match: Match = Field(description="Which deployments the rule applies to.")


class Config(Policy):
    """The whole configuration."""

    target: Target = Field(Target(), description="The monitored server, and which of its runs are watched.")
    server: Server = Field(Server(), description="How the Prefect API is queried.")
    watchdog: Watchdog = Field(Watchdog(), description="When the watchdog itself does not work.")
    slack: Slack = Field(Slack(), description="The Slack workspace, and the channel for the digest and alerts.")
    digest: Digest = Field(Digest(), description="The daily report.")
    alerts: Alerts = Field(Alerts(), description="Who is notified when incidents fire and are resolved.")
    ping: Ping = Field(Ping(), description="The dead-man's switch.")
    metrics: Metrics = Field(Metrics(), description="What each check measures, and where the metrics go.")
    logs: Logs = Field(Logs(), description="What checks, digests and `watchdog metrics serve` log.")
    redact: Redact = Field(Redact(), description="What is redacted in text from runs.")
    state: State = Field(State(), description="What the watchdog keeps on the server, and for how long.")
    rules: tuple[Rule, ...] = Field((), description="Changes for some deployments, in order: the last match wins.")
    routes: tuple[Route, ...] = Field((), description="Receivers of some incidents, in order: the first match counts.")
    maintenance: tuple[Maintenance, ...] = Field((), description="Windows without notifications for some incidents.")

    @model_validator(mode="after")
    def _distinct(self) -> Config:
        names = [route.name for route in self.routes]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"routes: expected each name once, but {twice!r} is used more often")
        return self

    def receiver(self, route: str) -> Receiver | None:
        """The receiver of a route by its name; None if the route does not exist, or no longer does."""
        if route == DEFAULT_ROUTE:
            default = self.alerts.default
            return default if default.kind else default.model_copy(update={"channel": self.slack.channel})
        if route == FALLBACK_ROUTE:
            return self.alerts.fallback
        if route == DIGEST_ROUTE:
            return self._digest_receiver()
        return next((candidate for candidate in self.routes if candidate.name == route), None)

    def _digest_receiver(self) -> Receiver:
        if self.digest.receiver.kind:
            return self.digest.receiver
        if self.slack.channel:
            return Receiver(channel=self.slack.channel)
        if self.alerts.default.block:
            # A block may be a pager: it gets a digest only where that is configured.
            return Receiver()
        # People that alerts mention must not be mentioned every day.
        return self.alerts.default.model_copy(update={"mentions": ()})
