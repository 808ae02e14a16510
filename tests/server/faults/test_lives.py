"""Faults of the life of a server, those that take seconds; ``make reliability`` plays all, and measures them."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.stack import Server
from tests.server.faults.life import Life
from tests.server.faults.lives import LIVES, LifeFault, played
from tests.support.slack import SlackEmulator


@pytest.mark.parametrize("fault", [fault for fault in LIVES if not fault.long], ids=str)
def test_a_fault_is_survived_and_nothing_is_lost(
    fault: LifeFault, prefect_server: Server, slack_emulator: SlackEmulator, tmp_path: Path
) -> None:
    assert played(fault, Life(prefect_server, slack_emulator, tmp_path))["problem"] == ""
