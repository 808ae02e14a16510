"""Bounds on what one request may cost, whatever the server answers: memory for the answer, and time as a whole.

httpx has a timeout for each read, so an answer of a byte a second never ends, and it inflates a compressed answer in
one go. Both bounds use httpx's event hooks, so that Prefect's client keeps its proxies, certificates and retries to
connect, which a transport of our own would replace.
"""

from __future__ import annotations

import socket
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import httpx

from monitoring.errors import TooLarge

#: Bytes that an answer may hold, decoded.
MAX_ANSWER = 32 * 1024 * 1024
#: The only compression that we accept, since we decode it ourselves.
ENCODING = "gzip"

_PIECE = 64 * 1024
#: Events of httpcore that have a new connection as their value.
_CONNECTED = ("connect_tcp.complete", "connect_unix_socket.complete", "start_tls.complete")


def bound_body(response: httpx.Response) -> None:
    """Make the reading of a response raise ``TooLarge`` beyond ``MAX_ANSWER``: a response hook of httpx.

    Args:
        response: A response whose body has not been read.
    """
    encoding = response.headers.pop("Content-Encoding", "identity").lower()
    if encoding not in (ENCODING, "identity"):
        raise httpx.DecodingError(f"unknown Content-Encoding {encoding!r}", request=response.request)
    body = response.stream
    assert isinstance(body, httpx.SyncByteStream)
    response.stream = _BoundedBody(body, compressed=encoding == ENCODING)


class _BoundedBody(httpx.SyncByteStream):
    def __init__(self, body: httpx.SyncByteStream, *, compressed: bool) -> None:
        self._body = body
        self._compressed = compressed

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in _inflated(self._body) if self._compressed else self._body:
            size += len(piece)
            if size > MAX_ANSWER:
                raise TooLarge(f"the answer is larger than {MAX_ANSWER // 1024 // 1024} MiB")
            yield piece

    def close(self) -> None:
        self._body.close()


def _inflated(body: httpx.SyncByteStream) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        for chunk in body:
            rest = chunk
            while rest:
                yield decoder.decompress(rest, _PIECE)
                rest = decoder.unconsumed_tail
        yield decoder.flush()
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from None
    if not decoder.eof:
        raise httpx.DecodingError("the compressed answer is incomplete")


class Connections:
    """The connections of a client: they are cut when a request takes too long, whatever it waits for."""

    def __init__(self) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._timer = threading.Timer(0, self._cut)
        self._seconds = self._deadline = 0.0
        self._was_cut = False

    def watch(self, request: httpx.Request) -> None:
        """Give a request its time, and learn of the connection that it opens: a request hook of httpx.

        Prefect's client may send a request of its own, for a CSRF token, before ours.
        """
        request.extensions = {**request.extensions, "trace": self._note}
        self._timer.cancel()
        self._timer = threading.Timer(min(self._seconds, self._deadline - time.monotonic()), self._cut)
        self._timer.daemon = True
        self._timer.start()

    @contextmanager
    def cut_after(self, seconds: float, deadline: float) -> Iterator[None]:
        """Cut every connection if a request in the body of the ``with`` takes too long.

        Args:
            seconds: For one request.
            deadline: By the monotonic clock, in seconds.

        Raises:
            httpx.ReadTimeout: The request under way was cut.
        """
        self._seconds, self._deadline, self._was_cut = seconds, deadline, False
        try:
            yield
        except httpx.TransportError as error:
            if not self._was_cut:
                raise
            raise httpx.ReadTimeout("no whole answer in time") from error
        finally:
            self._timer.cancel()

    def _note(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(_CONNECTED):
            self._sockets.add(info["return_value"].get_extra_info("socket"))

    def _cut(self) -> None:
        self._was_cut = True
        for connection in list(self._sockets):
            # Not SSLSocket's own shutdown, which takes the encryption from a read that is under way.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
