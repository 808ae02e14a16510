"""The check: finds what is wrong on the server, saves its state there, notifies people and publishes reports."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from prefect import flow

from monitoring.adapters.prefect.read.triggered_run import triggered_run
from monitoring.config.flow_parameters import PolicyChanges, parameters
from monitoring.logs import get_logger
from monitoring.model.prefect import CHECK_FLOW
from monitoring.usecases.check import check as run_check
from monitoring.wiring import run_flow

_log = get_logger("monitoring.flows.check")


@flow(name=CHECK_FLOW)
def check(overrides: PolicyChanges | None = None) -> Any:
    """Check the server now, save the state, notify people and publish reports.

    Args:
        overrides: Changes of policy for this run, for every deployment.
    """
    if triggered := triggered_run():
        triggered.wait()
    now, started = datetime.now(timezone.utc), time.monotonic()
    return run_flow(
        lambda session, run_id: run_check(session.check_ports(run_id, started), session.policies, now, run_id),
        now,
        parameters=lambda: parameters(overrides),
        log_failure=lambda problem: _log.error("check failed", problem=problem),
    )
