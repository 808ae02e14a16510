"""Answers larger than memory: a check of its own process holds little, whatever the server sends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo.stack import Server
from tests.server.faults.catalog import FAULTS, RUNS, PlayedFault
from tests.server.faults.playing import check, problem_with
from tests.server.faults.proxy import Handler
from tests.support.seed_values import HOUR, Run
from tests.support.seeding import Seed

#: Mebibytes that a check may hold at its peak; 100 are Prefect's client alone.
MAX_PEAK = 250
_LARGE = ("2 MB that inflate to 2 GB", "a body without an end", "an error of 100 MB", "nested 100,000 deep")


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name.endswith(_LARGE)], ids=str)
def test_an_answer_that_is_too_large_is_not_held(
    fault: PlayedFault, prefect_server: Server, world: Seed, tmp_path: Path
) -> None:
    world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - HOUR)
    checked = check(prefect_server.ui_url, {fault.path: fault.make()}, tmp_path)
    assert problem_with(fault, checked) == ""
    assert checked.peak < MAX_PEAK


def test_runs_with_large_parameters_are_read_in_small_pages(
    prefect_server: Server, world: Seed, tmp_path: Path
) -> None:
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

    checked = check(prefect_server.ui_url, {RUNS: large}, tmp_path)
    assert checked.missing == set()
    late = [finding for finding in checked.report["findings"] if finding["check"] == "late"]
    assert [finding["flow_run_count"] for finding in late] == [200]
    assert max(answers) == 200
    assert checked.peak < MAX_PEAK
