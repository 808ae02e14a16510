"""The check: looks at the server, keeps what it learns on it, and publishes how things stand."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

from monitoring.adapters.config_source import load_policies
from monitoring.adapters.ping import HttpPing
from monitoring.adapters.prefect_server.api import open_api
from monitoring.adapters.prefect_server.artifacts import PrefectArtifacts
from monitoring.adapters.prefect_server.documents import Documents
from monitoring.adapters.prefect_server.failing import failed
from monitoring.adapters.prefect_server.housekeeping import PrefectHousekeeping
from monitoring.adapters.prefect_server.lock import VariableLock
from monitoring.adapters.prefect_server.pushed import pushed_reader
from monitoring.adapters.prefect_server.reader import OVERLAP, ServerReader
from monitoring.adapters.prefect_server.secrets import read_secret
from monitoring.adapters.prefect_server.state import BlockState
from monitoring.errors import ConfigError, WatchdogError
from monitoring.flow_parameters import PolicyChanges, parameters
from monitoring.model import CHECK_FLOW
from monitoring.redact import Redactor
from monitoring.render.words import headline
from monitoring.service import check as run_check


@flow(name=CHECK_FLOW)
def check(overrides: PolicyChanges | None = None) -> Any:
    """Look at the server now, remember what matters, and publish how things stand.

    Args:
        overrides: Changes of policy for this run, for every deployment.
    """
    now = datetime.now(timezone.utc)
    log = get_run_logger()
    try:
        policies = load_policies(read_pushed=pushed_reader(), stronger=[parameters(overrides)])
        config = policies.config
        with open_api(config.server) as api:
            run_id = str(flow_run.id)
            lock = VariableLock(api, run_id, config.state.lock_expiry)
            api.before_request = lock.keep
            try:
                url = read_secret(api, config.ping.url_secret, "WATCHDOG_PING_URL", os.environ)
            except ConfigError as error:
                # A dead-man's switch that is not told speaks up by itself; the check goes on.
                log.warning("The dead-man's switch cannot be told: %s", error)
                url = None
            report = run_check(
                reader=ServerReader(api, config, Redactor(config.redact.patterns).redact),
                state=BlockState(Documents(api), config.state, now, lock.confirm),
                lock=lock,
                artifacts=PrefectArtifacts(api, run_id),
                housekeeping=PrefectHousekeeping(api, config.state, run_id),
                ping=HttpPing(url, config.ping) if url else None,
                policies=policies,
                now=now,
                overlap=OVERLAP,
            )
    except WatchdogError as error:
        log.error("%s", error)
        return failed(error)
    message = "Another check is running" if report is None else headline(report)
    log.info("%s", message)
    return Completed(message=message)
