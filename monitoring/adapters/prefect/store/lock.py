"""One check writes at a time: a lock that is a Prefect Variable.

The server lets a Variable of one name be created once and answers 409 to everybody else. The lock is a lease:
one that was not renewed for as long as it says is deleted and created again by whoever comes next. Who of
several deletes it does not matter (on PostgreSQL each of them is told that it was), only one creates the next.

A Variable keeps its id until it is deleted, and each taking of the lock has a Variable of its own. So renewing
and releasing by id touch nobody else's lock, and a renewal that answers 404 is how a holder learns of its loss.

Nothing in Prefect deletes "only if it is still expired": a renewal that arrives between a rival's look and its
delete would be lost, and the holder would write on. Therefore a holder renews in the first two thirds of the
lease only, and holds a lock that it has not renewed by then for lost; the last third covers a request under way
and clocks that disagree. Age is counted by the holder from before it asked, on a clock that only runs forward,
and by a rival from the server's own time stamp: hosts of workers are compared with the server, never with each
other, and the stamp is there even when somebody has edited the value by hand.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from monitoring.adapters.prefect.client.api import Api
from monitoring.errors import BadAnswer, LockLost, WatchdogError
from monitoring.logs import get_logger
from monitoring.model.base import Value

#: Letters, digits, dashes and underscores are allowed (prefect.types.names.VariableName).
NAME = "watchdog_lock"

_ATTEMPTS = 3
#: Seconds between two tries to take it.
_PAUSE = 2.0

_log = get_logger(__name__)


class Lease(Value):
    """What the Variable says."""

    #: The flow run that took it.
    holder: str
    #: Tells our own lock, whose creation was answered and the answer lost, from another's.
    token: str
    #: How long it lasts from the Variable's last update.
    expiry_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Variable(Value):
    id: str
    updated: AwareDatetime
    value: Any = None

    def lease(self) -> Lease | None:
        """What it says; None when somebody has edited it into something else."""
        try:
            return Lease.model_validate(self.value)
        except ValidationError:
            return None


_VARIABLE = TypeAdapter(_Variable)


def expired(lease: Lease | None, updated: datetime, now: datetime) -> bool:
    """Whether a lock may be taken from its holder.

    Args:
        lease: What it says; one that cannot be read would never expire, and counts as expired.
        updated: The server's time of its last renewal.
        now: Our time.
    """
    return lease is None or (now - updated).total_seconds() > lease.expiry_seconds


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
        """Prepare to take it; nothing is asked before ``hold``.

        Args:
            api: The server that keeps it.
            holder: The id of the flow run that wants it, for people to see.
            expiry: How long it lasts without being renewed.
            clock: Our time of day, compared with the server's; another one in tests.
            timer: Seconds on a clock that only runs forward; another one in tests.
        """
        self._api = api
        self._lease = Lease(holder=holder, token=secrets.token_hex(16), expiry_seconds=expiry.total_seconds())
        self._clock = clock
        self._timer = timer
        self._id: str | None = None
        self._renewed = 0.0
        self._lost: str | None = None
        self._asking = False

    @contextmanager
    def hold(self, patience: timedelta = timedelta(0)) -> Iterator[bool]:
        """Take the lock for the body of a ``with``; its value is False when another holds it.

        Args:
            patience: For how long to try again.

        Raises:
            ServerProblem: The server cannot be asked. A release that fails is logged: the lock expires by itself.
        """
        deadline = self._timer() + patience.total_seconds()
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
        """Renew the lock when a third of its time has passed; before that, and when it is not held, do nothing.

        Raises:
            LockLost: It is gone, or was left alone for too long to be sure of it.
            ServerProblem: The server cannot be asked.
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
        # The renewal itself, and each further try of it, comes by here as well: the client calls this before requests.
        if age > third and not self._asking:
            self._ask("PATCH", json={"value": self._lease.model_dump()})

    def confirm(self) -> None:
        """Ask the server whether the lock is still ours: somebody may have deleted it. Does nothing when not held.

        Raises:
            LockLost: It is gone.
            ServerProblem: The server cannot be asked.
        """
        self.keep()
        if self._id is not None:
            self._ask("GET")

    def _ask(self, method: Any, **arguments: Any) -> None:
        asked = self._timer()
        self._asking = True
        try:
            kept = self._api.accepts(method, f"/variables/{self._id}", unless=404, **arguments)
        finally:
            self._asking = False
        if not kept:
            self._lost = "another check took the lock over, or somebody deleted it; nothing more was written"
            raise LockLost(self._lost)
        if method == "PATCH":
            self._renewed = asked

    def _take(self) -> bool:
        for _ in range(_ATTEMPTS):
            asked = self._timer()
            variable = self._create() or self._read()
            if variable is None:
                continue  # It was released between the two questions.
            lease = variable.lease()
            if lease == self._lease:
                self._id, self._renewed, self._lost = variable.id, asked, None
                return True
            if not expired(lease, variable.updated, self._clock()):
                return False
            _log.warning("lock taken over", holder=lease.holder if lease else "somebody")
            self._delete(variable.id)
        return False

    def _create(self) -> _Variable | None:
        try:
            return _VARIABLE.validate_python(
                self._api.post("/variables/", {"name": NAME, "value": self._lease.model_dump()})
            )
        except BadAnswer as answer:
            if answer.status != 409:
                raise
            return None

    def _read(self) -> _Variable | None:
        row = self._api.find(f"/variables/name/{NAME}")
        return None if row is None else _VARIABLE.validate_python(row)

    def _delete(self, variable_id: str) -> None:
        self._api.delete(f"/variables/{variable_id}")

    def _release(self) -> None:
        variable_id, self._id, self._lost = self._id, None, None
        if variable_id is None:
            return
        try:
            self._delete(variable_id)
        except WatchdogError as error:
            _log.warning("lock not released", problem=str(error))
