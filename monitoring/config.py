"""What can be configured, as one model: every field with its unit, its default and what it is for.

A ``Policy`` holds what may differ between deployments: one section a check. A ``Config`` is a policy
for everything, rules that change it for some deployments, and what concerns the watchdog as a whole.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from monitoring.durations import LONGEST, Duration, format_duration
from monitoring.model import Severity

_POSITIVE = timedelta(seconds=1)


def _at_least_one_second(span: timedelta) -> timedelta:
    if span < _POSITIVE:
        raise ValueError("expected a duration of at least 1s")
    if span > LONGEST:
        raise ValueError(f"expected a duration of at most {format_duration(LONGEST)}")
    return span


def _no_truth(value: Any) -> Any:
    # pydantic reads true as 1: right for a flag in a form, wrong for `critical_after: yes`.
    if isinstance(value, bool):
        raise ValueError("expected a whole number")
    return value


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("expected an IANA time zone such as Europe/Berlin or UTC") from None
    return name


def _regex(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"expected a regular expression as Python's re module reads it: {error}") from None
    if compiled.search(""):
        raise ValueError("expected a regular expression that does not match empty text: it would match everywhere")
    return pattern


def _block_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError("expected the name of a Secret block (lower case, digits, dashes), never the secret itself")
    return name


Span = Annotated[Duration, AfterValidator(_at_least_one_second)]
TimeZoneName = Annotated[str, AfterValidator(_zone)]
Pattern = Annotated[str, AfterValidator(_regex)]
BlockName = Annotated[str, AfterValidator(_block_name)]
Count = Annotated[int, BeforeValidator(_no_truth)]


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors: a misspelt one must not go unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EndedBadly(Section):
    """When the latest ended run of a deployment failed or crashed."""

    enabled: bool = Field(True, description="Whether the check runs.")
    tolerate: Count = Field(0, ge=0, description="Runs in a row that may end so before it is a finding.")
    critical_after: Count = Field(3, ge=1, description="Runs in a row that must end so for severity critical.")
    expire_after: Span = Field(
        timedelta(hours=24),
        description="A deployment without an active schedule is forgiven this long after its last such run.",
    )


class Late(Section):
    """When a run is due and has not started."""

    enabled: bool = Field(True, description="Whether the check runs.")
    after: Span = Field(timedelta(minutes=15), description="How long past its due time a run may wait.")
    critical_after: Span = Field(timedelta(hours=2), description="Longest lateness of a run before it is critical.")


class Stuck(Section):
    """When a run stays in a state that should be short."""

    enabled: bool = Field(True, description="Whether the check runs.")
    pending_after: Span = Field(timedelta(minutes=30), description="Longest time in Pending, without a break.")
    cancelling_after: Span = Field(timedelta(minutes=15), description="Longest time in Cancelling.")
    paused_after: Span = Field(timedelta(hours=24), description="Longest time in Paused or Suspended.")
    timeout_grace: Span = Field(
        timedelta(minutes=15), description="How long past its own time-out a run may still be Paused or Suspended."
    )


class Zombie(Section):
    """When a run is RUNNING and its heartbeats have stopped."""

    enabled: bool = Field(True, description="Whether the check runs.")
    missed_heartbeats: Count = Field(3, ge=2, description="Heartbeat intervals without a beat.")
    default_interval: Span = Field(
        timedelta(seconds=180),
        description="Interval assumed for a run that has sent one heartbeat only; Prefect's own default.",
    )


class Slow(Section):
    """When a run takes longer than it may."""

    enabled: bool = Field(True, description="Whether the check runs.")
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


class Stale(Section):
    """When a deployment has not succeeded for too long."""

    enabled: bool = Field(True, description="Whether the check runs.")
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


class Unscheduled(Section):
    """When an active deployment has nothing scheduled ahead."""

    enabled: bool = Field(True, description="Whether the check runs.")
    after: Span = Field(
        timedelta(minutes=15), description="Time that the scheduler has after a deployment was made or changed."
    )


class Paused(Section):
    """When a deployment has been paused, or all its schedules inactive, for long."""

    enabled: bool = Field(True, description="Whether the check runs.")
    after: Span = Field(timedelta(days=14), description="How long it may be so before it is mentioned.")


class WorkPlace(Section):
    """When work is due at a work pool or queue and cannot start."""

    enabled: bool = Field(True, description="Whether the check runs.")
    after: Span = Field(timedelta(minutes=5), description="How long past its due time work may wait there.")


class WorkPoolPlace(WorkPlace):
    """When work is due at a work pool and cannot start, or piles up."""

    growing_for: Span = Field(
        timedelta(minutes=30), description="A backlog that has grown all this time, workers alive, is a finding."
    )
    growing_min: Count = Field(10, ge=1, description="Waiting runs below which no backlog is a finding.")


class Ahead(Section):
    """When work that is due soon will not be able to start."""

    enabled: bool = Field(True, description="Whether the check runs.")
    within: Span = Field(timedelta(hours=12), description="How far ahead.")


class Concurrency(Section):
    """When a full concurrency limit holds runs up."""

    enabled: bool = Field(True, description="Whether the check runs.")
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


class Match(Section):
    """Which deployments a rule is for. All that is given must match."""

    deployment: str | None = Field(
        None, description="Shell-style pattern on `flow/deployment`: `etl/*`, `*/nightly`. Case counts.", min_length=1
    )
    tag: str | None = Field(None, description="A tag of the deployment, exactly.", min_length=1)
    pool: str | None = Field(None, description="Name of the deployment's work pool, exactly.", min_length=1)

    @model_validator(mode="after")
    def _something(self) -> Match:
        if self.deployment is None and self.tag is None and self.pool is None:
            raise ValueError("expected at least one of deployment, tag, pool")
        return self


class Rule(Policy):
    """A change of policy for some deployments; only the fields that are written in it count."""

    match: Match = Field(description="Which deployments the rule is for.")


class Target(Section):
    """The monitored server, and what of it is watched."""

    name: str = Field(
        "prefect",
        description="The server's name in reports and fingerprints. Changing it starts a new history.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
    )
    window: Span = Field(
        timedelta(hours=24), description="How far back ended runs are read when nothing is remembered yet."
    )
    runs_without_deployment: bool = Field(
        False, description="Whether runs without a deployment are watched too, by flow. Usually somebody's laptop."
    )


class Server(Section):
    """How the Prefect API is asked."""

    timeout: Span = Field(timedelta(seconds=15), description="Longest wait for one answer.")
    attempts: Count = Field(3, ge=1, le=10, description="Tries of one request, the first included.")
    retry_budget: Span = Field(
        timedelta(seconds=10), description="Longest time spent waiting between tries, per check."
    )
    page_size: Count = Field(
        200, ge=1, le=200, description="Rows asked for at a time; the server's own ceiling may be lower."
    )
    slow_answer: Span = Field(timedelta(seconds=3), description="Median time of an answer beyond which it is slow.")
    clock_apart: Span = Field(timedelta(minutes=1), description="Difference between the server's clock and ours.")
    late_marking: Span = Field(
        timedelta(minutes=5), description="How long past its due time a run may still be called Scheduled."
    )
    events_missing: Span = Field(
        timedelta(minutes=15), description="How long runs may begin and end without a single event arriving."
    )


class Watchdog(Section):
    """When the watchdog itself does not do its work."""

    enabled: bool = Field(True, description="Whether the check runs.")
    missed_fires: Count = Field(
        3, ge=2, description="Fires of its own schedule that may pass without a completed run of it."
    )
    failures: Count = Field(2, ge=1, description="Own runs in a row that must fail or crash.")
    incomplete_for: Span = Field(
        timedelta(minutes=30), description="How long ended runs may go unread, because answers were not whole."
    )


class Slack(Section):
    """Where the digest is posted. The token never stands here."""

    channel: str | None = Field(None, description="Channel id or name for the digest. None: the digest is not posted.")
    token_secret: BlockName = Field(
        "watchdog-slack-token",
        description="Name of the Prefect Secret block with the bot token. WATCHDOG_SLACK_TOKEN goes before it.",
    )
    api_url: str = Field("https://slack.com/api/", description="Address of Slack's Web API.", pattern=r"^https?://.+")
    timeout: Span = Field(timedelta(seconds=15), description="Longest wait for one answer of Slack's.")


class Digest(Section):
    """The daily report."""

    time_zone: TimeZoneName = Field("UTC", description="IANA time zone in which the digest's days begin and end.")


class Ping(Section):
    """The dead-man's switch. Its address is a secret, and never stands here."""

    url_secret: BlockName = Field(
        "watchdog-ping-url",
        description="Name of the Prefect Secret block with the address to ping. WATCHDOG_PING_URL goes before it.",
    )
    timeout: Span = Field(timedelta(seconds=10), description="Longest wait for the answer.")


class Redact(Section):
    """What is taken out of text from runs, besides addresses with credentials, tokens and key-value secrets."""

    patterns: tuple[Pattern, ...] = Field((), description="Regular expressions; what they match is replaced.")


class State(Section):
    """What the watchdog keeps on the server, and for how long."""

    lock_expiry: Span = Field(
        timedelta(minutes=3),
        description="A check that has died holds the others up for this long. A live one renews in time.",
    )
    keep_runs: Span = Field(timedelta(hours=24), description="The check's own finished runs are deleted after this.")
    keep_artifacts: Span = Field(
        timedelta(days=7), description="The check's own artifact versions are deleted after this, the newest never."
    )
    keep_incidents: Span = Field(timedelta(days=90), description="Closed incidents are forgotten after this, by month.")


class Config(Policy):
    """The whole configuration."""

    target: Target = Field(Target(), description="The monitored server, and what of it is watched.")
    server: Server = Field(Server(), description="How the Prefect API is asked.")
    watchdog: Watchdog = Field(Watchdog(), description="When the watchdog itself does not do its work.")
    slack: Slack = Field(Slack(), description="Where the digest is posted.")
    digest: Digest = Field(Digest(), description="The daily report.")
    ping: Ping = Field(Ping(), description="The dead-man's switch.")
    redact: Redact = Field(Redact(), description="What is taken out of text from runs.")
    state: State = Field(State(), description="What the watchdog keeps on the server, and for how long.")
    rules: tuple[Rule, ...] = Field((), description="Changes for some deployments, in order: the last match wins.")
