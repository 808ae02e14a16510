"""Why runs take long: a run that waits for a slot in the middle of its work reads RUNNING all the while.

Tag limits hold task runs, and who waits for one shows. Global limits hold code, and who waits for one shows nowhere: of
those nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from monitoring.checks.facts.causes import MOST_HOLDERS
from monitoring.model.finding import Cause
from monitoring.model.observation import ConcurrencyLimit


def held_up(limit: ConcurrencyLimit) -> Mapping[str, datetime]:
    """The runs that a limit holds up, by id: since when.

    Not those that hold slots of it themselves: their own task runs queue one behind the other, as the limit means it.
    """
    holders = {holder.flow_run_id for holder in limit.holders}
    return {run_id: since for run_id, since in limit.waiting.items() if run_id not in holders}


def slots_cause(limit: ConcurrencyLimit) -> Cause:
    """The cause of what waits for a slot of a tag's or global limit.

    Args:
        limit: The limit.
    """
    holders = tuple(holder.flow_run_id for holder in limit.holders[:MOST_HOLDERS])
    return Cause(kind=limit.kind, name=limit.name, reason="limit-reached", flow_run_ids=holders)
