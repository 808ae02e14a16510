"""A proxy in front of a real server that misbehaves, byte by byte, on some paths."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

#: Writes anything at all to the client; gets the body of the request.
Fault = Callable[["Handler", bytes], None]

_HEADERS = {"connection", "content-encoding", "content-length", "date", "server", "transfer-encoding"}


class Handler(BaseHTTPRequestHandler):
    """Passes requests on, or leaves them to the fault of their path."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        """Answer a request of any method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            self._handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0].removeprefix("/api")
        self.server.paths.append(path)
        fault = self.server.faults.get(path) or self.server.faults.get("*")
        # A client that has read enough hangs up.
        with suppress(ConnectionError, TimeoutError):
            if fault:
                self.close_connection = True
                fault(self, body)
            else:
                self.pass_on(body)

    def pass_on(self, body: bytes) -> None:
        """Answer as the server does."""
        answer = self.passed(body)
        self.answer(answer.content, answer.status_code, dict(answer.headers))

    def passed(self, body: bytes) -> httpx.Response:
        """What the server answers."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        return self.server.client.request(self.command, self.path, content=body, headers=headers)

    def answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Write a well-formed answer."""
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            if name.lower() not in _HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.wfile.write(data)

    def wait(self, seconds: float) -> None:
        """Wait, but not beyond the end of the test."""
        if self.server.over.wait(seconds):
            raise TimeoutError

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, target: str, faults: dict[str, Fault]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.client = httpx.Client(base_url=target, timeout=180, trust_env=False)
        self.faults = faults
        self.paths: list[str] = []
        self.over = threading.Event()


@contextmanager
def misbehaving(target: str, faults: dict[str, Fault]) -> Iterator[tuple[str, list[str]]]:
    """Put the proxy in front of a server.

    Args:
        target: The server's address, without ``/api``.
        faults: What it does on some paths below ``/api``; ``*`` is every other path.

    Yields:
        The address of the API behind the proxy, and the paths that are requested, in order.
    """
    server = _Server(target, faults)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api", server.paths
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
        server.client.close()
