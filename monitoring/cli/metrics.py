"""``watchdog metrics``: the numbers of the last check, for whoever asks for them."""

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
    "nothing was measured yet: the next check measures, if watchdog-check is deployed on this server, runs, and has "
    "metrics.enabled"
)
_GONE = (
    "the numbers of the last check are gone from the server, and the last known ones are served: the next check writes "
    "them anew, if watchdog-check is deployed on this server, runs, and has metrics.enabled"
)
#: The next refresh tries again.
_ONE_TRY: tuple[Layer, ...] = ({"server.attempts": Setting(1, "watchdog metrics serve")},)
_NO_ANSWER = "the Prefect server has not answered yet"
#: Checks are to run every few minutes. Where none has measured for this long, several were missed: no slow or late one.
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
    """Serve the numbers of the last check to Prometheus until interrupted; nothing is asked of the server about runs.

    Its pages are /metrics, /-/healthy and /-/ready.
    """
    address = None if listen is None else _address(listen)
    serving = _Serving(config, address, target)
    # As if somebody had pressed Ctrl+C: even in the midst of a request.
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
    """Print the numbers of the last check as OpenMetrics."""
    snapshot = _load(_policies(config, target), target)
    if snapshot is None:
        raise WatchdogError(_NOTHING)
    terminal.console(sys.stdout).out(openmetrics(snapshot, _DEFINITIONS).decode(), end="")
    return 0


def _policies(config: str | None, target: str | None, stronger: Iterable[Layer] = ()) -> Policies:
    """The configuration.

    Raises:
        ConfigError: It cannot be used, or nothing is measured with it.
    """
    policies = configuration(config, target, stronger)
    if not policies.config.metrics.enabled:
        raise ConfigError(
            f"{policies.origin}: metrics.enabled: false; expected true, here and where the check runs: else nothing is "
            "measured"
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
    """What is served, and what the server said when it was asked last."""

    def __init__(self, config: str | None, listen: str | None, target: str | None) -> None:
        """Find the configuration; nobody can connect yet.

        While the server does not answer, nobody knows what was pushed to it: we begin with what holds without it.

        Args:
            config: Its file, if one was named.
            listen: Where to listen instead of at ``metrics.listen``.
            target: An address to use instead of ``PREFECT_API_URL``.

        Raises:
            ConfigError: It cannot be used, or nothing is measured with it.
        """
        self._config = config
        self._listen = listen
        self._target = target
        self._configured = True
        try:
            policies = _policies(config, target, _ONE_TRY)
        except (ServerProblem, CredentialsRefused):
            policies = load_policies(config, read_pushed=lambda: None, stronger=_ONE_TRY)
            self._configured = False
        self._take(policies)
        self._pages = ScrapeServer(self._address, _DEFINITIONS)
        self._shown: tuple[Snapshot, str] | None = None
        self._problem = ""

    @property
    def _address(self) -> str:
        return self._listen or self._policies.config.metrics.listen

    def serve(self) -> NoReturn:
        """Serve, and look again and again; ends by an exception only."""
        answers_first()
        self._start()
        while True:
            self._look()
            time.sleep(self._policies.config.metrics.refresh.total_seconds())

    def stop(self) -> None:
        """Serve no more."""
        self._pages.stop()

    def _take(self, policies: Policies) -> None:
        settings = policies.config
        configure(settings.logs, Redactor(settings.redact.patterns).redact, in_run=False)
        self._policies = policies
        #: The last that is known; without samples while nothing is.
        self._snapshot = Snapshot(target=settings.target.name, at=datetime.now(timezone.utc))

    def _start(self) -> None:
        self._show(None, _NO_ANSWER)
        _log.info("metrics served", says=self._pages.start())

    def _configure(self) -> None:
        """Go by what was pushed to the server, if it says so by now, and listen where that says."""
        before = self._address
        self._take(_policies(self._config, self._target, _ONE_TRY))
        self._configured = True
        if self._address != before:
            self._pages.stop()
            self._pages = ScrapeServer(self._address, _DEFINITIONS)
            self._shown = None
            self._start()

    def _look(self) -> None:
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
        except CredentialsRefused as refused:
            # The server may be well for everybody else: the last check knows better.
            problem, up = str(refused), None
        except ServerProblem as error:
            problem, up = str(error), False
        missing = _aged(self._snapshot) if self._snapshot.samples else problem
        self._noted(problem or missing)
        self._show(up, missing)

    def _noted(self, problem: str) -> None:
        """Log what is wrong, and that it is not any more, once each."""
        if problem and problem != self._problem:
            _log.warning("metrics not current", problem=problem)
        elif problem != self._problem:
            _log.info("metrics current", says="the numbers of the last check are there")
        self._problem = problem

    def _show(self, up: bool | None, missing: str) -> None:
        """Show what is known, with what we see ourselves of the server, if anything; rendered only where it differs."""
        seen = {} if up is None else {catalog.SERVER_UP.name: (Sample(value=float(up)),)}
        shown = self._snapshot.model_copy(update={"samples": {**self._snapshot.samples, **seen}}), missing
        if shown != self._shown:
            self._pages.show(*shown)
            self._shown = shown


def _aged(snapshot: Snapshot) -> str:
    """What is wrong with numbers that no check has renewed for long; empty when they are new enough."""
    if datetime.now(timezone.utc) - snapshot.at <= _MAX_AGE:
        return ""
    return (
        f"no check has measured since {snapshot.at:%Y-%m-%d %H:%M} UTC: see whether the deployment watchdog-check runs "
        "on schedule, and has metrics.enabled"
    )
