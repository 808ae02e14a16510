"""Runs that wait for a slot in the middle of their work: they stay RUNNING meanwhile, so they look slow.

Tag limits hold up task runs, and Prefect shows which. Global limits hold up code, and Prefect does not show which runs
wait, so no such wait is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from monitoring.checks.facts.causes import MAX_HOLDERS
from monitoring.model.finding import Cause
from monitoring.model.observation import ConcurrencyLimit


def held_up(limit: ConcurrencyLimit) -> Mapping[str, datetime]:
    """The runs that a limit holds up, by id, with the start of their wait.

    Runs that hold slots of it themselves are left out: their own task runs queue one behind the other, as intended.
    """
    holders = {holder.flow_run_id for holder in limit.holders}
    return {run_id: since for run_id, since in limit.waiting.items() if run_id not in holders}


def slots_cause(limit: ConcurrencyLimit) -> Cause:
    """The cause of waiting for a slot of a tag limit or global limit.

    Args:
        limit: The limit.
    """
    holders = tuple(holder.flow_run_id for holder in limit.holders[:MAX_HOLDERS])
    return Cause(kind=limit.kind, name=limit.name, reason="limit-reached", flow_run_ids=holders)
