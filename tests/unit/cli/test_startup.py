"""Commands that need no server start without the second that Prefect takes to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
sys.argv = ["watchdog", *sys.argv[1:]]
from monitoring.cli import main
try:
    main()
except SystemExit as end:
    print("status", end.code)
print("imported", *sorted(sys.modules))
"""
CONFIGURATION = """
late: {after: 10m}
maintenance: [{match: {tag: nightly}, cron: "0 2 * * SAT", lasts: 1h}]
"""


def run(folder: Path, *words: str) -> tuple[str, set[str]]:
    """What a command prints with its exit status, and the packages that it has imported."""
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    shown, _, imported = done.stdout.partition("imported ")
    return shown, {name.partition(".")[0] for name in imported.split()}


@pytest.mark.parametrize(
    ("words", "shows"),
    [
        (["--help"], "Show what is wrong on a Prefect server"),
        (["check", "--help"], "Exit status: 0 ok, 1 warning, 2 critical, 3 unknown, or the check could not run."),
        (["config", "check"], "watchdog.yaml: valid\nstatus 0"),
        (["config", "--help"], "Check, show or push the configuration."),
        (["silence", "add", "--help"], "--deployment"),
        (["silence", "add", "--reason", "move"], "status 3"),
        (["incidents", "--help"], "acknowledge or close"),
    ],
)
def test_a_command_that_needs_no_server_does_not_import_prefect(tmp_path: Path, words: list[str], shows: str) -> None:
    (tmp_path / "watchdog.yaml").write_text(CONFIGURATION)
    shown, imported = run(tmp_path, *words)
    assert shows in shown
    assert imported.isdisjoint({"prefect", "slack_sdk", "httpx"})


def test_the_program_sees_what_a_command_imports(tmp_path: Path) -> None:
    _, imported = run(tmp_path, "config", "check", "--target", "http://127.0.0.1:9/api")
    assert "prefect" in imported


def test_printing_the_commands_imports_none_of_them(tmp_path: Path) -> None:
    shown, imported = run(tmp_path, "--help")
    assert "backtest" in shown
    assert imported.isdisjoint({"pydantic", "yaml", "structlog"})
