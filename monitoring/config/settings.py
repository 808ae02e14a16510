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

from monitoring.model.finding import CheckName, Severity
from monitoring.model.matcher import Matcher
from monitoring.text.durations import LONGEST, Duration, format_duration

#: The routes that everybody has.
DEFAULT_ROUTE, FALLBACK_ROUTE = RESERVED_ROUTES = ("default", "fallback")

_POSITIVE = timedelta(seconds=1)
_LARGEST_PORT = 65_535
#: Nobody renews the lock while a check waits for ways out.
_LONGEST_WAIT = timedelta(seconds=30)


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


def _a_hold(span: timedelta) -> timedelta:
    return span if span == timedelta(0) else _at_least_one_second(span)


def _time_of_day(text: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError('expected a time of day in quotes, from "00:00" to "23:59"')
    return text


def _block_reference(reference: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+", reference):
        raise ValueError("expected type and name of a notification block, such as `ms-teams-webhook/data-team`")
    return reference


def _cron(line: str) -> str:
    # The arithmetic is Prefect's own, and says more where the configuration is loaded.
    if len(line.split()) not in (5, 6) and not line.startswith("@"):
        raise ValueError("expected a cron expression of five fields, such as `0 2 * * SAT`")
    return line


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


def _is_host_port(text: str) -> bool:
    found = re.fullmatch(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):(\d{1,5})", text)
    return found is not None and int(found[1]) <= _LARGEST_PORT


def _host_port(text: str) -> str:
    if not _is_host_port(text):
        raise ValueError("expected a host and a port, such as 127.0.0.1:9464")
    return text


def _web_address(text: str) -> str:
    if "@" in text:
        raise ValueError("expected an address without a user and password: it is shown, and is no place for secrets")
    found = re.fullmatch(r"https?://(?:\[[0-9A-Fa-f:]+\]|[^\s/?#:]+)(?::(\d{1,5}))?(?:/[^\s?#]*)?", text)
    if not found or not text.isprintable() or int(found[1] or 0) > _LARGEST_PORT:
        raise ValueError("expected an address such as http://pushgateway:9091")
    return text


def _statsd_address(text: str) -> str:
    if not (re.fullmatch(r"unix:///\S+", text) and text.isprintable()) and not _is_host_port(text):
        raise ValueError("expected a host and a port, such as 127.0.0.1:8125, or unix:///var/run/datadog/dsd.socket")
    return text


def _textfile(text: str) -> str:
    if not re.fullmatch(r"/.+\.prom", text) or not text.isprintable():
        raise ValueError("expected a path from / on that ends in .prom, such as /var/lib/node_exporter/watchdog.prom")
    return text


def _a_short_wait(wait: timedelta) -> timedelta:
    if wait > _LONGEST_WAIT:
        raise ValueError(f"expected at most {format_duration(_LONGEST_WAIT)}: every check may have to wait so long")
    return wait


Span = Annotated[Duration, AfterValidator(_at_least_one_second)]
Wait = Annotated[Span, AfterValidator(_a_short_wait)]
Mention = Annotated[str, Field(pattern=r"^([UWS][A-Z0-9]{2,20}|here|channel|everyone)$")]
Hold = Annotated[Duration, AfterValidator(_a_hold)]
TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
BlockReference = Annotated[str, AfterValidator(_block_reference)]
Cron = Annotated[str, AfterValidator(_cron)]
TimeZoneName = Annotated[str, AfterValidator(_zone)]
Pattern = Annotated[str, AfterValidator(_regex)]
BlockName = Annotated[str, AfterValidator(_block_name)]
HostPort = Annotated[str, AfterValidator(_host_port)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
StatsdAddress = Annotated[str, AfterValidator(_statsd_address)]
TextfilePath = Annotated[str, AfterValidator(_textfile)]
Count = Annotated[int, BeforeValidator(_no_truth)]


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors: a misspelt one must not go unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(Section):
    """What every check has."""

    enabled: bool = Field(True, description="Whether the check runs.")
    hold: Hold = Field(
        timedelta(0), description="How long a finding must last before it is an incident that anybody is told of."
    )


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


class Match(Section):
    """Which deployments a rule is for. All that is given must match."""

    deployment: str | None = Field(
        None, description="Shell-style pattern on `flow/deployment`: `etl/*`, `*/nightly`. Case counts.", min_length=1
    )
    tag: str | None = Field(None, description="A tag of the deployment, exactly.", min_length=1)
    pool: str | None = Field(None, description="Name of the deployment's work pool, exactly.", min_length=1)

    @model_validator(mode="after")
    def _something(self) -> Match:
        if not self.matcher.conditions:
            raise ValueError(f"expected at least one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def matcher(self) -> Matcher:
        """The conditions that are given."""
        return Matcher(**{name: getattr(self, name) for name in type(self).model_fields})


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
    hold: Hold = Field(
        timedelta(minutes=4),
        description="How long something wrong with the server must last before it is an incident that anybody is "
        "told of.",
    )
    slow_answer: Span = Field(timedelta(seconds=3), description="Median time of an answer beyond which it is slow.")
    clock_apart: Span = Field(timedelta(minutes=1), description="Difference between the server's clock and ours.")
    late_marking: Span = Field(
        timedelta(minutes=5), description="How long past its due time a run may still be called Scheduled."
    )
    events_missing: Span = Field(
        timedelta(minutes=15), description="How long runs may begin and end without a single event arriving."
    )


class Watchdog(Check):
    """When the watchdog itself does not do its work."""

    missed_fires: Count = Field(
        3, ge=2, description="Fires of its own schedule that may pass without a completed run of it."
    )
    failures: Count = Field(2, ge=1, description="Own runs in a row that must fail or crash.")
    incomplete_for: Span = Field(
        timedelta(minutes=30), description="How long ended runs may go unread, because answers were not whole."
    )


class Slack(Section):
    """The Slack workspace, and the channel for digest and alerts. The token never stands here."""

    channel: str | None = Field(
        None,
        description="Channel id or name for the digest, and for alerts without a route. None: not posted.",
    )
    token_secret: BlockName = Field(
        "watchdog-slack-token",
        description="Name of the Prefect Secret block with the bot token. WATCHDOG_SLACK_TOKEN goes before it.",
    )
    api_url: str = Field("https://slack.com/api/", description="Address of Slack's Web API.", pattern=r"^https?://.+")
    timeout: Span = Field(timedelta(seconds=15), description="Longest wait for one answer of Slack's.")


class Receiver(Section):
    """Where alerts go: a Slack channel, a Slack webhook or a notification block; one of them."""

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
        if sum(given is not None for given in (self.channel, self.webhook_secret, self.block)) > 1:
            raise ValueError("expected only one of channel, webhook_secret, block")
        return self


class AlertMatch(Match):
    """Which incidents. All that is given must match."""

    pool: str | None = Field(None, description="Name of the work pool, or of the deployment's, exactly.", min_length=1)
    check: CheckName | None = Field(None, description="The check that found it.")
    severity: Severity | None = Field(None, description="Its severity.")
    owner: str | None = Field(None, description="Its owner, exactly.", min_length=1)


class Route(Receiver):
    """Where some incidents are told."""

    name: str = Field(
        description="What to call the route: lower case letters, digits and dashes.",
        pattern=r"^[a-z0-9][a-z0-9-]{0,38}$",
    )
    match: AlertMatch = Field(description="Which incidents it is for.")

    @model_validator(mode="after")
    def _usable(self) -> Route:
        if self.kind is None:
            raise ValueError("expected one of channel, webhook_secret, block")
        if self.name in RESERVED_ROUTES:
            raise ValueError(f"expected another name than {' and '.join(RESERVED_ROUTES)}")
        return self


class Maintenance(Section):
    """A window that comes again, in which nobody is told of some incidents."""

    match: AlertMatch = Field(description="Which incidents it is for.")
    cron: Cron = Field(description="When it begins: `0 2 * * SAT`.")
    time_zone: TimeZoneName = Field("UTC", description="IANA time zone of the cron expression.")
    lasts: Span = Field(description="How long it lasts.")
    reason: str = Field("maintenance", description="What for, as reports say it.", min_length=1, max_length=200)


class QuietHours(Section):
    """The time of day in which warnings wait; criticals never do."""

    begin: TimeOfDay | None = Field(None, description="When they begin: `22:00`. None: there are none.")
    end: TimeOfDay = Field("08:00", description="When they end, on the next day where that is not later.")
    time_zone: TimeZoneName = Field("UTC", description="IANA time zone of both.")
    weekends: bool = Field(False, description="Whether Saturday and Sunday are quiet all day.")

    @model_validator(mode="after")
    def _pass(self) -> QuietHours:
        if self.begin == self.end:
            raise ValueError("expected begin and end to differ: warnings would wait for ever")
        return self


class Alerts(Section):
    """Who is told of incidents as they begin and end, and how often."""

    enabled: bool = Field(True, description="Whether anybody is told.")
    default: Receiver = Field(
        Receiver(), description="Where that is told which no route matches. Nothing given: `slack.channel`."
    )
    fallback: Receiver = Field(
        Receiver(), description="Where that is told which its own route refuses for good. Nothing given: nowhere."
    )
    group_interval: Span = Field(
        timedelta(seconds=30), description="Shortest time between two changes of a message by what joins it."
    )
    repeat_after: Span | None = Field(
        timedelta(hours=24), description="An incident that still lasts is told again this long after. None: never."
    )
    reopen_within: Span = Field(
        timedelta(hours=1),
        description="What is found again so soon continues the old incident, which then ends only after staying away "
        "this long.",
    )
    quiet_hours: QuietHours = Field(QuietHours(), description="When warnings wait for the morning.")
    traceback: bool = Field(
        False, description="Whether tracebacks and log lines, redacted, are posted in a message's thread."
    )
    budget: Span = Field(timedelta(seconds=60), description="Longest time that one check spends on telling.")


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


class Compatibility(Section):
    """The metrics of the exporter for Prefect that Prefect keeps, by the same names and with the same labels."""

    enabled: bool = Field(False, description="Whether they are measured, too. Each check then asks for more.")
    window: Span = Field(
        timedelta(minutes=5), description="How far back runs count that began or ended. At least the check's interval."
    )
    failed_window: Span = Field(timedelta(days=7), description="How far back runs that failed or crashed are named.")
    failed_runs: Count = Field(
        10, ge=1, le=100, description="Failed or crashed runs that are named of each deployment."
    )
    most_series: Count = Field(5_000, ge=1, description="Series of one of these metrics at most.")


class Metrics(Section):
    """What each check measures, and where the numbers go."""

    enabled: bool = Field(
        False, description="Whether checks measure, and keep the numbers on the server for `watchdog metrics serve`."
    )
    most_series: Count = Field(
        5_000,
        ge=1,
        description="Series of one metric at most, a histogram being one; a metric says how many are left out.",
    )
    listen: HostPort = Field("127.0.0.1:9464", description="Where `watchdog metrics serve` is scraped.")
    refresh: Span = Field(
        timedelta(seconds=15), description="How often `watchdog metrics serve` looks whether there was another check."
    )
    pushgateway: WebAddress | None = Field(
        None, description="Address of a Prometheus Pushgateway that each check pushes to. None: none."
    )
    textfile: TextfilePath | None = Field(
        None, description="Path, on the worker, of a file for the textfile collector of Prometheus' node exporter."
    )
    dogstatsd: StatsdAddress | None = Field(
        None, description="Address of a Datadog agent: `127.0.0.1:8125` (UDP) or `unix:///var/run/datadog/dsd.socket`."
    )
    timeout: Wait = Field(
        timedelta(seconds=5),
        description="Longest wait for each of these at a step, such as to connect; checks wait twice as long for all.",
    )
    compatibility: Compatibility = Field(
        Compatibility(), description="The names that dashboards for Prefect's own exporter have."
    )

    @property
    def ways_out(self) -> tuple[str, ...]:
        """The settings by which each check hands its numbers over."""
        given = {name: getattr(self, name) for name in ("pushgateway", "textfile", "dogstatsd")}
        return tuple(f"metrics.{name}" for name, address in given.items() if self.enabled and address)


class Logs(Section):
    """What checks, digests and `watchdog metrics serve` log."""

    format: Literal["console", "json"] = Field(
        "console", description="Lines for people, or JSON for machines; on stderr. The Prefect UI has lines."
    )
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The least level that is logged.")


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
