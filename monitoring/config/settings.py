"""What can be configured, as one model: every field with its unit, its default and what it is for.

A ``Policy`` holds what may differ between deployments: one section a check. A ``Config`` is a policy
for everything, rules that change it for some deployments, and what concerns the watchdog as a whole.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from monitoring.config.alert_settings import (
    DEFAULT_ROUTE,
    FALLBACK_ROUTE,
    Alerts,
    Digest,
    Maintenance,
    Ping,
    Receiver,
    Route,
    Slack,
)
from monitoring.config.fields import Check, Count, Section, Span
from monitoring.config.match import Match
from monitoring.config.metric_settings import Metrics
from monitoring.config.server_settings import Logs, Redact, Server, State, Target
from monitoring.model.finding import Severity


class EndedBadly(Check):
    """When the latest ended run of a deployment failed or crashed."""

    tolerate: Count = Field(0, ge=0, description="Runs in a row that may end so before it is a finding.")
    critical_after: Count = Field(3, ge=1, description="Runs in a row that must end so for severity critical.")
    expire_after: Span = Field(
        timedelta(hours=24),
        description="A deployment without an active schedule is forgiven this long after its last such run.",
    )


class Late(Check):
    """When a run is due and has not started."""

    after: Span = Field(timedelta(minutes=15), description="How long past its due time a run may wait.")
    critical_after: Span = Field(timedelta(hours=2), description="Longest lateness of a run before it is critical.")


class Stuck(Check):
    """When a run stays in a state that should be short."""

    pending_after: Span = Field(timedelta(minutes=30), description="Longest time in Pending, without a break.")
    cancelling_after: Span = Field(timedelta(minutes=15), description="Longest time in Cancelling.")
    paused_after: Span = Field(timedelta(hours=24), description="Longest time in Paused or Suspended.")
    timeout_grace: Span = Field(
        timedelta(minutes=15), description="How long past its own time-out a run may still be Paused or Suspended."
    )


class Zombie(Check):
    """When a run is RUNNING and its heartbeats have stopped."""

    missed_heartbeats: Count = Field(3, ge=2, description="Heartbeat intervals without a beat.")
    default_interval: Span = Field(
        timedelta(seconds=180),
        description="Interval assumed for a run that has sent one heartbeat only; Prefect's own default.",
    )


class Slow(Check):
    """When a run takes longer than it may."""

    limit: Span | None = Field(
        None, description="Longest run time, all attempts together, waits and pauses left out. None: no limit."
    )
    baseline: bool = Field(
        True, description="Whether run times are judged by the deployment's own completed runs where no limit is given."
    )
    severity: Severity = Field("info", description="Severity of a run beyond its baseline.")
    min_samples: Count = Field(10, ge=5, le=30, description="Completed runs that a baseline needs.")
    deviations: float = Field(
        3.0,
        ge=1,
        le=20,
        description="How many robust standard deviations (of the logarithm) above the median a run may take.",
    )
    min_ratio: float = Field(2.0, ge=1, le=100, description="Run time over the median below which nothing is slow.")
    floor: Span = Field(timedelta(minutes=5), description="Run time over the median below which nothing is slow.")
    expire_after: Span = Field(
        timedelta(hours=24),
        description="A deployment without an active schedule is forgiven this long after its slow run ended.",
    )


class Stale(Check):
    """When a deployment has not succeeded for too long."""

    within: Span | None = Field(
        None, description="A success is expected within this time. None: from the deployment's own schedules."
    )
    missed_fires: Count = Field(
        2, ge=1, description="Fires of its own schedules that may pass without a success, when `within` is not given."
    )
    grace: Span = Field(
        timedelta(minutes=30), description="Time added after the last of those fires, and the usual run time."
    )
    rhythm: bool = Field(
        True, description="Whether a deployment without schedules that ran regularly is expected to go on so (info)."
    )


class Unscheduled(Check):
    """When an active deployment has nothing scheduled ahead."""

    after: Span = Field(
        timedelta(minutes=15), description="Time that the scheduler has after a deployment was made or changed."
    )


class Paused(Check):
    """When a deployment has been paused, or all its schedules inactive, for long."""

    after: Span = Field(timedelta(days=14), description="How long it may be so before it is mentioned.")


class WorkPlace(Check):
    """When work is due at a work pool or queue and cannot start."""

    after: Span = Field(timedelta(minutes=5), description="How long past its due time work may wait there.")


class WorkPoolPlace(WorkPlace):
    """When work is due at a work pool and cannot start, or piles up."""

    growing_for: Span = Field(
        timedelta(minutes=30), description="A backlog that has grown all this time, workers alive, is a finding."
    )
    growing_min: Count = Field(10, ge=1, description="Waiting runs below which no backlog is a finding.")


class Ahead(Check):
    """When work that is due soon will not be able to start."""

    within: Span = Field(timedelta(hours=12), description="How far ahead.")


class Concurrency(Check):
    """When a full concurrency limit holds runs up."""

    after: Span = Field(timedelta(minutes=15), description="How long runs may wait at a full limit.")


class Policy(Section):
    """What may differ between deployments: whose they are, and one section a check."""

    watch: bool = Field(True, description="Whether the deployment is watched at all.")
    owner: str | None = Field(
        None, description="Who should look: a team or a person, shown with every finding.", min_length=1, max_length=80
    )
    severity: Severity | None = Field(
        None, description="Severity of all the deployment's problems. None: as each check has it."
    )
    escalate_after: Span | None = Field(
        None, description="A warning that has lasted this long as an incident becomes critical. None: never."
    )
    expect: Literal["success", "failure"] = Field(
        "success", description="How runs should end. `failure`: a failed run is no finding, and counts as fresh."
    )
    failed: EndedBadly = Field(EndedBadly(), description="The deployment's latest ended run failed: its code did.")
    crashed: EndedBadly = Field(
        EndedBadly(), description="The deployment's latest ended run crashed: what it ran on did."
    )
    late: Late = Field(Late(), description="Runs that are due and have not started.")
    stuck: Stuck = Field(Stuck(), description="Runs too long in Pending, Cancelling or Paused.")
    zombie: Zombie = Field(Zombie(), description="Runs that read RUNNING and whose heartbeats have stopped.")
    slow: Slow = Field(Slow(), description="Runs beyond an explicit limit of run time, or what is usual.")
    stale: Stale = Field(Stale(), description="Deployments without a recent success.")
    unscheduled: Unscheduled = Field(
        Unscheduled(), description="Active deployments for which nothing is scheduled ahead."
    )
    paused: Paused = Field(Paused(), description="Deployments that have been paused for long.")
    work_pool: WorkPoolPlace = Field(
        WorkPoolPlace(), description="Work pools where work is due and cannot start. Rules match by pool only."
    )
    work_queue: WorkPlace = Field(
        WorkPlace(), description="Work queues where work is due and cannot start. Rules match by pool only."
    )
    ahead: Ahead = Field(Ahead(), description="Work that is due soon and will not be able to start.")
    concurrency: Concurrency = Field(Concurrency(), description="Full concurrency limits that hold runs up.")


class Rule(Policy):
    """A change of policy for some deployments; only the fields that are written in it count."""

    match: Match = Field(description="Which deployments the rule is for.")


class Watchdog(Check):
    """When the watchdog itself does not do its work."""

    missed_fires: Count = Field(
        3, ge=2, description="Fires of its own schedule that may pass without a completed run of it."
    )
    failures: Count = Field(2, ge=1, description="Own runs in a row that must fail or crash.")
    incomplete_for: Span = Field(
        timedelta(minutes=30), description="How long ended runs may go unread, because answers were not whole."
    )


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
        return next((one for one in self.routes if one.name == route), None)
