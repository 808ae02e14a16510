"""The digest: once a day, how the server stands and how yesterday went, as an artifact and in Slack."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed

from monitoring.adapters.prefect.client.secret_blocks import read_secret
from monitoring.adapters.prefect.publish.failed_state import failed
from monitoring.adapters.slack.digest import SlackChannel
from monitoring.config.flow_parameters import PolicyChanges, parameters
from monitoring.config.settings import Config
from monitoring.errors import WatchdogError
from monitoring.logs import get_logger
from monitoring.messages.words import headline
from monitoring.model.prefect import DIGEST_FLOW
from monitoring.model.report import DigestReport
from monitoring.usecases.digest import deliver, publish_digest
from monitoring.usecases.digest import digest as put_together
from monitoring.wiring import Session, run_flow

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
    if now - flow_run.scheduled_start_time > TOO_LATE:
        # The worker was away; the run for the day that has begun since then says it better.
        return Completed(message="Not posted: a newer digest is due")
    return run_flow(
        _digest,
        now,
        parameters=lambda: parameters(overrides, time_zone),
        log_failure=lambda problem: _log.error("digest failed", problem=problem),
    )


def _digest(session: Session, run_id: str) -> State[Any]:
    config = session.config
    lock = session.lock(run_id)
    state = session.state(lock.confirm)
    token = read_secret(session.api, config.slack.token_secret, "WATCHDOG_SLACK_TOKEN", os.environ)
    saved, known = state.load()
    zone = ZoneInfo(config.digest.time_zone)
    report = put_together(session.reader(), saved, known, session.policies, session.now, zone)
    unpublished: WatchdogError | None = None
    try:
        # A check that takes longer than its lock lasts has lost it.
        patience = 2 * config.state.lock_expiry
        if not publish_digest(report, state, lock, session.artifacts(run_id), patience):
            _log.warning("digest not published", problem="a check held the lock all the time")
    except WatchdogError as error:
        # People who read Slack can still be told.
        _log.error("digest not published", problem=str(error))
        unpublished = error
    _post(token, config, report)
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
