"""The wheel: what pip installs is the library and the command line, and they work from an empty folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import monitoring
from demo.stack import Server
from tests.support.noise import noise
from tests.support.paths import PROJECT
from tests.support.seed_values import MINUTE
from tests.support.seeding import Seed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    return target


def test_the_wheel_holds_the_library_and_nothing_else(wheel: Path) -> None:
    assert wheel.name.startswith("prefect_watchdog-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"prefect_watchdog-{monitoring.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"monitoring", info}
    assert f"{info}/licenses/LICENSE" in names
    for name in ("messages/check.schema.json", "messages/log.schema.json", "cli/__init__.py"):
        assert f"monitoring/{name}" in names
    source = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "monitoring").rglob("*") if path.is_file()}
    assert {name for name in source if "__pycache__" not in name} == {n for n in names if n.startswith("monitoring/")}


def test_the_command_line_works_from_an_empty_folder(
    installed: Path, prefect_server: Server, seed: Seed, tmp_path: Path
) -> None:
    noise(seed)
    seed.run(seed.deployment("etl/nightly"), "FAILED", ended=seed.now - MINUTE)
    env = prefect_server.client_env({"PYTHONPATH": str(installed), "NO_COLOR": "1"})

    def watchdog(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(installed / "bin" / "watchdog"), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    where = [sys.executable, "-c", "import monitoring; print(monitoring.__file__)"]
    used = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    assert used.startswith(str(installed)), "not the project's own folder"

    version = watchdog("--version")
    assert (version.returncode, version.stdout.strip(), version.stderr) == (0, monitoring.__version__, "")
    check = watchdog("check")
    assert (check.returncode, check.stderr) == (1, "")
    assert "etl/nightly" in check.stdout
    assert list(tmp_path.iterdir()) == []
