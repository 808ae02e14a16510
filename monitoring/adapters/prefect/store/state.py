"""The saved state: documents on the monitored server.

One document per concern and rate of change, so that a write is small: ``ledger``, ``incidents`` (the open ones),
``silences``, ``outbox`` (what is to be sent), ``artifacts`` (what was published) and ``closed-YYYY-MM`` (incidents by
the month, UTC, in which they were resolved). Each action request is a document ``request-...``, which the check deletes
after it has applied or rejected the request. Each is JSON: ``{"schema": 5, "data": ...}``. The ledger's data are packed
(see ``pack``): it grows with the number of deployments, every check writes it, and a server takes longer to save a
longer document. So are those of an outbox in which very many messages wait.

Reading never writes, so a digest and the command line may read without the lock. A document that cannot be read is
reported by every reader, and set aside by the next check that saves; it is never overwritten.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import chain, islice, takewhile
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from monitoring.adapters.prefect.store.documents import BROKEN, SLUG, Documents, aside
from monitoring.adapters.prefect.store.recovery import find_lost, recover
from monitoring.config.general_settings import State as Settings
from monitoring.errors import StateError
from monitoring.model.coverage import Coverage, Query
from monitoring.model.finding import identity_in
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.outbox import Outbox
from monitoring.model.request import Request, Silences
from monitoring.model.saved_state import PublishedArtifact, SavedState

T = TypeVar("T")

#: Prefixes of the names of documents of which there are several.
CLOSED, REQUEST = "closed-", "request-"

#: Bytes of unpacked data: seven times the ledger of 5,000 deployments.
_MAX_UNPACKED = 64 * 1024 * 1024

#: Characters of a document's body above which an outbox is packed: while each of thousands of messages is sent, the
#: outbox is saved twice, and a server takes 2 s for 2.5 MB. Packed, 2,000 messages are 66 kB in place of 3.3 MB.
MAX_PLAIN_OUTBOX = 250_000

#: Migrates a document's data from one schema to the next: ``(document's name, data) -> data``.
Migration = Callable[[str, Any], Any]


def pack(data: Any) -> str:
    """Compress JSON data to text: less than half the length, for a ledger."""
    return b64encode(zlib.compress(to_json(data, exclude_none=True))).decode()


def unpack(text: Any) -> Any:
    """Restore packed data.

    Raises:
        ValueError: The text is not from ``pack``.
    """
    try:
        decoder = zlib.decompressobj()
        data = decoder.decompress(b64decode(text, validate=True), _MAX_UNPACKED)
        if not decoder.eof:
            raise ValueError("it is incomplete, or larger than any of ours")
        return from_json(data)
    except (zlib.error, TypeError, ValueError):
        raise ValueError("it cannot be unpacked") from None


def packed_ledger(name: str, data: Any) -> Any:
    """Return a document's data as they are written since schema 2: the ledger packed, others unchanged."""
    return pack(data) if name == "ledger" else data


def numbered_incidents(name: str, data: Any) -> Any:
    """Return a document's data as they are written since schema 3: open incidents with their numbers.

    Incidents that were open before had no notifications: they are preexisting.
    """
    if name == "incidents":
        numbered = {
            key: {**incident, "number": number, "fired_at": incident["opened_at"], "known_before": True}
            for number, (key, incident) in enumerate(data.items(), start=1)
        }
        began = min((incident["opened_at"] for incident in data.values()), default=None)
        return {"open": numbered, "next_number": len(numbered) + 1, "began_at": began, "settled_at": began}
    if name.startswith(CLOSED):
        return [{**incident, "fired_at": incident["opened_at"]} for incident in data]
    return data


def plain_names(name: str, data: Any) -> Any:
    """Return a document's data as they are written since schema 4: fields named as in the docs, suppression reasons."""
    if name == "incidents":
        incidents = {key: _renamed(incident, _INCIDENT_FIELDS) for key, incident in data.get("open", {}).items()}
        return {**_renamed(data, _INCIDENT_FIELDS), "open": incidents}
    if name.startswith(CLOSED):
        return [_renamed(incident, _INCIDENT_FIELDS) for incident in data]
    if name == "outbox":
        suppressed = {number: {"reason": "other", "note": text} for number, text in data.get("held", {}).items()}
        queue = [_renamed_delivery(delivery) for delivery in data.get("queue", ())]
        return {**_renamed(data, _OUTBOX_FIELDS), "suppressed": suppressed, "queue": queue}
    return data


def with_target_id(name: str, data: Any) -> Any:
    """Return a document's data as they are written since schema 5: the id of the server with the open incidents.

    Before, fingerprints began with ``target.name``. That name is the id from now on: fingerprints, which others may
    have kept, stay as they are, and later names change nothing.
    """
    if name == "incidents":
        newest = max(data.get("open", {}).items(), key=lambda item: item[1]["opened_at"], default=None)
        return data if newest is None else {**data, "target_id": identity_in(newest[0])}
    return data


def _renamed_delivery(delivery: Any) -> Any:
    renamed = _renamed(delivery, _DELIVERY_FIELDS)
    content = renamed.get("content")
    if content is None:
        return renamed
    incidents = [_renamed(incident, _INCIDENT_FIELDS) for incident in content["incidents"]]
    about = "preexisting" if content["about"] == "known-before" else content["about"]
    return {**renamed, "content": {**content, "incidents": incidents, "about": about}}


def _renamed(data: Any, names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(field, field): value for field, value in data.items()}


#: Names of fields before schema 4, and since.
_INCIDENT_FIELDS = {"known_before": "preexisting", "freed_at": "uninhibited_at", "settled_at": "baselined_at"}
_OUTBOX_FIELDS = {
    "held": "suppressed",
    "notices": "notifications",
    "next_notice": "next_notification",
    "told_until": "events_until",
}
_DELIVERY_FIELDS = {"notice": "notification", "doubtful": "outcome_unknown", "refused": "rejected"}

#: In order: the first migrates schema 1 to 2. The written schema is the number of migrations plus one.
MIGRATIONS: tuple[Migration, ...] = (packed_ledger, numbered_incidents, plain_names, with_target_id)

#: Validates the ledger's data.
LEDGER: TypeAdapter[Ledger] = TypeAdapter(Annotated[Ledger, BeforeValidator(unpack)])
INCIDENTS = TypeAdapter(Incidents)
SILENCES = TypeAdapter(Silences)
OUTBOX = TypeAdapter(Annotated[Outbox, BeforeValidator(lambda data: unpack(data) if isinstance(data, str) else data)])
_REQUESTS = TypeAdapter(tuple[Request, ...])
_ARTIFACTS = TypeAdapter(dict[str, PublishedArtifact])
_CLOSED = TypeAdapter(tuple[Incident, ...])

#: How far ahead of our clock a cursor may be, after a clock was set back: runs that end until then are not read.
_MAX_AHEAD = timedelta(days=1)
#: ``load`` does not read months of closed incidents that are older than this.
RECENT = timedelta(days=7)
_OLDEST_MONTHS = 12


class UnreadableError(ValueError):
    """A document's body was not written by this or an earlier version."""


def decode(name: str, body: str, adapter: TypeAdapter[T], migrations: tuple[Migration, ...] = MIGRATIONS) -> T:
    """Read the body of the document with that name.

    Raises:
        UnreadableError: The body is broken.
        StateError: A newer watchdog wrote it.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableError("no JSON") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if type(schema) is not int or schema < 1 or "data" not in document:
        raise UnreadableError("not a document of the watchdog's")
    if schema > len(migrations) + 1:
        raise StateError(
            f"{SLUG}/{name} was written by a newer watchdog (schema {schema}, this one knows {len(migrations) + 1}): "
            "upgrade this one"
        )
    try:
        data = document["data"]
        for migrate in migrations[schema - 1 :]:
            data = migrate(name, data)
        return adapter.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UnreadableError(f"{place}: {first['msg']}" if place else first["msg"]) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        # The data of a migration were not written by any version.
        raise UnreadableError(f"cannot be migrated ({type(error).__name__})") from None


def encode(data: Any, migrations: tuple[Migration, ...] = MIGRATIONS) -> str:
    """Return a document's body."""
    return to_json({"schema": len(migrations) + 1, "data": data}, exclude_none=True).decode()


def month(time: datetime) -> str:
    """Return the name of the document for incidents that were resolved at that time."""
    return f"{CLOSED}{time.astimezone(timezone.utc):%Y-%m}"


def _months(newest: datetime) -> Iterator[str]:
    """Yield the names of a month and of those before it."""
    time = newest.astimezone(timezone.utc)
    while True:
        yield month(time)
        time = time.replace(day=1) - timedelta(days=1)


def expired_months(now: datetime, keep: timedelta) -> list[str]:
    """Return the newest twelve documents whose incidents were all resolved longer ago than ``keep``."""
    return list(islice(_months(now - keep), 1, 1 + _OLDEST_MONTHS))


def kept_months(now: datetime, keep: timedelta) -> list[str]:
    """Return the documents with the incidents that were resolved within ``keep``, newest first."""
    oldest = month(now - keep)
    return list(takewhile(lambda name: name >= oldest, _months(now)))


def newest_first(incidents: Iterable[Incident]) -> tuple[Incident, ...]:
    """Order closed incidents, each of them once.

    If a check dies before it removes an incident from the open ones, or if the incident came back, the next check
    closes it again; the newest version counts.
    """
    newest: dict[tuple[str, datetime], Incident] = {}
    for incident in incidents:
        key = (incident.finding.fingerprint, incident.opened_at)
        if key not in newest or _closed_at(newest[key]) <= _closed_at(incident):
            newest[key] = incident
    return tuple(
        sorted(newest.values(), key=lambda closed: (_closed_at(closed), closed.finding.fingerprint), reverse=True)
    )


def _closed_at(incident: Incident) -> datetime:
    return incident.resolved_at or incident.opened_at


@dataclass
class BlockState:
    """The saved state of one check, as ``ports.State``."""

    documents: Documents
    #: How long closed incidents are kept.
    settings: Settings
    now: datetime
    #: Called before each write; raises ``LockLost`` if another check has the lock.
    confirm: Callable[[], None] = lambda: None
    _broken: set[str] = field(default_factory=set, init=False)
    _expired: list[str] = field(default_factory=list, init=False)

    def load(self) -> tuple[SavedState, Coverage]:
        """Read everything in one request; closed incidents at least of the last ``RECENT``.

        Raises:
            StateError: A newer watchdog wrote it.
        """
        recent = kept_months(self.now, RECENT)
        expired = [name for name in expired_months(self.now, self.settings.keep_incidents) if name not in recent]
        single = ["ledger", "incidents", "silences", "outbox", "artifacts"]
        bodies = self.documents.read_all([*single, *recent, *expired], prefix=REQUEST)
        self._expired = [name for name in expired if name in bodies]
        self._broken.clear()
        queries: list[Query] = []

        def read(name: str, adapter: TypeAdapter[T], empty: T) -> T:
            if name not in bodies:
                return empty
            try:
                found = decode(name, bodies[name], adapter)
                if isinstance(found, Ledger) and found.cursor and found.cursor > self.now + _MAX_AHEAD:
                    raise UnreadableError(f"cursor: {found.cursor:%Y-%m-%d %H:%M} UTC is in the future")
                return found
            except UnreadableError as problem:
                self._broken.add(name)
                detail = f"{SLUG}/{name} cannot be read ({problem}): set aside as {SLUG}/{aside(name, bodies[name])}"
                queries.append(Query(name=f"state-{name}", outcome="partial", detail=detail))
                return empty

        incidents = read("incidents", INCIDENTS, Incidents())
        closed = newest_first(incident for name in recent for incident in read(name, _CLOSED, ()))
        outbox = read("outbox", OUTBOX, Outbox())
        ledger = read("ledger", LEDGER, Ledger())
        unread = self._broken.union({"incidents", "outbox"}.difference(bodies))
        incidents, outbox = recover(incidents, outbox, closed, find_lost(unread, incidents, ledger), self.now)
        # Requests that were set aside have the same prefix.
        names = sorted(name for name in bodies if name.startswith(REQUEST) and BROKEN not in name)
        requests = [request for name in names for request in read(name, _REQUESTS, ())]
        # A reopened incident is open, though the month of its closing still lists it.
        again = {incident.number for incident in incidents.open.values() if incident.number}
        state = SavedState(
            ledger=ledger,
            incidents=incidents,
            silences=read("silences", SILENCES, Silences()),
            outbox=outbox,
            requests=tuple(requests),
            artifacts=read("artifacts", _ARTIFACTS, {}),
            closed=tuple(incident for incident in closed if incident.number not in again),
        )
        return state, Coverage(queries=tuple(queries) or (Query(name="state", outcome="complete"),))

    def all_closed(self) -> tuple[Incident, ...]:
        """Read every closed incident that is kept, newest first; unreadable months are left out."""
        bodies = self.documents.read_all(kept_months(self.now, self.settings.keep_incidents))
        months: list[tuple[Incident, ...]] = []
        for name, body in bodies.items():
            with suppress(UnreadableError):
                months.append(decode(name, body, _CLOSED))
        return newest_first(chain(*months))

    def names_set_aside(self) -> tuple[str, ...]:
        """Name the documents that could not be read and were set aside, as people see them in the Prefect UI."""
        return tuple(f"{SLUG}/{name}" for name in self.documents.names() if BROKEN in name)

    def save(self, before: SavedState, after: SavedState) -> None:
        """Write the documents that differ, and delete the closed months that have expired.

        Raises:
            StateError: A newer watchdog wrote a document that would be changed.
        """
        for name in sorted(self._broken):
            self.confirm()
            self.documents.set_aside(name)
        # The check may die between any two writes. What follows from something else is written before it, so that the
        # next check repeats the rest: an incident is filed as closed before it leaves the open ones, and both before
        # the ledger, whose cursor tells which ended runs need not be read again.
        # The outbox follows from the incidents, and action requests are deleted after everything else.
        self._file(before.closed, after.closed)
        self._write("silences", before.silences, after.silences)
        self._write("incidents", before.incidents, after.incidents)
        self._write("outbox", before.outbox, after.outbox)
        self._write("artifacts", dict(before.artifacts), dict(after.artifacts))
        self._write("ledger", before.ledger, after.ledger)
        left = {request.name for request in after.requests}
        for name in sorted({request.name for request in before.requests} - left):
            self.confirm()
            self.documents.delete(name)
        self._broken.clear()
        while self._expired:
            self.confirm()
            self.documents.delete(self._expired[-1])
            self._expired.pop()

    def _write(self, name: str, before: object, after: object) -> None:
        if before != after:
            self.confirm()
            body = encode(packed_ledger(name, after))
            if name == "outbox" and len(body) > MAX_PLAIN_OUTBOX:
                body = encode(pack(after))
            self.documents.write(name, body)

    def _file(self, before: Iterable[Incident], after: Iterable[Incident]) -> None:
        """Add new closed incidents to their months; a month need not have been read before."""
        known = set(before)
        new: dict[str, list[Incident]] = {}
        for incident in after:
            if incident not in known:
                new.setdefault(month(_closed_at(incident)), []).append(incident)
        for name, incidents in new.items():
            body = self.documents.read(name)
            try:
                filed = () if body is None else decode(name, body, _CLOSED)
            except UnreadableError:
                self.confirm()
                self.documents.set_aside(name)
                filed = ()
            self.confirm()
            self.documents.write(name, encode(newest_first([*filed, *incidents])))
