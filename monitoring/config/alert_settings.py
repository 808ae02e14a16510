"""Settings of notifications: receivers, routes, maintenance windows, quiet hours, the digest and the ping."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from monitoring.config.cron import Cron, CronZone
from monitoring.config.match import AlertMatch
from monitoring.model.fields import (
    BlockName,
    BlockReference,
    Hold,
    Mention,
    RouteName,
    Section,
    SlackAddress,
    Span,
    TimeOfDay,
    TimeZoneName,
)

#: The routes that every configuration has.
DEFAULT_ROUTE, FALLBACK_ROUTE, DIGEST_ROUTE = RESERVED_ROUTES = ("default", "fallback", "watchdog-digest")
#: The settings that name a receiver.
_RECEIVERS = ("channel", "webhook_secret", "block")


class Slack(Section):
    """The Slack workspace, and the channel for the digest and alerts. The token is never part of the configuration."""

    channel: str | None = Field(
        None,
        description="Channel id or name for the digest, and for notifications without a route. Null: not posted.",
    )
    token_secret: BlockName = Field(
        "watchdog-slack-token",
        description="Name of the Prefect Secret block with the bot token. WATCHDOG_SLACK_TOKEN overrides it.",
    )
    api_url: SlackAddress = Field("https://slack.com/api/", description="Address of Slack's Web API.")
    timeout: Span = Field(timedelta(seconds=15), description="Timeout of a request to Slack.")


class Receiver(Section):
    """Where messages go: a Slack channel, a Slack webhook or a notification block; at most one of them."""

    channel: str | None = Field(None, description="Slack channel id or name, for the bot.", min_length=1)
    webhook_secret: BlockName | None = Field(
        None, description="Name of the Prefect Secret block with the address of a Slack incoming webhook."
    )
    block: BlockReference | None = Field(
        None, description="Type and name of a Prefect notification block: `ms-teams-webhook/data-team`."
    )
    mentions: tuple[Mention, ...] = Field(
        (),
        description="Who is mentioned in new Slack messages: ids of users `U...` and groups `S...`, `here`, `channel`.",
    )

    @property
    def kind(self) -> Literal["channel", "webhook", "block"] | None:
        """The kind of the receiver; None if nothing is configured."""
        if self.channel:
            return "channel"
        return "webhook" if self.webhook_secret else "block" if self.block else None

    @model_validator(mode="after")
    def _at_most_one_kind(self) -> Receiver:
        if sum(getattr(self, name) is not None for name in _RECEIVERS) > 1:
            raise ValueError(f"expected only one of {', '.join(_RECEIVERS)}")
        return self


class Route(Receiver):
    """Where the notifications of some incidents go."""

    name: RouteName = Field(description="Name of the route: lower case letters, digits and dashes.")
    match: AlertMatch = Field(description="Which incidents it applies to.")

    @model_validator(mode="after")
    def _usable(self) -> Route:
        if self.kind is None:
            raise ValueError(f"expected one of {', '.join(_RECEIVERS)}")
        if self.name in RESERVED_ROUTES:
            raise ValueError(f"expected a name other than {', '.join(RESERVED_ROUTES)}")
        return self


class Maintenance(Section):
    """A recurring window in which no notifications are sent for some incidents."""

    match: AlertMatch = Field(description="Which incidents it applies to.")
    cron: Cron = Field(description="When the window begins: `0 2 * * SAT`.")
    time_zone: CronZone = Field("UTC", description="IANA time zone of the cron expression.")
    lasts: Span = Field(description="How long the window lasts.")
    reason: str = Field("maintenance", description="The reason that reports show.", min_length=1, max_length=200)


class QuietHours(Section):
    """The time of day during which warnings wait; critical incidents never wait."""

    begin: TimeOfDay | None = Field(None, description="Start of the quiet hours: `22:00`. Null: there are none.")
    end: TimeOfDay = Field(
        "08:00", description="End of the quiet hours, on the next day unless it is later than the start."
    )
    time_zone: TimeZoneName = Field("UTC", description="IANA time zone of both.")
    weekends: bool = Field(False, description="Whether Saturday and Sunday are quiet all day.")

    @model_validator(mode="after")
    def _end_some_time(self) -> QuietHours:
        if self.begin == self.end:
            raise ValueError("expected begin and end to differ: otherwise warnings would wait forever")
        return self


class Alerts(Section):
    """Who is notified when incidents fire and are resolved, and how often."""

    enabled: bool = Field(True, description="Whether notifications are sent.")
    default: Receiver = Field(
        Receiver(), description="Receiver of incidents that no route matches. Not set: `slack.channel`."
    )
    fallback: Receiver = Field(
        Receiver(), description="Receiver of notifications that their own route rejects permanently. Not set: none."
    )
    group_interval: Hold = Field(
        timedelta(0),
        description="Shortest time between two updates of a message by incidents that join it; others wait for the "
        "next check after it.",
    )
    repeat_after: Span | None = Field(
        timedelta(hours=24), description="Repeat interval: a firing incident is notified again after this. Null: never."
    )
    reopen_within: Span = Field(
        timedelta(hours=1),
        description=(
            "A finding that returns this soon continues the old incident, which then resolves only "
            "after staying away this long."
        ),
    )
    quiet_hours: QuietHours = Field(QuietHours(), description="When warnings wait until morning.")
    traceback: bool = Field(
        False,
        description="Whether redacted tracebacks and log lines are posted in the thread of a message, and in the "
        "digest.",
    )
    budget: Span = Field(
        timedelta(seconds=60), description="Longest time that a check spends on sending notifications."
    )


class Digest(Section):
    """The daily report."""

    time_zone: TimeZoneName = Field("UTC", description="IANA time zone in which the days of the digest begin and end.")
    receiver: Receiver = Field(
        Receiver(),
        description="Receiver of the digest. Not set: `slack.channel`, else `alerts.default`, if that is no block.",
    )


class Ping(Section):
    """The dead-man's switch. Its address is a secret and never part of the configuration."""

    url_secret: BlockName = Field(
        "watchdog-ping-url",
        description="Name of the Prefect Secret block with the address to ping. WATCHDOG_PING_URL overrides it.",
    )
    timeout: Span = Field(timedelta(seconds=10), description="Timeout of a ping.")
