"""Settings of the monitored server, of what is kept on it, and of logs."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from monitoring.config.fields import Count, Hold, Pattern, Section, Span


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
