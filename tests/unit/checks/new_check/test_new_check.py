"""A new check is its module and a line in the registry: every room of the library then shows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import PROJECT
from tests.unit.checks.new_check.program import CONFIGURATION

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the library that has the check ``quiet``."""
    folder = tmp_path_factory.mktemp("with-a-new-check")
    shutil.copytree(PROJECT / "monitoring", folder / "monitoring", ignore=shutil.ignore_patterns("__pycache__"))
    checks = folder / "monitoring" / "checks"
    shutil.copy(HERE / "quiet.py", checks / "quiet.py")
    registry = (checks / "registry.py").read_text()
    for before, line in (("    server,\n", "    quiet,\n"), ("    server.CHECK,\n", "    quiet.CHECK,\n")):
        assert registry.count(before) == 1
        registry = registry.replace(before, line + before)
    (checks / "registry.py").write_text(registry)
    return folder


@pytest.fixture(scope="module")
def seen(library: Path) -> dict[str, Any]:
    """What the library shows of it."""
    result = python(library, "-m", "tests.unit.checks.new_check.program")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["library"] == str(library / "monitoring")
    return found


def python(library: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the library is the copy."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("WATCHDOG_")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=library,
        env={**env, "PYTHONPATH": f"{library}{os.pathsep}{PROJECT}"},
        capture_output=True,
        text=True,
        check=False,
    )


def watchdog(library: Path, configuration: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a configuration."""
    (library / "watchdog.yaml").write_text(configuration)
    return python(library, "-c", "from monitoring.cli import main; main()", *words)


def test_it_finds(seen: dict[str, Any]) -> None:
    assert seen["findings"] == [["quiet", "a/quiet"], ["quiet", "b/quiet"]]


def test_it_is_explained(seen: dict[str, Any]) -> None:
    explained = next(part for part in seen["explain"].split("\n\n") if part.startswith("quiet: "))

    assert [line.rstrip() for line in explained.splitlines()] == [
        "quiet: nothing found: a run has ended lately",
        "Compared  name of run of lively/one: ended, ago 30 min; limit: 1 h; since 2026-11-23 11:30 UTC",
        "Settings  quiet.enabled true (default); quiet.after 1h (watchdog.yaml line 2)",
    ]


def test_it_is_configured_in_the_file_and_the_environment(library: Path, seen: dict[str, Any]) -> None:
    wrong = watchdog(library, "quiet:\n  after: soon\n  afer: 1h\n", "config", "check")
    shown = watchdog(library, CONFIGURATION, "config", "show")

    assert wrong.returncode == 3
    assert "watchdog.yaml:2: quiet.after: 'soon': " in wrong.stderr
    assert "watchdog.yaml:3: quiet.afer: unknown key; did you mean after?" in wrong.stderr
    assert shown.returncode == 0, shown.stderr
    (line,) = [line.split() for line in shown.stdout.splitlines() if line.startswith("quiet.after")]
    assert line == ["quiet.after", "1h", "watchdog.yaml", "line", "2"]
    assert seen["environment"] == "environment WATCHDOG_QUIET__AFTER"


def test_it_is_in_the_health_artifact_and_the_digest(seen: dict[str, Any]) -> None:
    assert "Quiet: nothing has ended" in seen["markdown"]
    assert "no run has ended for 3 h" in seen["markdown"]
    assert "What else is wrong" in seen["digest"]
    assert "no run has ended for 3 h" in seen["digest"]


def test_it_is_in_alerts(seen: dict[str, Any]) -> None:
    assert "2 deployments are quiet" in seen["slack"]
    assert "no run has ended for 3 h" in seen["slack"]


def test_it_is_in_the_json(seen: dict[str, Any]) -> None:
    assert {finding["check"] for finding in seen["json"]["findings"]} == {"quiet"}


def test_history_can_show_it(seen: dict[str, Any]) -> None:
    assert "quiet" in seen["replayed"]


def test_silences_and_routes_know_it(library: Path) -> None:
    good = watchdog(library, "routes: [{name: q, match: {check: quiet}, channel: q}]\n", "config", "check")
    bad = watchdog(library, "routes: [{name: q, match: {check: loud}, channel: q}]\n", "config", "check")
    silence = watchdog(library, "", "silence", "add", "--help")

    assert good.returncode == 0, good.stderr
    assert "'quiet'" in bad.stderr
    assert "quiet" in silence.stdout
