"""Opens a target, and builds everything that flows and commands need for it. Nothing else builds adapters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from prefect import State as RunState
from prefect.runtime import flow_run
from prefect.states import Completed

from monitoring.adapters.exporters.dogstatsd import DogStatsD
from monitoring.adapters.exporters.pushgateway import Pushgateway
from monitoring.adapters.exporters.textfile import Textfile
from monitoring.adapters.logs import configure, from_environment
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.publish.artifacts import PrefectArtifacts
from monitoring.adapters.prefect.publish.events import PrefectEvents
from monitoring.adapters.prefect.publish.failed_state import failed
from monitoring.adapters.prefect.publish.housekeeping import PrefectHousekeeping
from monitoring.adapters.prefect.read.maintenance import next_windows, open_windows
from monitoring.adapters.prefect.read.reader import ServerReader
from monitoring.adapters.prefect.read.triggered_run import triggered_run
from monitoring.adapters.prefect.store import action_requests
from monitoring.adapters.prefect.store.documents import PUSHED_DOCUMENT, Documents, read_pushed
from monitoring.adapters.prefect.store.lock import VariableLock
from monitoring.adapters.prefect.store.metrics_document import Measured
from monitoring.adapters.prefect.store.state import BlockState
from monitoring.adapters.receivers.notification_block import NotificationBlock
from monitoring.adapters.receivers.ping import HttpPing
from monitoring.adapters.slack.bot import SlackBot
from monitoring.adapters.slack.webhook import SlackWebhook
from monitoring.config.alert_settings import DEFAULT_ROUTE, Receiver
from monitoring.config.policy import Layer, Policies, Setting
from monitoring.config.source import load_policies
from monitoring.errors import ConfigError, DeliveryError, ServerProblem
from monitoring.logs import bound, get_logger
from monitoring.metrics import catalog, compatible
from monitoring.metrics.measure import Effort
from monitoring.model.request import Action, Request
from monitoring.model.silence import Silence
from monitoring.model.target import OWN_SERVER, Target
from monitoring.notifications.ports import Notifier
from monitoring.text.error_lines import error_line
from monitoring.text.redaction import Redactor
from monitoring.usecases.check import Ports
from monitoring.usecases.digest import DigestPorts
from monitoring.usecases.measure import Measuring
from monitoring.usecases.ports import Exporter, State

_log = get_logger(__name__)


class Session:
    """An open target with its configuration, at the time of a check or command.

    It builds the adapters that use cases and commands need.
    """

    def __init__(self, api: Api, policies: Policies, now: datetime) -> None:
        self.api = api
        self.policies = policies
        self.config = policies.config
        self.now = now
        self.redact = Redactor(self.config.redact.patterns).redact
        self.documents = Documents(api)

    def reader(self, *, for_exporter: bool = False) -> ServerReader:
        """The reader; with ``for_exporter`` it also collects what the metrics of Prefect's own exporter need."""
        return ServerReader(self.api, self.config, self.redact, for_exporter=for_exporter)

    def state(self, confirm: Callable[[], None] = lambda: None) -> State:
        """The saved state; ``confirm`` is called before each write, and raises if another check writes now."""
        return BlockState(self.documents, self.config.state, self.now, confirm)

    def push_configuration(self, text: str) -> bool:
        """Save a configuration on the server; return whether it differs from the previous one."""
        changed = self.documents.read(PUSHED_DOCUMENT) != text
        if changed:
            self.documents.write(PUSHED_DOCUMENT, text)
        return changed

    def leave_request(
        self, what: Action, by: str, *, subject: str = "", note: str = "", silence: Silence | None = None
    ) -> None:
        """Save an action request for the next check."""
        name = action_requests.new_name()
        request = Request(name=name, what=what, at=self.now, by=by, subject=subject, note=note, silence=silence)
        action_requests.submit(self.api, request)

    def next_check(self) -> datetime | None:
        """When the next check is planned; None if none is."""
        return action_requests.next_check(self.api, self.now)

    def open_windows(self) -> tuple[Silence, ...]:
        """The open maintenance windows."""
        return open_windows(self.config.maintenance, self.now)

    def next_windows(self) -> tuple[Silence, ...]:
        """The next occurrence of each configured maintenance window, soonest first."""
        return next_windows(self.config.maintenance, self.now)

    def metrics_store(self) -> Measured:
        """The metrics of the last check."""
        return Measured(self.documents)

    def notifier(self, route: str) -> Notifier:
        """The notifier of a route.

        Raises:
            DeliveryError: The route has no receiver, or its secret is missing.
        """
        # If a route or the fallback was removed from the configuration, its notifications go to the default.
        named = self.config.receiver(route)
        receiver = named if named and named.kind else self.config.receiver(DEFAULT_ROUTE) or Receiver()
        slack = self.config.slack
        try:
            if receiver.block:
                return NotificationBlock(receiver.block)
            if receiver.webhook_secret:
                if address := self.api.secret(receiver.webhook_secret):
                    return SlackWebhook(address, slack, receiver)
                raise DeliveryError(
                    f"there is no Secret block {receiver.webhook_secret!r}: create it with the webhook's address",
                    permanent=True,
                )
            token = self.api.secret(slack.token_secret, "WATCHDOG_SLACK_TOKEN")
        except ConfigError as error:
            raise DeliveryError(str(error), permanent=True) from None
        except ServerProblem as problem:
            raise DeliveryError(f"the route's secret cannot be read: {problem}", permanent=False) from None
        if not receiver.channel:
            raise DeliveryError(
                f"the route {route} has no receiver: set slack.channel or alerts.default", permanent=True
            )
        if not token:
            raise DeliveryError(
                "there is no Slack token; set WATCHDOG_SLACK_TOKEN or create a Secret block named "
                f"{slack.token_secret!r}",
                permanent=True,
            )
        return SlackBot(token, slack, receiver)

    def check_ports(self, run_id: str, started: float) -> Ports:
        """The ports of a check: its own flow run, and when it started by the monotonic clock, in seconds."""
        lock, triggered = self._lock(run_id), triggered_run()
        metrics = self.config.metrics
        return Ports(
            reader=self.reader(for_exporter=metrics.enabled and metrics.compatibility.enabled),
            state=self.state(lock.confirm),
            lock=lock,
            notifier=self.notifier,
            events=PrefectEvents(self.api),
            artifacts=PrefectArtifacts(self.api, run_id),
            housekeeping=PrefectHousekeeping(self.api, self.config.state, run_id),
            ping=self._ping(),
            effort=lambda: Effort(
                requests=self.api.traffic.requests, took=timedelta(seconds=time.monotonic() - started)
            ),
            superseded=lambda: triggered is not None and triggered.superseded(self.api),
            measuring=self._measuring() if metrics.enabled else None,
        )

    def digest_ports(self, run_id: str) -> DigestPorts:
        """The ports of a digest; ``run_id`` is its own flow run."""
        lock = self._lock(run_id)
        return DigestPorts(
            reader=self.reader(),
            state=self.state(lock.confirm),
            lock=lock,
            notifier=self.notifier,
            artifacts=PrefectArtifacts(self.api, run_id),
        )

    def _lock(self, run_id: str) -> VariableLock:
        """The lock for a flow run; every request keeps it alive."""
        lock = VariableLock(self.api, run_id, self.config.state.lock_expiry)
        self.api.before_request = lock.keep
        return lock

    def _ping(self) -> HttpPing | None:
        try:
            url = self.api.secret(self.config.ping.url_secret, "WATCHDOG_PING_URL")
        except ConfigError as error:
            # Without pings the dead-man's switch alerts by itself, so the check goes on.
            _log.warning("ping failed", about="address", problem=str(error))
            return None
        return HttpPing(url, self.config.ping) if url else None

    def _measuring(self) -> Measuring:
        settings = self.config.metrics
        definitions = (*catalog.METRICS, *(compatible.METRICS if settings.compatibility.enabled else ()))
        exporters: dict[str, Exporter] = {}
        if settings.pushgateway:
            exporters["metrics.pushgateway"] = Pushgateway(settings.pushgateway, settings.timeout, definitions)
        if settings.textfile:
            exporters["metrics.textfile"] = Textfile(settings.textfile, definitions)
        if settings.dogstatsd:
            exporters["metrics.dogstatsd"] = DogStatsD(settings.dogstatsd, settings.timeout, definitions)
        return Measuring(
            store=self.metrics_store(),
            exporters=exporters,
            # The exporters have their own timeouts, to connect and to answer, with more precise errors than this one.
            # The lock is not renewed meanwhile: up to a third of its time has passed, and two thirds must not.
            timeout=min(2 * settings.timeout, self.config.state.lock_expiry / 4),
        )


@contextmanager
def open_session(target: Target, policies: Policies, now: datetime) -> Iterator[Session]:
    """Open a target with its configuration.

    Raises:
        ConfigError: Its address cannot be used.
    """
    with open_api(policies.config.server, target) as api:
        yield Session(api, policies, now)


def run_flow(
    body: Callable[[Session, str], str],
    now: datetime,
    parameters: Callable[[], Layer],
    log_failure: Callable[[str], None],
    weaker: Callable[[], Layer] = dict,
    target: Target = OWN_SERVER,
) -> RunState[Any]:
    """Run the body of a flow with an open session, configured logs, and the run's id on every log line.

    Args:
        body: Takes the session and the id of the flow run, and returns the outcome in one line.
        now: The time of the run.
        parameters: Reads the flow's parameters.
        log_failure: Logs why the run fails.
        weaker: Reads the parameters that the configuration overrides.
        target: The server to open; by default the one that the flow runs on.

    Returns:
        A completed state with the outcome; if the body raises, a failed state with the reason in one line.
    """
    run_id = str(flow_run.id)
    with ExitStack() as stack:
        stack.enter_context(bound(run=run_id))
        # Until the configuration is read.
        redact = Redactor().redact
        configure(from_environment(os.environ), redact, in_run=True)
        try:
            name = {"target.name": Setting(target.name, "target")} if target.name else {}
            policies = load_policies(
                read_pushed=partial(read_pushed, target), weaker=weaker(), stronger=[name, parameters()]
            )
            redact = Redactor(policies.config.redact.patterns).redact
            configure(policies.config.logs, redact, in_run=True)
            stack.enter_context(bound(target=policies.config.target.name))
            with open_session(target, policies, now) as session:
                return Completed(message=body(session, run_id))
        except Exception as error:  # noqa: BLE001 - Prefect would log a traceback, with every secret in it
            problem = error_line(error, redact)
            log_failure(problem)
            return failed(problem)
