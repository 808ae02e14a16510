"""The check: looks at the server, keeps what it learns on it, and publishes how things stand."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from monitoring.adapters.exporters.dogstatsd import DogStatsD
from monitoring.adapters.exporters.pushgateway import Pushgateway
from monitoring.adapters.exporters.textfile import Textfile
from monitoring.adapters.logs import configure, from_environment
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.client.secret_blocks import read_secret
from monitoring.adapters.prefect.publish.artifacts import PrefectArtifacts
from monitoring.adapters.prefect.publish.events import PrefectEvents
from monitoring.adapters.prefect.publish.failed_state import failed, reason
from monitoring.adapters.prefect.publish.housekeeping import PrefectHousekeeping
from monitoring.adapters.prefect.read.compatible import collect
from monitoring.adapters.prefect.read.reader import OVERLAP, ServerReader
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.lock import VariableLock
from monitoring.adapters.prefect.store.metrics_document import Measured
from monitoring.adapters.prefect.store.pushed_config import pushed_reader
from monitoring.adapters.prefect.store.state import BlockState
from monitoring.adapters.receivers.notification_block import NotificationBlock
from monitoring.adapters.receivers.ping import HttpPing
from monitoring.adapters.slack.bot import SlackBot
from monitoring.adapters.slack.webhook import SlackWebhook
from monitoring.config.flow_parameters import PolicyChanges, parameters
from monitoring.config.settings import DEFAULT_ROUTE, Config, Receiver
from monitoring.config.source import load_policies
from monitoring.errors import ConfigError, DeliveryError, ServerProblem
from monitoring.logs import bound, get_logger
from monitoring.messages.words import headline
from monitoring.metrics import catalog, compatible
from monitoring.metrics.measure import Effort
from monitoring.model.prefect import CHECK_FLOW
from monitoring.model.report import HealthReport
from monitoring.notifications.ports import Messenger
from monitoring.text.redaction import Redactor
from monitoring.usecases.check import Outlets
from monitoring.usecases.check import check as run_check
from monitoring.usecases.measure import Measuring
from monitoring.usecases.ports import MetricsOutlet

_log = get_logger("monitoring.flows.check")


@flow(name=CHECK_FLOW)
def check(overrides: PolicyChanges | None = None) -> Any:
    """Look at the server now, remember what matters, and publish how things stand.

    Args:
        overrides: Changes of policy for this run, for every deployment.
    """
    now, began = datetime.now(timezone.utc), time.monotonic()
    run_id = str(flow_run.id)
    with ExitStack() as ties:
        ties.enter_context(bound(run=run_id))
        # Until the configuration is read, which may say otherwise.
        redact = Redactor().redact
        configure(from_environment(os.environ), redact, in_run=True)
        try:
            policies = load_policies(read_pushed=pushed_reader(), stronger=[parameters(overrides)])
            config = policies.config
            redact = Redactor(config.redact.patterns).redact
            configure(config.logs, redact, in_run=True)
            ties.enter_context(bound(target=config.target.name))
            with open_api(config.server) as api:
                lock = VariableLock(api, run_id, config.state.lock_expiry)
                api.before_request = lock.keep
                try:
                    url = read_secret(api, config.ping.url_secret, "WATCHDOG_PING_URL", os.environ)
                except ConfigError as error:
                    # A dead-man's switch that is not told speaks up by itself; the check goes on.
                    _log.warning("ping failed", about="address", problem=str(error))
                    url = None
                reader = ServerReader(api, config, redact)
                outlets = Outlets(
                    messenger=partial(_messenger, api, config),
                    events=PrefectEvents(api),
                    artifacts=PrefectArtifacts(api, run_id),
                    ping=HttpPing(url, config.ping) if url else None,
                    measuring=_measuring(api, reader, config, redact, now, began) if config.metrics.enabled else None,
                )
                report = run_check(
                    reader=reader,
                    state=BlockState(Documents(api), config.state, now, lock.confirm),
                    lock=lock,
                    outlets=outlets,
                    housekeeping=PrefectHousekeeping(api, config.state, run_id),
                    policies=policies,
                    now=now,
                    overlap=OVERLAP,
                    run_id=run_id,
                )
                message = _ended(report, api.traffic.requests, time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - Prefect would log a traceback, with all secrets that stand in it
            problem = reason(error, redact)
            _log.error("check failed", problem=problem)
            return failed(problem)
        return Completed(message=message)


def _ended(report: HealthReport | None, requests: int, seconds: float) -> str:
    """Log how a check has ended, and say it."""
    if report is None:
        says = "Another check is running"
        _log.info("check skipped", says=says)
        return says
    says = headline(report)
    _log.info(
        "check completed",
        says=says,
        status=report.status,
        complete=report.coverage.complete,
        findings=len(report.findings),
        incidents=len(report.incidents),
        requests=requests,
        seconds=round(seconds, 1),
    )
    return says


def _measuring(
    api: Api, reader: ServerReader, config: Config, redact: Callable[[str], str], now: datetime, began: float
) -> Measuring:
    """With what a check measures that began at that time of the monotonic clock."""
    settings = config.metrics
    definitions = (*catalog.METRICS, *(compatible.METRICS if settings.compatibility.enabled else ()))
    outlets: dict[str, MetricsOutlet] = {}
    if settings.pushgateway:
        outlets["metrics.pushgateway"] = Pushgateway(settings.pushgateway, settings.timeout, definitions)
    if settings.textfile:
        outlets["metrics.textfile"] = Textfile(settings.textfile, definitions)
    if settings.dogstatsd:
        outlets["metrics.dogstatsd"] = DogStatsD(settings.dogstatsd, settings.timeout, definitions)

    def facts() -> compatible.Facts:
        return collect(api, config, redact, now, reader.deployed)

    return Measuring(
        effort=lambda: Effort(requests=api.traffic.requests, took=timedelta(seconds=time.monotonic() - began)),
        facts=facts if settings.compatibility.enabled else None,
        store=Measured(Documents(api)),
        outlets=outlets,
        # The ways out know their own time-outs, to connect and to answer, and say more than that they are late. Nobody
        # renews the lock meanwhile: it may be a third of its time old by now, and must not come to two thirds.
        patience=min(2 * settings.timeout, config.state.lock_expiry / 4),
    )


def _messenger(api: Api, config: Config, route: str) -> Messenger:
    """The messenger of a route.

    Raises:
        DeliveryError: The route has none, or its secret is missing.
    """
    # A route, or a fallback, that was taken out of the configuration leaves what it had to say to the default.
    named = config.receiver(route)
    receiver = named if named and named.kind else config.receiver(DEFAULT_ROUTE) or Receiver()
    try:
        if receiver.block:
            return NotificationBlock(receiver.block)
        if receiver.webhook_secret:
            address = read_secret(api, receiver.webhook_secret, None, os.environ)
            if address:
                return SlackWebhook(address, config.slack, receiver)
            raise DeliveryError(
                f"there is no Secret block {receiver.webhook_secret!r}: make it, with the webhook's address in it",
                permanent=True,
            )
        token = read_secret(api, config.slack.token_secret, "WATCHDOG_SLACK_TOKEN", os.environ)
    except ConfigError as error:
        raise DeliveryError(str(error), permanent=True) from None
    except ServerProblem as problem:
        raise DeliveryError(f"the route's secret cannot be read: {problem}", permanent=False) from None
    if not receiver.channel:
        raise DeliveryError(f"the route {route} leads nowhere: set slack.channel or alerts.default", permanent=True)
    if not token:
        raise DeliveryError(
            "there is no Slack token: set WATCHDOG_SLACK_TOKEN or make a Secret block named "
            f"{config.slack.token_secret!r}",
            permanent=True,
        )
    return SlackBot(token, config.slack, receiver)
