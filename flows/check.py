"""The check: finds what is wrong on the server, saves its state there, notifies people and publishes reports."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import partial
from typing import Any

from prefect import State, flow
from prefect.states import Completed

from monitoring.config.flow_parameters import PolicyChanges, parameters
from monitoring.logs import get_logger
from monitoring.model.prefect import CHECK_FLOW
from monitoring.usecases.check import check as run_check
from monitoring.wiring import Session, run_flow

_log = get_logger("monitoring.flows.check")


@flow(name=CHECK_FLOW)
def check(overrides: PolicyChanges | None = None) -> Any:
    """Check the server now, save the state, notify people and publish reports.

    Args:
        overrides: Changes of policy for this run, for every deployment.
    """
    now, started = datetime.now(timezone.utc), time.monotonic()
    return run_flow(
        partial(_check, started),
        now,
        parameters=lambda: parameters(overrides),
        log_failure=lambda problem: _log.error("check failed", problem=problem),
    )


def _check(started: float, session: Session, run_id: str) -> State[Any]:
    return Completed(message=run_check(session.check_ports(run_id, started), session.policies, session.now, run_id))
