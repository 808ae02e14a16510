"""Every fault of the catalog: a check ends, says in one way what it is about, and calls nothing healthy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from demo.stack import Server
from monitoring.cli import app
from tests.server.faults.catalog import FAULTS, PlayedFault
from tests.server.faults.playing import Checked, problem_with
from tests.server.faults.proxy import misbehaving
from tests.support.seed_values import HOUR
from tests.support.seeding import Seed


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_survived_and_named(
    fault: PlayedFault,
    prefect_server: Server,
    world: Seed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process, which is quicker. ``make reliability`` runs each in one of its own, and measures it."""
    world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - HOUR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WATCHDOG_SERVER__DEADLINE", f"{fault.deadline}s")
    # That one needs the whole budget to get beyond the first requests.
    if fault.outcome != "seen" and fault.name != "503 to every other request":
        monkeypatch.setenv("WATCHDOG_SERVER__RETRY_BUDGET", "2s")
    capsys.readouterr()
    with (
        misbehaving(prefect_server.ui_url, {fault.path: fault.make()}) as (address, paths),
        temporary_settings({PREFECT_API_URL: address}),
    ):
        status = app(["check", "--json"], exit_on_error=False, result_action="return_value")
        requests = len(paths)
    printed = capsys.readouterr()
    report = json.loads(printed.out) if printed.out else {}
    checked = Checked(status, report, printed.err.strip(), 0, 0, requests)
    assert problem_with(fault, checked) == ""
