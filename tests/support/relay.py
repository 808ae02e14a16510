"""A relay in front of a real server: it writes down what passes, and answers in the server's place where told to."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

#: Answers in the server's place; None lets the request pass.
Answerer = Callable[["ApiRequest"], Response | None]
#: Sees what the server answered, before the client does.
Observer = Callable[["ApiRequest", httpx.Response], None]
_HOP_BY_HOP = {"connection", "content-encoding", "content-length", "date", "server", "transfer-encoding"}


@dataclass(frozen=True)
class ApiRequest:
    """One request: its path is the one below ``/api``, and its body is None where that is no JSON."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


@dataclass
class Relay:
    """What has passed, and what is done to it."""

    url: str
    requests: list[ApiRequest] = field(default_factory=list)
    #: Rows that the server gave, by path.
    rows: dict[str, int] = field(default_factory=dict)
    answer: Answerer = lambda request: None
    after: Observer = lambda request, answer: None
    #: Whether the connection is cut when the server has answered, so that nobody hears of it.
    cut: Callable[[ApiRequest], bool] = lambda request: False
    #: Stops listening once the present request is answered.
    die: Callable[[], None] = lambda: None

    def paths(self) -> list[str]:
        """The paths of the requests, in order."""
        return [request.path for request in self.requests]


@contextmanager
def relayed(server_url: str) -> Iterator[Relay]:
    """Put a relay in front of the server whose address, without ``/api``, is given."""
    with (
        HTTPServer(host="127.0.0.1") as http,
        httpx.Client(base_url=server_url, timeout=180, trust_env=False) as client,
    ):
        relay = Relay(http.url_for("/api"))

        def handle(request: Request) -> Response:
            content = request.get_data()
            body = json.loads(content) if content and request.is_json else None
            seen = ApiRequest(request.method, request.path.removeprefix("/api"), body, dict(request.headers))
            relay.requests.append(seen)
            answer = relay.answer(seen)
            if answer is not None:
                return answer
            headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
            passed = client.request(request.method, request.full_path.rstrip("?"), content=content, headers=headers)
            found = passed.json() if passed.headers.get("content-type") == "application/json" else None
            if isinstance(found, list):
                relay.rows[seen.path] = relay.rows.get(seen.path, 0) + len(found)
            relay.after(seen, passed)
            if relay.cut(seen):
                request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            kept = {name: value for name, value in passed.headers.items() if name.lower() not in _HOP_BY_HOP}
            return Response(passed.content, passed.status_code, kept)

        relay.die = lambda: threading.Thread(target=http.stop).start()
        http.expect_request(re.compile(".*")).respond_with_handler(handle)
        yield relay
