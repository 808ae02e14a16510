"""Settings of metrics."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from monitoring.model.fields import Count, HostPort, Section, Span, StatsdAddress, TextfilePath, Wait, WebAddress


class Compatibility(Section):
    """The metrics of Prefect's own exporter, with the same names and labels."""

    enabled: bool = Field(
        False,
        description=(
            "Whether the metrics of Prefect's own exporter are measured too. Each check then sends more queries."
        ),
    )
    window: Span = Field(
        timedelta(minutes=5),
        description="How far back runs count that started or ended. At least the interval of the check.",
    )
    failed_window: Span = Field(timedelta(days=7), description="How far back failed or crashed runs are named.")
    failed_runs: Count = Field(10, ge=1, le=100, description="Failed or crashed runs that are named per deployment.")
    most_series: Count = Field(5_000, ge=1, description="Most series of one of these metrics.")


class Metrics(Section):
    """What each check measures, and where the metrics go."""

    enabled: bool = Field(
        False, description="Whether checks measure and save metrics on the server for `watchdog metrics serve`."
    )
    most_series: Count = Field(
        5_000,
        ge=1,
        description="Most series of one metric, counting a histogram as one; a metric shows how many are dropped.",
    )
    listen: HostPort = Field("127.0.0.1:9464", description="Address at which `watchdog metrics serve` is scraped.")
    refresh: Span = Field(
        timedelta(seconds=15), description="How often `watchdog metrics serve` looks for the metrics of a new check."
    )
    pushgateway: WebAddress | None = Field(
        None, description="Address of a Prometheus Pushgateway to which each check pushes. Null: none."
    )
    textfile: TextfilePath | None = Field(
        None, description="Path, on the worker, of a file for the textfile collector of Prometheus' node exporter."
    )
    dogstatsd: StatsdAddress | None = Field(
        None, description="Address of a Datadog agent: `127.0.0.1:8125` (UDP) or `unix:///var/run/datadog/dsd.socket`."
    )
    timeout: Wait = Field(
        timedelta(seconds=5),
        description=(
            "Timeout of each exporter per step, such as connecting; a check waits twice as long for all of them."
        ),
    )
    compatibility: Compatibility = Field(
        Compatibility(), description="The metrics that dashboards for Prefect's own exporter use."
    )

    @property
    def exporters(self) -> tuple[str, ...]:
        """The settings of the exporters to which each check sends its metrics."""
        given = {name: getattr(self, name) for name in ("pushgateway", "textfile", "dogstatsd")}
        return tuple(f"metrics.{name}" for name, address in given.items() if self.enabled and address)
