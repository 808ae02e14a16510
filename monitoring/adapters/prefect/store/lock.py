"""One check writes at a time: a lock that is a Prefect Variable.

The server lets a Variable of one name be created once and answers 409 to all others. The lock is a lease: if it was
not renewed before its expiry, the next check deletes it and creates it again. Which of several checks deletes it does
not matter (on PostgreSQL each of them succeeds), as only one creates the next.

A Variable keeps its id until it is deleted, and each acquisition creates a Variable of its own. So renewal and release
by id cannot touch another check's lock, and the answer 404 to a renewal tells the holder of its loss.

Prefect cannot delete "only if it is still expired": a renewal that arrives between a rival's read and its delete would
be lost, and the holder would write on. Therefore a holder renews only in the first two thirds of the lease, and treats
a lock that it has not renewed by then as lost; the last third covers a request under way and clocks that disagree. The
holder counts the age from before its request, on a monotonic clock, and a rival from the server's own timestamp: the
clocks of workers are compared with the server's, never with each other's, and the timestamp is there even if somebody
has edited the value by hand.

A lock is free earlier if its holder's flow run has ended since the last renewal: the check was killed, or could not
release it. A run may be marked as ended while its process still lives. That process stops at its next write, which it
confirms with the server; the new holder waits for a write that was under way.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field, ValidationError

from monitoring.adapters.prefect.client.api import Api
from monitoring.errors import BadAnswer, LockLost, WatchdogError
from monitoring.logs import get_logger
from monitoring.model.base import Timestamp, Value
from monitoring.model.prefect import TERMINAL

#: Letters, digits, dashes and underscores are allowed (prefect.types.names.VariableName).
NAME = "watchdog_lock"

_ATTEMPTS = 3
#: Seconds between two attempts to take it, and for a write that was under way when its holder's run ended.
_PAUSE = 2.0

_log = get_logger(__name__)


class Lease(Value):
    """The value of the Variable."""

    #: The flow run that took it.
    holder: str
    #: Distinguishes our own lock, if the answer to its creation was lost, from another check's.
    token: str
    #: How long it lasts after the Variable's last update.
    expiry_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LockVariable(Value):
    """The Variable, while a check holds the lock."""

    id: str
    created: Timestamp
    #: The server's timestamp of the last renewal.
    updated: Timestamp
    value: Any = None

    @property
    def lease(self) -> Lease | None:
        """The lease; None if somebody has edited the value into something else."""
        try:
            return Lease.model_validate(self.value)
        except ValidationError:
            return None

    def expired(self, now: datetime) -> bool:
        """Whether the lock may be taken from its holder; without a lease, it would never expire."""
        return self.lease is None or (now - self.updated).total_seconds() > self.lease.expiry_seconds


def read_lock(api: Api) -> LockVariable | None:
    """Read the lock; None if no check holds it."""
    return api.read(f"/variables/name/{NAME}", LockVariable)


class _Ended(Value):
    type: str
    timestamp: Timestamp


class _Holder(Value):
    state: _Ended


def holder_ended(api: Api, variable: LockVariable) -> bool:
    """Whether the flow run that holds the lock has ended since it renewed it; False if the server does not tell."""
    if variable.lease is None:
        return False
    try:
        run = api.read(f"/flow_runs/{quote(variable.lease.holder, safe='')}", _Holder)
    except WatchdogError:
        # Such as a run of another server: its lock expires.
        return False
    return run is not None and run.state.type in TERMINAL and run.state.timestamp >= variable.updated


class VariableLock:
    """The lock, for one check."""

    def __init__(
        self,
        api: Api,
        holder: str,
        expiry: timedelta,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to take the lock for a flow run; nothing is sent before ``hold``.

        ``clock`` is compared with the server's, and ``timer`` are seconds on a clock that only runs forward.
        """
        self._api = api
        self._lease = Lease(holder=holder, token=secrets.token_hex(16), expiry_seconds=expiry.total_seconds())
        self._clock = clock
        self._timer = timer
        self._id: str | None = None
        self._renewed = 0.0
        self._lost: str | None = None
        self._sending = False

    @contextmanager
    def hold(self, timeout: timedelta = timedelta(0)) -> Iterator[bool]:
        """Take the lock for the body of a ``with``; its value is False if another still holds it after the timeout.

        Raises:
            ServerProblem: The server cannot be used. A release that fails is logged: the lock expires by itself.
        """
        deadline = self._timer() + timeout.total_seconds()
        while not self._take():
            if self._timer() + _PAUSE > deadline:
                yield False
                return
            time.sleep(_PAUSE)
        try:
            yield True
        finally:
            self._release()

    def keep(self) -> None:
        """Renew the lock after a third of its time; before that, and if it is not held, do nothing.

        Raises:
            LockLost: It is gone, or was not renewed for too long to be sure of it.
            ServerProblem: The server cannot be used.
        """
        if self._lost:
            raise LockLost(self._lost)
        if self._id is None:
            return
        age = self._timer() - self._renewed
        third = self._lease.expiry_seconds / 3
        if age > 2 * third:
            self._lost = f"the lock was left alone for {age:.0f} s and may be another check's; nothing more was written"
            raise LockLost(self._lost)
        # The client calls this before each request, including the renewal itself and its retries.
        if age > third and not self._sending:
            self._send("PATCH", json={"value": self._lease.model_dump()})

    def confirm(self) -> None:
        """Verify on the server that the lock is still ours: somebody may have deleted it. Does nothing if not held.

        Raises:
            LockLost: It is gone.
            ServerProblem: The server cannot be used.
        """
        self.keep()
        if self._id is not None:
            self._send("GET")

    def _send(self, method: Any, **arguments: Any) -> None:
        sent = self._timer()
        self._sending = True
        try:
            kept = self._api.accepts(method, f"/variables/{self._id}", unless=404, **arguments)
        finally:
            self._sending = False
        if not kept:
            self._lost = "another check took the lock over, or somebody deleted it; nothing more was written"
            raise LockLost(self._lost)
        if method == "PATCH":
            self._renewed = sent

    def _take(self) -> bool:
        orphaned = False
        for _ in range(_ATTEMPTS):
            sent = self._timer()
            variable = self._create() or read_lock(self._api)
            if variable is None:
                continue  # It was released between the two requests.
            lease = variable.lease
            if lease == self._lease:
                self._id, self._renewed, self._lost = variable.id, sent, None
                if orphaned:
                    time.sleep(_PAUSE)
                return True
            if not variable.expired(self._clock()):
                orphaned = holder_ended(self._api, variable)
                if not orphaned:
                    return False
            _log.warning("lock taken over", holder=lease.holder if lease else "somebody")
            self._api.delete(f"/variables/{variable.id}")
        return False

    def _create(self) -> LockVariable | None:
        variable = {"name": NAME, "value": self._lease.model_dump()}
        try:
            return self._api.query("/variables/", variable, LockVariable)
        except BadAnswer as answer:
            if answer.status != 409:
                raise
            return None

    def _release(self) -> None:
        variable_id, self._id, self._lost = self._id, None, None
        if variable_id is None:
            return
        try:
            self._api.delete(f"/variables/{variable_id}")
        except WatchdogError as error:
            _log.warning("lock not released", problem=str(error))
