"""Answers without an end, or larger than memory: a check ends in time, holds little, and names what it did not see."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from demo.stack import Server, prefect_env
from tests.server.faults.proxy import Fault, Handler, misbehaving
from tests.support.seed_values import HOUR, Run
from tests.support.seeding import Seed

#: Seconds that a check may take besides reading, on a busy machine: these faults last for ever.
SPARE = 60
#: Mebibytes that a check may hold at its peak; 100 are Prefect's client alone.
MAX_PEAK = 250

RUNS = "/flow_runs/filter"
POOLS = "/work_pools/filter"

# Prints the peak after the command's own output, on the other stream.
_MEASURED = """
import re, sys
from pathlib import Path
from monitoring.cli import main
try:
    main()
finally:
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    print("peak", peak[1], file=sys.stderr)
"""


class Checked(NamedTuple):
    """How a check ended."""

    status: int
    report: dict[str, Any]
    errors: str
    seconds: float
    #: Mebibytes of memory at the peak.
    peak: float

    @property
    def missing(self) -> set[str]:
        """The queries without a complete answer."""
        return {line.partition(":")[0] for line in self.report["coverage"]["missing"]}


Checker = Callable[..., Checked]


@pytest.fixture
def check(prefect_server: Server, world: Seed, tmp_path: Path) -> Checker:
    """Run a check against a server that has one failed run, and misbehaves; returns how it ended."""
    world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - HOUR)

    def run(faults: dict[str, Fault], deadline: str = "60s", timeout: str = "15s") -> Checked:
        with misbehaving(prefect_server.ui_url, faults) as (address, _):
            env = prefect_env(
                tmp_path, address, {"WATCHDOG_SERVER__DEADLINE": deadline, "WATCHDOG_SERVER__TIMEOUT": timeout}
            )
            started = time.monotonic()
            ended = subprocess.run(
                [sys.executable, "-c", _MEASURED, "check", "--json"],
                env=env,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=150,
                check=False,
            )
            seconds = time.monotonic() - started
        errors, _, peak = ended.stderr.strip().rpartition("peak ")
        assert "Traceback" not in errors, errors
        return Checked(ended.returncode, json.loads(ended.stdout), errors, seconds, int(peak) / 1024)

    return run


def drip_body(handler: Handler, _: bytes) -> None:
    handler.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        handler.write(b" ")
        handler.wait(1)


def drip_headers(handler: Handler, _: bytes) -> None:
    handler.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        handler.write(b"x")
        handler.wait(1)


def continue_for_ever(handler: Handler, _: bytes) -> None:
    while True:
        handler.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        handler.wait(0.2)


def late(handler: Handler, body: bytes) -> None:
    handler.wait(3)
    handler.pass_on(body)


def same_page(handler: Handler, body: bytes) -> None:
    limit = json.loads(body).get("limit") or 200
    handler.answer(json.dumps([{"id": str(number)} for number in range(limit)]).encode())


def endless_list(handler: Handler, body: bytes) -> None:
    asked = json.loads(body)
    rows = range(asked.get("offset", 0), asked.get("offset", 0) + (asked.get("limit") or 200))
    handler.answer(json.dumps([{"id": str(number)} for number in rows]).encode())


@cache
def inflating() -> bytes:
    """Two megabytes that inflate to two gigabytes."""
    compress = zlib.compressobj(level=1, wbits=31)
    block = b" " * (16 << 20)
    return b"".join([*(compress.compress(block) for _ in range(128)), compress.flush()])


def bomb(handler: Handler, _: bytes) -> None:
    body = inflating()
    handler.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n")
    handler.write(b"Content-Length: %d\r\n\r\n" % len(body))
    handler.write(body)


def endless_body(handler: Handler, _: bytes) -> None:
    handler.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    block = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while True:
        handler.write(block)


def large_error(handler: Handler, _: bytes) -> None:
    handler.answer(b"x" * (100 << 20), 422)


def deep(handler: Handler, _: bytes) -> None:
    handler.answer(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize("fault", [drip_body, drip_headers, continue_for_ever, late])
def test_a_server_that_takes_its_time_over_everything(check: Checker, fault: Fault) -> None:
    checked = check({"*": fault}, deadline="6s")
    assert checked.seconds < 6 + SPARE
    assert checked.status in (2, 3)
    assert checked.report["coverage"]["complete"] is False


@pytest.mark.parametrize("fault", [drip_body, drip_headers, continue_for_ever])
def test_a_server_that_takes_its_time_over_one_query(check: Checker, fault: Fault) -> None:
    checked = check({POOLS: fault}, timeout="6s")
    assert checked.seconds < 60 + SPARE
    assert checked.status == 3
    assert "work-pools" in checked.missing
    assert [finding["check"] for finding in checked.report["findings"]] == ["failed"], "what was read is judged"


@pytest.mark.parametrize("fault", [same_page, endless_list])
@pytest.mark.parametrize(("path", "query"), [(POOLS, "work-pools"), (RUNS, "ended-runs")])
def test_a_list_without_an_end(check: Checker, fault: Fault, path: str, query: str) -> None:
    checked = check({path: fault}, deadline="10s")
    assert checked.status == 3
    assert query in checked.missing
    assert checked.seconds < 10 + SPARE
    assert checked.peak < MAX_PEAK


@pytest.mark.parametrize("fault", [bomb, endless_body, large_error, deep])
@pytest.mark.parametrize("path", ["*", POOLS])
def test_an_answer_that_is_too_large(check: Checker, fault: Fault, path: str) -> None:
    checked = check({path: fault})
    assert checked.peak < MAX_PEAK
    assert checked.report["coverage"]["complete"] is False
    if path == POOLS:
        assert checked.status == 3
        assert checked.missing == {"work-pools"}


def test_runs_with_large_parameters_are_read_in_small_pages(check: Checker, world: Seed) -> None:
    """A megabyte each, of 200 waiting runs: more than one answer may hold."""
    busy = world.deployment("etl/busy")
    world.many(Run(deployment=busy, state="Late", due=world.now - HOUR, history=()) for _ in range(200))
    answers: list[int] = []

    def large(handler: Handler, body: bytes) -> None:
        answer = handler.passed(body).json()
        for row in answer:
            row["parameters"] = {"x": "y" * (1 << 20)}
        answers.append(len(answer))
        handler.answer(json.dumps(answer).encode())

    checked = check({RUNS: large})
    assert checked.missing == set()
    late = [finding for finding in checked.report["findings"] if finding["check"] == "late"]
    assert [finding["flow_run_count"] for finding in late] == [200]
    assert max(answers) == 200
    assert checked.peak < MAX_PEAK
