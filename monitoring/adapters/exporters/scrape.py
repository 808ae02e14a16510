"""Answers Prometheus' scrapes from memory: ``/metrics``, and ``/-/healthy`` and ``/-/ready`` for its operators.

The answer is rendered when the metrics change, so a scrape only sends it, and ``answers_first`` keeps rendering from
delaying scrapes. The server of prometheus_client renders at every scrape: with 1,000 deployments and 10 scrapers, that
takes seconds. It also limits neither the time nor the number of connections.
"""

from __future__ import annotations

import gc
import gzip
import re
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, NamedTuple

from monitoring.errors import ConfigError
from monitoring.metrics.catalog import METRICS
from monitoring.metrics.openmetrics import OPENMETRICS_TYPE, TEXT_TYPE, openmetrics, text
from monitoring.metrics.snapshot import Metric, Snapshot

#: Seconds until a request must have arrived; then the server hangs up. Enough for a slow network, and short for clients
#: that send nothing.
REQUEST_TIMEOUT = 2.0
#: Seconds from then until the answer must have been read: Prometheus' default timeout.
ANSWER_TIMEOUT = 10.0
#: Connections at a time: more than the number of scrapers, and few enough for threads and open files. A new one takes
#: the place of the oldest that has sent no request yet.
MAX_CONNECTIONS = 100
#: Connections at a time from one address, for the same reasons.
MAX_PER_ADDRESS = 50
#: Seconds after which a computing thread yields to others. An answer needs many turns; with Python's default of 5 ms,
#: they add up to a tenth of a second.
TURN = 0.0005

_EMPTY = Snapshot(target="", at=datetime.fromtimestamp(0, timezone.utc))
_PLAIN = "text/plain; charset=utf-8"
_NOT_ACCEPTED = re.compile(r"q=0(\.0*)?")


def answers_first() -> None:
    """Keep other work from delaying answers, in a process that only serves metrics and has imported everything."""
    # Rendering triggers garbage collection, which takes a tenth of a second if it includes all imports.
    gc.freeze()
    sys.setswitchinterval(TURN)


@dataclass(frozen=True)
class _Page:
    """The answer of ``/metrics``."""

    #: By format (whether OpenMetrics) and whether compressed.
    bodies: Mapping[tuple[bool, bool], bytes]
    #: Why it is not ready; empty if it is.
    missing: str


class ScrapeServer:
    """A web server with one page of metrics, which may be changed at any time.

    It listens at ``host:port``; with port 0, at a free port.
    """

    def __init__(self, listen: str, definitions: Iterable[Metric] = METRICS, setting: str = "metrics.listen") -> None:
        self.listen = listen
        #: What an error names.
        self._setting = setting
        self._definitions = tuple(definitions)
        self._shown = (_EMPTY, "no metrics yet")
        self._page = _rendered(_EMPTY, self._definitions, "no metrics yet")
        self._server: _Server | None = None

    def show(self, snapshot: Snapshot, missing: str = "") -> None:
        """Render a snapshot if it is new, and answer with it; ``missing`` is why the server is not ready."""
        if (snapshot, missing) == self._shown:
            return
        self._shown = (snapshot, missing)
        self._page = _rendered(snapshot, self._definitions, missing)
        if self._server:
            # At once: a request in progress keeps its page.
            self._server.page = self._page

    def start(self) -> str:
        """Serve from now on, in threads of our own.

        Returns:
            The address of the metrics.

        Raises:
            ConfigError: The address cannot be used.
        """
        try:
            server = _Server(*_resolved(self.listen))
        except (OSError, UnicodeError) as error:
            # An invalid host name raises UnicodeError.
            reason = (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
            raise ConfigError(
                f"{self._setting}: {self.listen}: {reason}; expected an address of this machine and a free port "
                "on which it may listen"
            ) from None
        server.page = self._page
        threading.Thread(target=server.serve_forever, name="scrape server", daemon=True).start()
        self._server = server
        host, port = str(server.server_address[0]), server.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"

    def stop(self) -> None:
        """Stop serving. Unfinished answers are cut off when the process ends."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _rendered(snapshot: Snapshot, definitions: Iterable[Metric], missing: str) -> _Page:
    plain = {(True, False): openmetrics(snapshot, definitions), (False, False): text(snapshot, definitions)}
    packed = {(form, True): gzip.compress(body, compresslevel=6) for (form, _), body in plain.items()}
    return _Page({**plain, **packed}, missing)


def _resolved(listen: str) -> tuple[int, Any]:
    host, _, port = listen.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return family, address


class _Connection(NamedTuple):
    address: str
    #: By the monotonic clock, in seconds.
    deadline: float
    #: Whether the request has arrived.
    arrived: bool = False


class _Server(ThreadingTCPServer):
    # Not http.server's own server, which looks up this host's name in the DNS; that may take long.
    allow_reuse_address = True
    daemon_threads = True
    # Five by default: with ten scrapers at the same time, some would have to try again a second later.
    request_queue_size = 128

    page: _Page

    def __init__(self, family: int, address: Any) -> None:
        self.address_family = family
        #: Oldest first.
        self._connections: dict[socket.socket, _Connection] = {}
        super().__init__(address, _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        address = client_address[0]
        if not (self._has_room(MAX_CONNECTIONS) and self._has_room(MAX_PER_ADDRESS, address)):
            return False
        self._connections[request] = _Connection(address, time.monotonic() + REQUEST_TIMEOUT)
        return True

    def _has_room(self, most: int, address: str | None = None) -> bool:
        """Whether another connection may be served; the oldest whose request has not arrived makes room for it."""
        known = list(self._connections.items())
        rivals = [(request, rival) for request, rival in known if address in (None, rival.address)]
        if len(rivals) < most:
            return True
        silent = next((request for request, rival in rivals if not rival.arrived), None)
        if silent is None:
            return False
        self._hang_up(silent)
        return True

    def extend(self, request: socket.socket) -> None:
        """Give a request that has arrived the time for its answer."""
        if known := self._connections.get(request):
            self._connections[request] = _Connection(known.address, time.monotonic() + ANSWER_TIMEOUT, arrived=True)

    def service_actions(self) -> None:
        """Hang up on connections past their deadline; called every half second and after each new connection."""
        now = time.monotonic()
        for request, connection in list(self._connections.items()):
            if connection.deadline < now:
                self._hang_up(request)

    def _hang_up(self, request: socket.socket) -> None:
        self._connections.pop(request, None)
        # This wakes the thread that waits for the client, and the thread closes the connection, if it still is open.
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Closed connections are no fault of ours.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    # Head and body are sent one after the other; the second must not wait until the first is acknowledged.
    disable_nagle_algorithm = True
    server_version = "PrefectWatchdog"
    sys_version = ""

    def do_GET(self) -> None:
        self.server.extend(self.connection)
        page = self.server.page
        path = self.path.partition("?")[0]
        if path == "/metrics":
            form = _accepts(self.headers.get("Accept", ""), "application/openmetrics-text")
            packed = _accepts(self.headers.get("Accept-Encoding", ""), "gzip")
            headers = {"Content-Type": OPENMETRICS_TYPE if form else TEXT_TYPE, "Vary": "Accept, Accept-Encoding"}
            if packed:
                headers["Content-Encoding"] = "gzip"
            self._answer(HTTPStatus.OK, page.bodies[form, packed], headers)
        elif path == "/-/healthy":
            self._answer_line(HTTPStatus.OK, "healthy")
        elif path == "/-/ready":
            self._answer_line(
                HTTPStatus.SERVICE_UNAVAILABLE if page.missing else HTTPStatus.OK, page.missing or "ready"
            )
        else:
            self._answer_line(HTTPStatus.NOT_FOUND, "not found; available: /metrics, /-/healthy and /-/ready")

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: scrapers come every few seconds."""

    def _answer_line(self, status: HTTPStatus, line: str) -> None:
        self._answer(status, f"{line}\n".encode(), {"Content-Type": _PLAIN})

    def _answer(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _accepts(header: str, name: str) -> bool:
    """Whether a list such as ``Accept`` contains a name, and not with quality 0."""
    for part in header.split(","):
        token, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if token == name:
            return not any(_NOT_ACCEPTED.fullmatch(parameter) for parameter in parameters)
    return False
