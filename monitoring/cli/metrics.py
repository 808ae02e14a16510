"""``watchdog metrics``: prints the metrics of the last check, or serves them to Prometheus."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Annotated, NoReturn

from cyclopts import App, Parameter
from pydantic import TypeAdapter, ValidationError

from monitoring.adapters.exporters.scrape import ScrapeServer, answers_first
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
    option: Layer = {} if listen is None else {"metrics.listen": Setting(_address(listen), "--listen")}
    source = _Source(config, target, (*_ONE_ATTEMPT, option))
    # Like Ctrl+C, even during a request.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _serve(source)
    except KeyboardInterrupt:
        return 0


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


class _Source:
    """The configuration and the last known metrics, of which the server may have newer ones.

    If the server does not answer, its pushed configuration is unknown: begin without it.

    Raises:
        ConfigError: The configuration cannot be used, or it disables metrics.
    """

    def __init__(self, config: str | None, target: str | None, stronger: Iterable[Layer]) -> None:
        self.policies: Policies
        #: The last known metrics; without samples until the first are read.
        self.snapshot: Snapshot
        self._target = target
        self._read_policies = partial(_policies, config, target, tuple(stronger))
        self._configured = True
        try:
            policies = self._read_policies()
        except (ServerProblem, CredentialsRefused):
            policies = load_policies(config, read_pushed=lambda: None, stronger=stronger)
            self._configured = False
        self._take(policies)

    def refresh(self) -> tuple[bool | None, str]:
        """Read what is new; return whether the server is up, if known, and why the metrics are not current."""
        try:
            if not self._configured:
                self._take(self._read_policies())
                self._configured = True
            found = _load(self.policies, self._target)
        except StateError as error:
            return True, str(error)
        except CredentialsRefused as error:
            # The server may work for everybody else: the last check knows better.
            return None, str(error)
        except ServerProblem as error:
            return False, str(error)
        if found is None:
            return True, _GONE if self.snapshot.samples else _NOTHING
        self.snapshot = found
        return True, ""

    def _take(self, policies: Policies) -> None:
        from monitoring.adapters.logs import configure

        settings = policies.config
        configure(settings.logs, Redactor(settings.redact.patterns).redact, in_run=False)
        self.policies = policies
        self.snapshot = Snapshot(target=settings.target.name, at=datetime.now(timezone.utc))


def _serve(source: _Source) -> NoReturn:
    """Serve, and read new metrics at each refresh; only an exception ends it."""
    answers_first()
    server = _started(source)
    logged = ""
    try:
        while True:
            up, problem = source.refresh()
            settings = source.policies.config.metrics
            if server.listen != settings.listen:
                # It is pushed, and the server has answered only now.
                server.stop()
                server = _started(source)
            missing = _aged(source.snapshot) if source.snapshot.samples else problem
            _log_change(logged, problem or missing)
            logged = problem or missing
            seen = {} if up is None else {catalog.SERVER_UP.name: (Sample(value=float(up)),)}
            server.show(source.snapshot.model_copy(update={"samples": {**source.snapshot.samples, **seen}}), missing)
            time.sleep(settings.refresh.total_seconds())
    finally:
        server.stop()


def _started(source: _Source) -> ScrapeServer:
    listen = source.policies.config.metrics.listen
    origin = source.policies.settings()["metrics.listen"].source
    server = ScrapeServer(listen, _DEFINITIONS, "--listen" if origin == "--listen" else "metrics.listen")
    server.show(source.snapshot, _NO_ANSWER)
    _log.info("metrics served", says=server.start())
    return server


def _log_change(before: str, problem: str) -> None:
    """Log a new problem, and the end of the last one, once each."""
    if problem and problem != before:
        _log.warning("metrics not current", problem=problem)
    elif problem != before:
        _log.info("metrics current", says="the metrics of the last check are served")


def _aged(snapshot: Snapshot) -> str:
    """The problem with metrics that no check has renewed for long; empty if they are recent."""
    if datetime.now(timezone.utc) - snapshot.at <= _MAX_AGE:
        return ""
    return (
        f"no check has measured since {snapshot.at:%Y-%m-%d %H:%M} UTC: check that the deployment watchdog-check "
        "runs on schedule and has metrics.enabled"
    )
