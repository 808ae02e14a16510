"""Runs checks and digests, one process each, that can be told to die at a point of their conversation with the world.

A request has two points: it is sent and nothing of the answer has come, and its answer is there. Right before a request
is, for everybody else, the same as right after the answer to the one before.

One line of JSON on standard input starts a check and one on standard output says what became of it, see ``Order`` and
``Outcome``. Everything is imported once and each check is forked from that; no thread runs by then, so it is safe.
It is run as a file: the package of tests takes Prefect's settings out of the environment.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from flows.check import check
from flows.digest import digest


@dataclass(frozen=True)
class Order:
    """A check or a digest that is to run."""

    flow: str = "check"
    #: The point at which it dies, counted from 0; None lets it live.
    kill_at: int | None = None
    #: It dies at the first point whose name ends so, wherever that is; None: at none for that.
    kill_on: str | None = None
    #: The process group of the server that dies with it.
    server: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a check or a digest."""

    #: The points that it reached; it died at the last one if it died.
    points: list[str]
    #: Type and message of its last state; None where it was killed.
    ended: str | None


def main() -> None:
    """Do what is ordered until there are no more orders."""
    assert threading.active_count() == 1
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # What the checks print is no answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        outcome = _forked(Order(**json.loads(line)))
        print(json.dumps(dataclasses.asdict(outcome)), file=answers, flush=True)


def _forked(order: Order) -> Outcome:
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(source)
        try:
            _run(_Points(sink, order), order.flow)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        # Nothing is tidied up: what is not done when the flow has ended is not missed by it either.
        os._exit(0)
    os.close(sink)
    with os.fdopen(source) as pipe:
        lines = pipe.read().splitlines()
    os.waitpid(pid, 0)
    ended = [line.removeprefix("ended ") for line in lines if line.startswith("ended ")]
    return Outcome([line for line in lines if not line.startswith("ended ")], ended[0] if ended else None)


def _run(points: _Points, flow: str) -> None:
    _watch_httpx(points.reached)
    _watch_urllib(points.reached)
    state: Any = digest(return_state=True) if flow == "digest" else check(return_state=True)
    points.say(f"ended {state.type.value} {state.message}")


class _Points:
    """Counts the points that a check reaches, and kills it at the one that was ordered."""

    def __init__(self, sink: int, order: Order) -> None:
        self._sink = sink
        self._order = order
        self._count = 0

    def say(self, line: str) -> None:
        os.write(self._sink, f"{line}\n".encode())

    def reached(self, point: str) -> None:
        # Another thread is Prefect's own, and says nothing that the check depends on.
        if threading.current_thread() is not threading.main_thread():
            return
        self.say(point)
        named = self._order.kill_on is not None and point.endswith(self._order.kill_on)
        if named or self._count == self._order.kill_at:
            if self._order.server is not None:
                os.killpg(self._order.server, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1


def _watch_httpx(reached: Callable[[str], None]) -> None:
    """By which Prefect's client speaks."""
    really_send = httpx.Client.send

    def send(client: httpx.Client, request: httpx.Request, **arguments: Any) -> httpx.Response:
        point = f"{request.method} {request.url.path}"

        def trace(event: str, _: Any) -> None:
            if event == "http11.receive_response_headers.started":
                reached(f"{point} is sent")

        request.extensions["trace"] = trace
        answer = really_send(client, request, **arguments)
        reached(f"{point} is answered")
        return answer

    httpx.Client.send = send  # type: ignore[assignment,method-assign]


def _watch_urllib(reached: Callable[[str], None]) -> None:
    """By which slack_sdk speaks."""
    connection = http.client.HTTPConnection
    really_begin, really_get = connection.putrequest, connection.getresponse

    def putrequest(self: Any, method: str, url: str, *arguments: Any, **more: Any) -> None:
        self.asked = f"{method} {url}"
        really_begin(self, method, url, *arguments, **more)

    def getresponse(self: Any) -> http.client.HTTPResponse:
        reached(f"{self.asked} is sent")
        answer = really_get(self)
        reached(f"{self.asked} is answered")
        return answer

    connection.putrequest = putrequest  # type: ignore[method-assign]
    connection.getresponse = getresponse  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
