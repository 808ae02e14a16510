"""Deployments that a ``serve()`` process runs, without a work pool: whether the process lives, and who paused them.

The process polls for runs, which the server notes with the deployment. As it ends, it pauses what it serves, by the
same request as a person would (prefect/runner/runner.py, ``_pause_schedules``); a killed one pauses nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from monitoring.model.ledger import Record
from monitoring.model.prefect import Deployment

#: A process that has not polled for so long is gone: it polls every 10 s by default.
_GONE_AFTER = timedelta(minutes=2)
#: A pause so soon after the last poll was the process's own: for so long, the server itself takes it to be alive.
_OWN_PAUSE = timedelta(minutes=1)
#: The server notes a poll in the background, and so maybe after the pause that followed it.
_NOTED_WITHIN = timedelta(seconds=5)


class Stopped(NamedTuple):
    """The end of a process whose deployment is paused."""

    #: When it polled last.
    at: datetime
    #: Whether it paused the deployment as it ended. If not, somebody else did later, or changed it since: who paused it
    #: is unknown.
    paused_it: bool


def unserved_since(deployment: Deployment, now: datetime) -> datetime | None:
    """When a process last polled a deployment that only a process serves; None if it still does, or none ever did."""
    polled = deployment.last_polled
    if deployment.work_pool is not None or polled is None or now - polled <= _GONE_AFTER:
        return None
    return polled


def stopped(deployment: Deployment, record: Record, now: datetime) -> Stopped | None:
    """The end of the process of a paused deployment; None if it lives, or lived on after somebody had paused it.

    As it ends, it pauses also what is paused already, so that the row shows that pause, and only memory shows the one
    before. A process that starts again makes the schedules anew, and resumes.
    """
    polled, paused, remembered = unserved_since(deployment, now), deployment.inactive_since, record.inactive_since
    if polled is None or paused is None or not deployment.paused:
        return None
    if remembered and (deployment.schedules_made is None or remembered >= deployment.schedules_made):
        paused = min(paused, remembered)
    if paused < polled - _NOTED_WITHIN:
        return None
    return Stopped(polled, paused_it=paused <= polled + _OWN_PAUSE)
