"""Why a run failed or crashed."""

from __future__ import annotations

from monitoring.model.base import Value


class FailedChild(Value):
    """The subflow (or child run) that made its parent fail."""

    id: str
    name: str
    flow_name: str
    deployment_id: str | None = None


class Failure(Value):
    """Why a run failed or crashed, from its message, logs and task runs; its texts are redacted."""

    #: The failing task, if there is one.
    task: str | None = None
    #: The exception's type: ``ValueError``, ``httpx.ConnectError``.
    exception: str | None = None
    #: The error of the deepest failed run in one line: ``ValueError: no rows``.
    reason: str = ""
    #: The end of the traceback, or of the error's log lines; empty if there are none, or they were not read.
    traceback: str = ""
    #: Identifies the error without its numbers, ids, addresses and paths; empty if nothing is known.
    error: str = ""
    #: From the run's child down to the deepest failed run.
    path: tuple[FailedChild, ...] = ()
