"""Commands that need no server start without the second that Prefect takes to import."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monitoring.cli import app

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
#: Prints the help of many commands, and stops at the first that imports too much.
HELP = """
import sys
from monitoring.cli import app
for command in sys.argv[1:]:
    app([*command.split(), "--help"], result_action="return_value")
    if "prefect" in sys.modules:
        break
print("imported", *sorted(sys.modules))
"""
CONFIGURATION = """
late: {after: 10m}
maintenance: [{match: {tag: nightly}, cron: "0 2 * * SAT", lasts: 1h}]
"""


#: Every command, and every group of commands.
COMMANDS = [
    "automation",
    "automation deploy",
    "automation remove",
    "backtest",
    "check",
    "config",
    "config check",
    "config push",
    "config show",
    "digest",
    "doctor",
    "explain",
    "incidents",
    "incidents ack",
    "incidents close",
    "incidents list",
    "incidents show",
    "metrics",
    "metrics print",
    "metrics serve",
    "notify",
    "notify test",
    "silence",
    "silence add",
    "silence expire",
    "silence list",
]
HEAVY = {"prefect", "slack_sdk", "httpx"}


def run(folder: Path, *words: str, program: str = PROGRAM) -> tuple[str, set[str]]:
    """What a command prints with its exit status, and the packages that it has imported."""
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    shown, _, imported = done.stdout.partition("imported ")
    return done.stderr + shown, {name.partition(".")[0] for name in imported.split()}


def test_every_command_is_listed_here() -> None:
    found = {name for name in app if not name.startswith("-")}
    groups = {name: app[name] for name in found}
    nested = {f"{name} {sub}" for name, group in groups.items() for sub in group if not sub.startswith("-")}
    assert found | nested == set(COMMANDS)


def test_the_help_of_no_command_imports_prefect(tmp_path: Path) -> None:
    shown, imported = run(tmp_path, *COMMANDS, program=HELP)
    assert [command for command in COMMANDS if f"Usage: watchdog {command}" not in shown] == []
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["chek"], 'Did you mean "check"?'),
        (["silence", "add", "--for", "4h"], "--reason is missing; see `watchdog silence add --help`."),
        (["incidents", "ack"], "INCIDENTS is missing; see `watchdog incidents ack --help`."),
    ],
)
def test_a_mistyped_command_is_answered_without_prefect(tmp_path: Path, words: list[str], says: str) -> None:
    shown, imported = run(tmp_path, *words)
    assert says in " ".join(shown.replace("│", " ").split())
    assert "status 3" in shown
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("words", "shows"),
    [
        (["--help"], "Show what is wrong on a Prefect server"),
        (["check", "--help"], "Exit status: 0 ok, 1 warning, 2 critical, 3 unknown, or the check could not run."),
        (["config", "check"], "watchdog.yaml: valid\nstatus 0"),
        (["silence", "add", "--reason", "move"], "status 3"),
    ],
)
def test_a_command_that_needs_no_server_does_not_import_prefect(tmp_path: Path, words: list[str], shows: str) -> None:
    (tmp_path / "watchdog.yaml").write_text(CONFIGURATION)
    shown, imported = run(tmp_path, *words)
    assert shows in shown
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize("after", [0.1, 0.2, 0.4, 0.8])
def test_an_interrupt_in_the_first_second_ends_it_silently(tmp_path: Path, after: float) -> None:
    started = "import sys; from monitoring.__main__ import main; sys.stderr.write('up'); sys.stderr.flush(); main()"
    command = [sys.executable, "-c", started, "config", "show", "a/b", "--target", "http://127.0.0.1:9/api"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    # Before that, it is Python alone that starts.
    assert process.stderr.read(2) == "up"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    said, complaint = process.communicate(timeout=60)
    assert (process.returncode, said, complaint) in ((-signal.SIGINT, "", ""), (130, "", ""))


def test_the_program_sees_what_a_command_imports(tmp_path: Path) -> None:
    _, imported = run(tmp_path, "config", "check", "--target", "http://127.0.0.1:9/api")
    assert "prefect" in imported


def test_printing_the_commands_imports_none_of_them(tmp_path: Path) -> None:
    shown, imported = run(tmp_path, "--help")
    assert "backtest" in shown
    assert imported.isdisjoint({"pydantic", "yaml", "structlog"})
