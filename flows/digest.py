"""The digest: once a day, how the server stands and how yesterday went, as an artifact and in Slack."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from monitoring.adapters.logs import configure, from_environment
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.client.secret_blocks import read_secret
from monitoring.adapters.prefect.publish.artifacts import PrefectArtifacts
from monitoring.adapters.prefect.publish.failed_state import failed, reason
from monitoring.adapters.prefect.read.reader import OVERLAP, ServerReader
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.lock import VariableLock
from monitoring.adapters.prefect.store.pushed_config import pushed_reader
from monitoring.adapters.prefect.store.state import BlockState
from monitoring.adapters.slack.digest import SlackChannel
from monitoring.config.flow_parameters import PolicyChanges, parameters
from monitoring.config.settings import Config
from monitoring.config.source import load_policies
from monitoring.errors import WatchdogError
from monitoring.logs import bound, get_logger
from monitoring.messages.words import headline
from monitoring.model.prefect import DIGEST_FLOW
from monitoring.model.report import DigestReport
from monitoring.text.redaction import Redactor
from monitoring.usecases.digest import deliver, publish_digest
from monitoring.usecases.digest import digest as put_together

#: Seconds before each further try to post.
WAITS = (5, 60, 300)
#: A run that starts so long after its time is not worth posting.
TOO_LATE = timedelta(hours=24)

_log = get_logger("monitoring.flows.digest")


# Without retries of Prefect's: those would try what cannot work again as well, and publish the artifact each time.
@flow(name=DIGEST_FLOW)
def digest(overrides: PolicyChanges | None = None, time_zone: str | None = None) -> Any:
    """Say how the server stands and how yesterday went.

    Args:
        overrides: Changes of policy for this run, for every deployment.
        time_zone: IANA time zone in which the digest's days begin and end.
    """
    now = datetime.now(timezone.utc)
    run_id = str(flow_run.id)
    if now - flow_run.scheduled_start_time > TOO_LATE:
        # The worker was away; the run for the day that has begun since then says it better.
        return Completed(message="Not posted: a newer digest is due")
    unpublished: WatchdogError | None = None
    with ExitStack() as ties:
        ties.enter_context(bound(run=run_id))
        # Until the configuration is read, which may say otherwise.
        redact = Redactor().redact
        configure(from_environment(os.environ), redact, in_run=True)
        try:
            policies = load_policies(read_pushed=pushed_reader(), stronger=[parameters(overrides, time_zone)])
            config = policies.config
            redact = Redactor(config.redact.patterns).redact
            configure(config.logs, redact, in_run=True)
            ties.enter_context(bound(target=config.target.name))
            with open_api(config.server) as api:
                lock = VariableLock(api, run_id, config.state.lock_expiry)
                state = BlockState(Documents(api), config.state, now, lock.confirm)
                token = read_secret(api, config.slack.token_secret, "WATCHDOG_SLACK_TOKEN", os.environ)
                reader = ServerReader(api, config, redact)
                saved, known = state.load()
                report = put_together(reader, saved, known, policies, now, OVERLAP, ZoneInfo(config.digest.time_zone))
                try:
                    # A check that takes longer than its lock lasts has lost it.
                    patience = 2 * config.state.lock_expiry
                    if not publish_digest(report, state, lock, PrefectArtifacts(api, run_id), patience):
                        _log.warning("digest not published", problem="a check held the lock all the time")
                except WatchdogError as error:
                    # People who read Slack can still be told.
                    _log.error("digest not published", problem=str(error))
                    unpublished = error
            _post(token, config, report)
        except Exception as error:  # noqa: BLE001 - Prefect would log a traceback, with all secrets that stand in it
            problem = reason(error, redact)
            _log.error("digest failed", problem=problem)
            return failed(problem)
        if unpublished:
            return failed(str(unpublished))
        message = headline(report.health)
        _log.info("digest completed", says=message)
        return Completed(message=message)


def _post(token: str | None, config: Config, report: DigestReport) -> None:
    """Post the digest; where nothing says where to, or with what, log that.

    Raises:
        DeliveryError: It could not be posted.
    """
    if not token:
        _log.warning(
            "digest not posted",
            problem="no Slack token: the digest is in the artifact watchdog-digest only. Set WATCHDOG_SLACK_TOKEN "
            f"or make a Secret block named {config.slack.token_secret!r}",
        )
    elif not config.slack.channel:
        _log.warning(
            "digest not posted",
            problem="no Slack channel: the digest is in the artifact watchdog-digest only. Set slack.channel",
        )
    else:
        deliver(SlackChannel(token, config.slack), report, WAITS, time.sleep)
