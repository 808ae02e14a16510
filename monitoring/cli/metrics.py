"""``watchdog metrics``: prints the metrics of the last check, or serves them to Prometheus."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Annotated, NoReturn

from cyclopts import App, Parameter
from pydantic import TypeAdapter, ValidationError

from monitoring.adapters.exporters.scrape import ScrapeServer, answers_first
from monitoring.adapters.logs import configure
from monitoring.cli.session import Address, ConfigPath, configuration, open_session
from monitoring.cli.terminal import reports_errors
from monitoring.config.policy import Layer, Policies, Setting
from monitoring.config.source import load_policies
from monitoring.errors import ConfigError, CredentialsRefused, ServerProblem, StateError, WatchdogError
from monitoring.logs import get_logger
from monitoring.messages import terminal
from monitoring.metrics import catalog, compatible
from monitoring.metrics.openmetrics import openmetrics
from monitoring.metrics.snapshot import Sample, Snapshot
from monitoring.model.fields import HostPort
from monitoring.text.redaction import Redactor

_log = get_logger(__name__)

app = App(name="metrics")

_HOST_PORT: TypeAdapter[str] = TypeAdapter(HostPort)
_DEFINITIONS = (*catalog.METRICS, *compatible.METRICS)
_NOTHING = (
    "no metrics yet: the next check measures them if watchdog-check is deployed on this server, runs, and has "
    "metrics.enabled"
)
_GONE = (
    "the metrics of the last check were deleted from the server, and the last known metrics are served: the next check "
    "saves them again if watchdog-check is deployed on this server, runs, and has metrics.enabled"
)
#: One attempt per refresh: the next refresh tries again.
_ONE_ATTEMPT: tuple[Layer, ...] = ({"server.attempts": Setting(1, "watchdog metrics serve")},)
_NO_ANSWER = "the Prefect server has not answered yet"
#: Checks run every few minutes. If none has measured for this long, several were missed, and not only a slow one.
_MAX_AGE = timedelta(minutes=30)


@app.command
@reports_errors
def serve(
    *,
    listen: Annotated[
        str | None, Parameter(name="--listen", help="Where to listen: HOST:PORT. [default: metrics.listen]")
    ] = None,
    config: ConfigPath = None,
    target: Address = None,
) -> int:
    """Serve the metrics of the last check to Prometheus until interrupted. Runs are not queried.

    Its pages are /metrics, /-/healthy and /-/ready.
    """
    address = None if listen is None else _address(listen)
    serving = _Serving(config, address, target)
    # Like Ctrl+C, even during a request.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serving.serve()
    except KeyboardInterrupt:
        return 0
    finally:
        serving.stop()


@app.command(name="print")
@reports_errors
def print_(*, config: ConfigPath = None, target: Address = None) -> int:
    """Print the metrics of the last check as OpenMetrics."""
    snapshot = _load(_policies(config, target), target)
    if snapshot is None:
        raise WatchdogError(_NOTHING)
    terminal.console(sys.stdout).out(openmetrics(snapshot, _DEFINITIONS).decode(), end="")
    return 0


def _policies(config: str | None, target: str | None, stronger: Iterable[Layer] = ()) -> Policies:
    """The configuration.

    Raises:
        ConfigError: It cannot be used, or it disables metrics.
    """
    policies = configuration(config, target, stronger)
    if not policies.config.metrics.enabled:
        raise ConfigError(
            f"{policies.origin}: metrics.enabled: false; expected true, here and where the check runs: otherwise "
            "nothing is measured"
        )
    return policies


def _address(listen: str) -> str:
    try:
        return _HOST_PORT.validate_python(listen)
    except ValidationError:
        raise ConfigError(f"--listen: {listen!r}: expected a host and a port, such as 127.0.0.1:9464") from None


def _load(policies: Policies, target: str | None) -> Snapshot | None:
    with open_session(policies, target) as server:
        return server.metrics_store().load()


class _Serving:
    """Serves the last known metrics, and reads new ones from the Prefect server."""

    def __init__(self, config: str | None, listen: str | None, target: str | None) -> None:
        """Find the configuration; nothing listens yet.

        If the server does not answer, the pushed configuration is unknown: begin without it.

        Args:
            config: Its file, if one was named.
            listen: Where to listen instead of at ``metrics.listen``.
            target: An address to use instead of ``PREFECT_API_URL``.

        Raises:
            ConfigError: It cannot be used, or it disables metrics.
        """
        self._config = config
        self._listen = listen
        self._target = target
        self._configured = True
        try:
            policies = _policies(config, target, _ONE_ATTEMPT)
        except (ServerProblem, CredentialsRefused):
            policies = load_policies(config, read_pushed=lambda: None, stronger=_ONE_ATTEMPT)
            self._configured = False
        self._take(policies)
        self._pages = ScrapeServer(self._address, _DEFINITIONS)
        self._shown: tuple[Snapshot, str] | None = None
        self._problem = ""

    @property
    def _address(self) -> str:
        return self._listen or self._policies.config.metrics.listen

    def serve(self) -> NoReturn:
        """Serve, and read new metrics at each refresh; only an exception ends it."""
        answers_first()
        self._start()
        while True:
            self._refresh()
            time.sleep(self._policies.config.metrics.refresh.total_seconds())

    def stop(self) -> None:
        """Stop serving."""
        self._pages.stop()

    def _take(self, policies: Policies) -> None:
        settings = policies.config
        configure(settings.logs, Redactor(settings.redact.patterns).redact, in_run=False)
        self._policies = policies
        #: The last known metrics; without samples until the first are read.
        self._snapshot = Snapshot(target=settings.target.name, at=datetime.now(timezone.utc))

    def _start(self) -> None:
        self._show(None, _NO_ANSWER)
        _log.info("metrics served", says=self._pages.start())

    def _configure(self) -> None:
        """Read the configuration with the pushed one, now that the server may answer, and listen at its address."""
        before = self._address
        self._take(_policies(self._config, self._target, _ONE_ATTEMPT))
        self._configured = True
        if self._address != before:
            self._pages.stop()
            self._pages = ScrapeServer(self._address, _DEFINITIONS)
            self._shown = None
            self._start()

    def _refresh(self) -> None:
        up: bool | None = True
        problem = ""
        try:
            if not self._configured:
                self._configure()
            found = _load(self._policies, self._target)
            if found is None:
                problem = _GONE if self._snapshot.samples else _NOTHING
            else:
                self._snapshot = found
        except StateError as error:
            problem = str(error)
        except CredentialsRefused as error:
            # The server may work for everybody else: the last check knows better.
            problem, up = str(error), None
        except ServerProblem as error:
            problem, up = str(error), False
        missing = _aged(self._snapshot) if self._snapshot.samples else problem
        self._log_problem(problem or missing)
        self._show(up, missing)

    def _log_problem(self, problem: str) -> None:
        """Log a new problem, and the end of the last one, once each."""
        if problem and problem != self._problem:
            _log.warning("metrics not current", problem=problem)
        elif problem != self._problem:
            _log.info("metrics current", says="the metrics of the last check are served")
        self._problem = problem

    def _show(self, up: bool | None, missing: str) -> None:
        """Publish the last known metrics and whether the server is up, if known; render them only if they changed."""
        seen = {} if up is None else {catalog.SERVER_UP.name: (Sample(value=float(up)),)}
        shown = self._snapshot.model_copy(update={"samples": {**self._snapshot.samples, **seen}}), missing
        if shown != self._shown:
            self._pages.show(*shown)
            self._shown = shown


def _aged(snapshot: Snapshot) -> str:
    """The problem with metrics that no check has renewed for long; empty if they are recent."""
    if datetime.now(timezone.utc) - snapshot.at <= _MAX_AGE:
        return ""
    return (
        f"no check has measured since {snapshot.at:%Y-%m-%d %H:%M} UTC: check that the deployment watchdog-check "
        "runs on schedule and has metrics.enabled"
    )
