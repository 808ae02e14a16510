"""Faults of a server's answers: how each is played, and what a check has to make of it."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from functools import cache, partial
from time import time
from typing import Any, Literal

from tests.server.faults.proxy import Fault, Handler

RUNS = "/flow_runs/filter"
POOLS = "/work_pools/filter"

#: What a check makes of it. It sees all the same; what it did not see is unknown; the server cannot be used, which is
#: critical; the key is refused, and nothing is judged.
Outcome = Literal["seen", "unknown", "unusable", "denied"]


@dataclass(frozen=True)
class PlayedFault:
    """A fault, played by a new instance for each check."""

    name: str
    make: Callable[[], Fault]
    outcome: Outcome
    #: Below ``/api``; ``*`` is all paths.
    path: str = POOLS
    #: Seconds that a check may read it in a test; ``server.deadline`` by default.
    deadline: int = 60
    #: What the check finds of the server, which has one failed run.
    found: tuple[str, ...] = ("failed",)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


# --- connections -------------------------------------------------------------------------------------


def reset(handler: Handler, _: bytes) -> None:
    """Close the connection with a reset."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def hang_up(handler: Handler, _: bytes) -> None:
    """Close the connection without an answer."""


def truncate(handler: Handler, _: bytes) -> None:
    """Promise more bytes than are sent."""
    handler.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n[{"id": "')


def stop_after_headers(handler: Handler, _: bytes) -> None:
    """Send headers, and hang up."""
    handler.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n")


def hang(handler: Handler, _: bytes) -> None:
    """Never answer."""
    handler.wait(600)


def drip_body(handler: Handler, _: bytes) -> None:
    """Send a body of one byte a second."""
    handler.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        handler.write(b" ")
        handler.wait(1)


def drip_headers(handler: Handler, _: bytes) -> None:
    """Send a header of one byte a second."""
    handler.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        handler.write(b"x")
        handler.wait(1)


def continue_for_ever(handler: Handler, _: bytes) -> None:
    """Announce an answer that never comes."""
    while True:
        handler.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        handler.wait(0.2)


def late(handler: Handler, body: bytes) -> None:
    """Answer after eight seconds."""
    handler.wait(8)
    handler.pass_on(body)


# --- statuses ----------------------------------------------------------------------------------------


def status(number: int, body: bytes = b'{"detail": "no"}', **headers: str) -> Fault:
    """Answer with a status."""
    named = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return lambda handler, _: handler.answer(body, number, named)


def at_first(times: int, fault: Fault) -> Fault:
    """Misbehave so often, and then no more."""
    left = iter(range(times))
    return lambda handler, body: fault(handler, body) if next(left, None) is not None else handler.pass_on(body)


def later(times: int, fault: Fault) -> Fault:
    """Misbehave after so many requests."""
    left = iter(range(times))
    return lambda handler, body: handler.pass_on(body) if next(left, None) is not None else fault(handler, body)


def busy_in_turns(handler: Handler, body: bytes, turns: Iterator[int]) -> None:
    """Be busy for every other request."""
    if next(turns) % 2:
        handler.pass_on(body)
    else:
        handler.answer(b"busy", 503)


# --- bodies ------------------------------------------------------------------------------------------


def body(data: bytes, **headers: str) -> Fault:
    """Answer with a body and status 200."""
    return status(200, data, **headers)


def rows(change: Callable[[dict[str, Any]], Any]) -> Fault:
    """Answer with the server's rows, changed."""

    def answer(handler: Handler, sent: bytes) -> None:
        handler.answer(json.dumps([change(row) for row in handler.passed(sent).json()]).encode())

    return answer


def without(*names: str) -> Fault:
    """Leave fields out."""
    return rows(lambda row: {name: value for name, value in row.items() if name not in names})


def with_(**fields: Any) -> Fault:
    """Change or add fields."""
    return rows(lambda row: {**row, **fields})


def twice(handler: Handler, sent: bytes) -> None:
    """Answer with each row twice."""
    found = handler.passed(sent).json()
    handler.answer(json.dumps([*found, *found]).encode())


def same_page(handler: Handler, sent: bytes) -> None:
    """Answer with the same full page at every offset."""
    limit = json.loads(sent).get("limit") or 200
    handler.answer(json.dumps([{"id": str(number)} for number in range(limit)]).encode())


def endless_list(handler: Handler, sent: bytes) -> None:
    """Answer with another full page at every offset."""
    body = json.loads(sent)
    start = body.get("offset", 0)
    page = range(start, start + (body.get("limit") or 200))
    handler.answer(json.dumps([{"id": str(number)} for number in page]).encode())


@cache
def _inflating() -> bytes:
    compress = zlib.compressobj(level=1, wbits=31)
    block = b" " * (16 << 20)
    return b"".join([*(compress.compress(block) for _ in range(128)), compress.flush()])


def bomb(handler: Handler, sent: bytes) -> None:
    """Answer with a few megabytes that inflate to two gigabytes."""
    body(_inflating(), Content_Encoding="gzip")(handler, sent)


def endless_body(handler: Handler, _: bytes) -> None:
    """Send a body without an end, as fast as it is read."""
    handler.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    block = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while True:
        handler.write(block)


def bad_chunks(handler: Handler, _: bytes) -> None:
    """Send chunks whose length is none."""
    handler.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n"
    )


def not_http(handler: Handler, _: bytes) -> None:
    """Speak another protocol."""
    handler.write(b"SSH-2.0-OpenSSH_9.2\r\n")


def clock(seconds: int) -> Fault:
    """Answer with a clock that is so far ahead."""

    def answer(handler: Handler, sent: bytes) -> None:
        passed = handler.passed(sent)
        date = formatdate(time() + seconds, usegmt=True)
        handler.send_response_only(passed.status_code)
        handler.send_header("Date", date)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(passed.content)))
        handler.end_headers()
        handler.write(passed.content)

    return answer


def _faults() -> Iterator[PlayedFault]:
    def fault(name: str, played: Fault, outcome: Outcome, /, **fields: Any) -> PlayedFault:
        return PlayedFault(name, lambda: played, outcome, **fields)

    both: tuple[tuple[str, Outcome], ...] = ((POOLS, "unknown"), ("*", "unusable"))
    for path, outcome in both:
        of = "every request" if path == "*" else "one query"
        at: dict[str, Any] = {"path": path}
        yield fault(f"{of}: the connection is reset", reset, outcome, **at)
        yield fault(f"{of}: no answer, connection closed", hang_up, outcome, **at)
        yield fault(f"{of}: a body that is cut short", truncate, outcome, **at)
        yield fault(f"{of}: headers without the body", stop_after_headers, outcome, **at)
        yield fault(f"{of}: never an answer", hang, outcome, deadline=4, **at)
        yield fault(f"{of}: a body of a byte a second", drip_body, outcome, deadline=4, **at)
        yield fault(f"{of}: a header of a byte a second", drip_headers, outcome, deadline=4, **at)
        yield fault(f"{of}: 100 Continue for ever", continue_for_ever, outcome, deadline=4, **at)
        yield fault(f"{of}: another protocol", not_http, outcome, **at)
        for number in (408, 429, 500, 501, 502, 503, 504, 404, 405, 409, 418, 422):
            yield fault(f"{of}: status {number}", status(number), outcome, **at)
        yield fault(f"{of}: 429, Retry-After 3600", status(429, Retry_After="3600"), outcome, **at)
        yield fault(f"{of}: 503, maintenance", status(503, Prefect_Maintenance="true"), outcome, **at)
        yield fault(f"{of}: redirects without an end", status(302, Location="/api/ready"), outcome, **at)
        yield fault(f"{of}: HTML", body(b"<html>It works!</html>", Content_Type="text/html"), outcome, **at)
        yield fault(f"{of}: an empty body", body(b""), outcome, **at)
        yield fault(f"{of}: null", body(b"null"), outcome, **at)
        yield fault(f"{of}: an object", body(b'{"hello": "world"}'), outcome, **at)
        yield fault(f"{of}: a number of 5,000 digits", body(b"1" * 5_000), outcome, **at)
        yield fault(f"{of}: bytes that are no UTF-8", body(b'["\xff\xfe"]'), outcome, **at)
        yield fault(f"{of}: JSON nested 100,000 deep", body(b"[" * 100_000 + b"]" * 100_000), outcome, **at)
        yield fault(f"{of}: JSON cut short", body(b'[{"id": "1"'), outcome, **at)
        yield fault(f"{of}: gzip that is none", body(b"no gzip", Content_Encoding="gzip"), outcome, **at)
        cut = gzip.compress(b"[]" * 999)[:-9]
        yield fault(f"{of}: gzip cut short", body(cut, Content_Encoding="gzip"), outcome, **at)
        yield fault(f"{of}: an unknown encoding", body(b"x", Content_Encoding="br"), outcome, **at)
        yield fault(f"{of}: 2 MB that inflate to 2 GB", bomb, outcome, **at)
        yield fault(f"{of}: a body without an end", endless_body, outcome, **at)
        yield fault(f"{of}: an error of 100 MB", status(422, b"x" * (100 << 20)), outcome, **at)
        yield fault(f"{of}: chunks whose length is none", bad_chunks, outcome, **at)
        yield fault(f"{of}: a header of 1 MB", body(b"[]", X_Long="x" * (1 << 20)), outcome, **at)
    yield fault("every request: an answer after 8 s", late, "unknown", path="*")
    yield fault("every request: 401", status(401), "denied", path="*")
    yield fault("every request: 403", status(403), "denied", path="*")
    yield PlayedFault("401 after 8 requests", lambda: later(8, status(401)), "denied", "*")
    yield PlayedFault("503 twice, then well", lambda: at_first(2, status(503, Retry_After="0.1")), "seen")
    yield PlayedFault("500 twice, then well", lambda: at_first(2, status(500)), "seen")
    yield PlayedFault("429 once, Retry-After 1, then well", lambda: at_first(1, status(429, Retry_After="1")), "seen")
    yield PlayedFault("a reset, then well", lambda: at_first(1, reset), "seen")
    yield PlayedFault("503 after 8 requests", lambda: later(8, status(503)), "unknown", "*")
    yield PlayedFault("resets after 8 requests", lambda: later(8, reset), "unknown", "*")
    yield PlayedFault(
        "503 to every other request", lambda: partial(busy_in_turns, turns=itertools.count()), "unknown", "*"
    )
    yield fault("runs: unknown fields", with_(color="red", **{"x" * 500: 1}), "seen", path=RUNS)
    yield fault("runs: an unknown state type", with_(state_type="EXPLODED"), "unknown", path=RUNS)
    yield fault("runs: no id", without("id"), "unknown", path=RUNS)
    yield fault("runs: no state", without("state", "state_type"), "unknown", path=RUNS)
    yield fault("runs: a number as name", with_(name=17), "unknown", path=RUNS)
    yield fault("runs: a text as end", with_(end_time="yesterday"), "unknown", path=RUNS)
    yield fault("runs: the year 9999", with_(end_time="9999-12-31T23:59:59Z"), "unknown", path=RUNS)
    yield fault("runs: each row twice", twice, "seen", path=RUNS)
    yield fault("runs: rows that are lists", rows(lambda row: [row]), "unknown", path=RUNS)
    yield fault("runs: rows that are null", rows(lambda row: None), "unknown", path=RUNS)
    for path, of in ((POOLS, "pools"), (RUNS, "runs")):
        yield fault(f"{of}: the same page at every offset", same_page, "unknown", path=path, deadline=4)
        yield fault(f"{of}: a list without an end", endless_list, "unknown", path=path, deadline=4)
        yield fault(f"{of}: an empty list", body(b"[]"), "unknown", path=path)
    yield fault("deployments: an empty list", body(b"[]"), "unknown", path="/deployments/filter", found=())
    yield fault("the clock an hour ahead", clock(3600), "seen", path="*", found=("failed", "server"))
    yield fault("the clock an hour behind", clock(-3600), "seen", path="*", found=("failed", "server"))


FAULTS = tuple(_faults())
