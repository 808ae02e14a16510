"""What can be configured, as one model: every field with its unit, its default and what it is for.

A ``Policy`` holds what may differ between deployments, with the section of each check as the check defines it. A
``Config`` is a policy for everything, rules that change it for some deployments, and what concerns the watchdog as a
whole.
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

_ABOUT_POLICY = "What may differ between deployments: whose they are, and one section for each check that judges them."

if TYPE_CHECKING:

    class Policy(BasePolicy):
        """What may differ between deployments."""

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
    """A change of policy for some deployments; only the fields that are written in it count."""

    match: Match = Field(description="Which deployments the rule is for.")


class Config(Policy):
    """The whole configuration."""

    target: Target = Field(Target(), description="The monitored server, and what of it is watched.")
    server: Server = Field(Server(), description="How the Prefect API is asked.")
    watchdog: Watchdog = Field(Watchdog(), description="When the watchdog itself does not do its work.")
    slack: Slack = Field(Slack(), description="The Slack workspace, and the channel for digest and alerts.")
    digest: Digest = Field(Digest(), description="The daily report.")
    alerts: Alerts = Field(Alerts(), description="Who is told of incidents as they begin and end.")
    ping: Ping = Field(Ping(), description="The dead-man's switch.")
    metrics: Metrics = Field(Metrics(), description="What each check measures, and where the numbers go.")
    logs: Logs = Field(Logs(), description="What checks, digests and `watchdog metrics serve` log.")
    redact: Redact = Field(Redact(), description="What is taken out of text from runs.")
    state: State = Field(State(), description="What the watchdog keeps on the server, and for how long.")
    rules: tuple[Rule, ...] = Field((), description="Changes for some deployments, in order: the last match wins.")
    routes: tuple[Route, ...] = Field(
        (), description="Where some incidents are told, in order: the first match counts."
    )
    maintenance: tuple[Maintenance, ...] = Field((), description="Windows in which nobody is told of some incidents.")

    @model_validator(mode="after")
    def _distinct(self) -> Config:
        names = [route.name for route in self.routes]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"routes: expected each name once, and {twice!r} stands more often")
        return self

    def receiver(self, route: str) -> Receiver | None:
        """The receiver of a route by its name; None where there is none, or not any more."""
        if route == DEFAULT_ROUTE:
            default = self.alerts.default
            return default if default.kind else default.model_copy(update={"channel": self.slack.channel})
        if route == FALLBACK_ROUTE:
            return self.alerts.fallback
        if route == DIGEST_ROUTE:
            return self._digest_receiver()
        return next((one for one in self.routes if one.name == route), None)

    def _digest_receiver(self) -> Receiver:
        if self.digest.receiver.kind:
            return self.digest.receiver
        if self.slack.channel:
            return Receiver(channel=self.slack.channel)
        # Whom alerts mention is not to be mentioned every day.
        return self.alerts.default.model_copy(update={"mentions": ()})
