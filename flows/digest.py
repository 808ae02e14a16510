"""The digest: once a day, the state of the server and how yesterday went, as an artifact and a message."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from monitoring.config.flow_parameters import PolicyChanges, deployed_time_zone, parameters
from monitoring.logs import get_logger
from monitoring.model.prefect import DIGEST_FLOW
from monitoring.notifications.outbox import MAX_DIGEST_AGE
from monitoring.usecases.digest import digest as run_digest
from monitoring.wiring import run_flow

_log = get_logger("monitoring.flows.digest")


# Without Prefect's retries: if the digest cannot be sent, the next checks send it.
@flow(name=DIGEST_FLOW)
def digest(overrides: PolicyChanges | None = None, time_zone: str | None = None) -> Any:
    """Report the state of the server and how yesterday went.

    Args:
        overrides: Changes of policy for this run, for every deployment.
        time_zone: IANA time zone in which the digest's days begin and end, unless digest.time_zone is configured.
    """
    now = datetime.now(timezone.utc)
    if now - flow_run.scheduled_start_time > MAX_DIGEST_AGE:
        # No worker was running; the digest of the day that has begun since then is more useful.
        return Completed(message="Not posted: a newer digest is due")
    return run_flow(
        lambda session, run_id: run_digest(session.digest_ports(run_id), session.policies, now),
        now,
        parameters=lambda: parameters(overrides),
        weaker=lambda: deployed_time_zone(time_zone),
        log_failure=lambda problem: _log.error("digest failed", problem=problem),
    )
