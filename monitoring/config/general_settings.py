"""Settings of the watchdog as a whole: the target, logs, redaction and the saved state."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from monitoring.model.fields import Pattern, Section, Span, TargetName


class Target(Section):
    """The monitored server, and which of its runs are watched."""

    name: TargetName = Field(
        "prefect",
        description="Name of the server in reports, notifications, events and metrics. A new name changes no incident.",
    )
    window: Span = Field(timedelta(hours=24), description="How far back ended runs are read without a saved state.")
    runs_without_deployment: bool = Field(
        False,
        description="Whether runs without a deployment, usually from somebody's laptop, are watched too, by flow.",
    )


class Logs(Section):
    """What checks, digests and `watchdog metrics serve` log."""

    format: Literal["console", "json"] = Field(
        "console", description="Lines for people, or JSON for machines; on stderr. The Prefect UI always has lines."
    )
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The lowest level that is logged.")


class Redact(Section):
    """What is redacted in text from runs, besides addresses with credentials, tokens and key-value secrets."""

    patterns: tuple[Pattern, ...] = Field((), description="Regular expressions whose matches are redacted.")


class State(Section):
    """What the watchdog keeps on the server, and for how long."""

    lock_expiry: Span = Field(
        timedelta(minutes=3),
        description="How long a check that has died blocks the others. A live check renews its lock in time.",
    )
    keep_runs: Span = Field(timedelta(hours=24), description="The check's own finished runs are deleted after this.")
    keep_artifacts: Span = Field(
        timedelta(days=7), description="The check's own artifact versions are deleted after this, except the newest."
    )
    keep_incidents: Span = Field(timedelta(days=90), description="Closed incidents are deleted after this, by month.")
