"""Text kept on the Prefect server: Block documents of one type, each with a name and a body.

Everything goes through ``Api``, including the registration: a Block class registers and saves itself with a client of
its own, which may use another server, other timeouts and other retries than ours. The schema is what Prefect derives
from a Block class with a single field ``body: str``; it contains no version of ours, so that a newer watchdog and an
older one read each other's documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.client.paging import read_pages
from monitoring.errors import BadAnswer
from monitoring.model.base import Value
from monitoring.model.policy import ApiSettings
from monitoring.model.target import Target

#: The block type's name in addresses, as in ``watchdog-document/ledger``.
SLUG = "watchdog-document"
#: The document of the configuration that ``watchdog config push`` keeps on the server.
PUSHED_DOCUMENT = "config"
#: Part of the name of a document that was set aside, before a digest of its body.
BROKEN = "-broken-"

_TRIES = 5
_OURS = {"block_types": {"slug": {"any_": [SLUG]}}}
_TYPE = {
    # Names that begin with "Prefect" are Prefect's own: 403 (prefect/server/api/block_types.py).
    "name": "Watchdog document",
    "slug": SLUG,
    "description": "What the Prefect Watchdog remembers or is configured with. Deleting one forgets what is in it.",
}
_FIELDS = {
    "title": "WatchdogDocument",
    "type": "object",
    "properties": {"body": {"title": "Body", "type": "string", "description": "The document."}},
    "required": ["body"],
    "block_type_slug": SLUG,
    "block_schema_references": {},
    "secret_fields": [],
}


class _Row(Value):
    id: str
    name: str
    data: Mapping[str, Any]

    @property
    def body(self) -> str:
        """The body; empty if somebody has removed it, as no document of ours is empty."""
        body = self.data.get("body")
        return body if isinstance(body, str) else ""


@dataclass
class Documents:
    """The documents of one server. Names are lower case letters, digits and dashes.

    Reading changes nothing on the server. Every method raises ``ServerProblem`` if the server cannot be used.
    """

    api: Api
    _ids: dict[str, str] = field(default_factory=dict, init=False)

    def read(self, name: str) -> str | None:
        """Return a document's body, None if there is no such document."""
        return self.read_all([name]).get(name)

    def read_all(self, names: Iterable[str], prefix: str | None = None) -> dict[str, str]:
        """Return the bodies of the named documents that exist, in one request: by default at most 200.

        With a prefix, a second request reads a page of documents whose names start with it.
        """
        rows = self._rows(names)
        if prefix is not None:
            like = self._filter({"block_documents": {"name": {"like_": prefix}}})
            more = [row for row in like if row.name.startswith(prefix)]
            self._ids |= {row.name: row.id for row in more}
            rows += more
        return {row.name: row.body for row in rows}

    def names(self) -> list[str]:
        """Return the names of all documents, sorted. The server sends the bodies, too: not for every check."""
        pages = read_pages(self.api, "/block_documents/filter", _OURS, page_size=None)
        return sorted(row["name"] for page in pages for row in page)

    def write(self, name: str, body: str) -> None:
        """Write a document's body; create the document if there is none."""
        for _ in range(_TRIES):
            # Somebody may create or delete it in between. And while the very first documents are created, PostgreSQL
            # answers 409 for some that nobody else has created.
            if self._update(name, {"body": body}) or self._create(name, {"body": body}):
                return
        raise self._refused(name)

    def delete(self, name: str) -> None:
        """Delete a document; if it does not exist, that is fine."""
        document_id = self._id(name)
        if document_id is not None:
            self._ids.pop(name)
            self.api.delete(f"/block_documents/{document_id}")

    def set_aside(self, name: str) -> str | None:
        """Move a document to another name, and return that name; None if there is no such document.

        A Block document cannot be renamed, so it is copied and then deleted. The new name depends only on the name and
        the body (see ``aside``): if the process dies in between, the next attempt makes no second copy.
        """
        for row in self._rows([name]):
            new = aside(name, row.body)
            if not self._create(new, row.data) and self._id(new) is None:
                raise self._refused(new)
            self.delete(name)
            return new
        return None

    def _update(self, name: str, data: Mapping[str, Any]) -> bool:
        document_id = self._id(name)
        if document_id is None:
            return False
        # Without a schema in the body, the document keeps the schema that it was created with.
        if self.api.accepts("PATCH", f"/block_documents/{document_id}", unless=404, json={"data": data}):
            return True
        self._ids.pop(name)
        return False

    def _create(self, name: str, data: Mapping[str, Any]) -> bool:
        type_id = self._type_id()
        schema = self.api.post("/block_schemas/", {"block_type_id": type_id, "fields": _FIELDS})
        document = {"name": name, "data": data, "block_type_id": type_id, "block_schema_id": schema["id"]}
        return self.api.accepts("POST", "/block_documents/", unless=409, json=document)

    def _refused(self, name: str) -> BadAnswer:
        return BadAnswer(
            f"{self.api.url} does not take {SLUG}/{name}, and it is not there: look at the server's log", 409
        )

    def _type_id(self) -> Any:
        self.api.accepts("POST", "/block_types/", unless=409, json=_TYPE)
        return self.api.get(f"/block_types/slug/{SLUG}")["id"]

    def _id(self, name: str) -> str | None:
        if name not in self._ids:
            self._rows([name])
        return self._ids.get(name)

    def _rows(self, names: Iterable[str]) -> list[_Row]:
        wanted = list(names)
        for name in wanted:
            self._ids.pop(name, None)
        # A server that returns fewer rows must reject this: a missing row would look like a missing document.
        rows = self._filter({"block_documents": {"name": {"any_": wanted}}, "limit": len(wanted)})
        self._ids |= {row.name: row.id for row in rows}
        return rows

    def _filter(self, body: dict[str, Any]) -> list[_Row]:
        return self.api.query("/block_documents/filter", {**_OURS, **body}, list[_Row])


def read_pushed(target: Target) -> str | None:
    """Read the configuration that was pushed to a server; None where there is none.

    The server is read with the default settings: which others hold is not known before the configuration is.

    Raises:
        ConfigError: The server's address cannot be used.
        ServerProblem: The server cannot be used. So too CredentialsRefused.
    """
    with open_api(ApiSettings(), target) as api:
        return Documents(api).read(PUSHED_DOCUMENT)


def aside(name: str, body: str) -> str:
    """Return the name to which a document with this body is moved when it is set aside."""
    return f"{name}{BROKEN}{hashlib.sha256(body.encode()).hexdigest()[:10]}"
