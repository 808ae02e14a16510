"""Settings of notifications: receivers, routes, maintenance windows, quiet hours, the digest and the ping."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from monitoring.config.match import AlertMatch
from monitoring.model.fields import BlockName, BlockReference, Cron, Mention, Section, Span, TimeOfDay, TimeZoneName

#: The routes that everybody has.
DEFAULT_ROUTE, FALLBACK_ROUTE, DIGEST_ROUTE = RESERVED_ROUTES = ("default", "fallback", "watchdog-digest")
#: The settings of which one names a receiver.
_RECEIVERS = ("channel", "webhook_secret", "block")


class Slack(Section):
    """The Slack workspace, and the channel for digest and alerts. The token never stands here."""

    channel: str | None = Field(
        None,
        description="Channel id or name for the digest, and for notifications without a route. Null: not posted.",
    )
    token_secret: BlockName = Field(
        "watchdog-slack-token",
        description="Name of the Prefect Secret block with the bot token. WATCHDOG_SLACK_TOKEN overrides it.",
    )
    api_url: str = Field("https://slack.com/api/", description="Address of Slack's Web API.", pattern=r"^https?://.+")
    timeout: Span = Field(timedelta(seconds=15), description="Timeout of a request to Slack.")


class Receiver(Section):
    """Where messages go: a Slack channel, a Slack webhook or a notification block; one of them."""

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
        """What it is; None where nothing is given."""
        if self.channel:
            return "channel"
        return "webhook" if self.webhook_secret else "block" if self.block else None

    @model_validator(mode="after")
    def _one(self) -> Receiver:
        if sum(getattr(self, name) is not None for name in _RECEIVERS) > 1:
            raise ValueError(f"expected only one of {', '.join(_RECEIVERS)}")
        return self


class Route(Receiver):
    """Where some incidents are told."""

    name: str = Field(
        description="Name of the route: lower case letters, digits and dashes.",
        pattern=r"^[a-z0-9][a-z0-9-]{0,38}$",
    )
    match: AlertMatch = Field(description="Which incidents it is for.")

    @model_validator(mode="after")
    def _usable(self) -> Route:
        if self.kind is None:
            raise ValueError(f"expected one of {', '.join(_RECEIVERS)}")
        if self.name in RESERVED_ROUTES:
            raise ValueError(f"expected another name than {', '.join(RESERVED_ROUTES)}")
        return self


class Maintenance(Section):
    """A window that comes again, in which nobody is told of some incidents."""

    match: AlertMatch = Field(description="Which incidents it is for.")
    cron: Cron = Field(description="When the window begins: `0 2 * * SAT`.")
    time_zone: TimeZoneName = Field("UTC", description="IANA time zone of the cron expression.")
    lasts: Span = Field(description="How long the window lasts.")
    reason: str = Field("maintenance", description="The reason that reports give.", min_length=1, max_length=200)


class QuietHours(Section):
    """The time of day in which warnings wait; criticals never do."""

    begin: TimeOfDay | None = Field(None, description="Start of the quiet hours: `22:00`. Null: there are none.")
    end: TimeOfDay = Field(
        "08:00", description="End of the quiet hours, on the next day unless it is later than the start."
    )
    time_zone: TimeZoneName = Field("UTC", description="IANA time zone of both.")
    weekends: bool = Field(False, description="Whether Saturday and Sunday are quiet all day.")

    @model_validator(mode="after")
    def _pass(self) -> QuietHours:
        if self.begin == self.end:
            raise ValueError("expected begin and end to differ: warnings would wait for ever")
        return self


class Alerts(Section):
    """Who is told of incidents as they begin and end, and how often."""

    enabled: bool = Field(True, description="Whether notifications are sent.")
    default: Receiver = Field(
        Receiver(), description="Where that is told which no route matches. Nothing given: `slack.channel`."
    )
    fallback: Receiver = Field(
        Receiver(), description="Where that is told which its own route refuses for good. Nothing given: nowhere."
    )
    group_interval: Span = Field(
        timedelta(seconds=30), description="Shortest time between two updates of a message by incidents that join it."
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
    quiet_hours: QuietHours = Field(QuietHours(), description="When warnings wait for the morning.")
    traceback: bool = Field(
        False, description="Whether redacted tracebacks and log lines are posted in the thread of a message."
    )
    budget: Span = Field(
        timedelta(seconds=60), description="Longest time that a check spends on sending notifications."
    )


class Digest(Section):
    """The daily report."""

    time_zone: TimeZoneName = Field("UTC", description="IANA time zone in which the days of the digest begin and end.")
    receiver: Receiver = Field(
        Receiver(), description="Where the digest goes. Nothing given: `slack.channel`, else `alerts.default`."
    )


class Ping(Section):
    """The dead-man's switch. Its address is a secret, and never stands here."""

    url_secret: BlockName = Field(
        "watchdog-ping-url",
        description="Name of the Prefect Secret block with the address to ping. WATCHDOG_PING_URL overrides it.",
    )
    timeout: Span = Field(timedelta(seconds=10), description="Timeout of a ping.")
