"""The ladder of rooms: who may import whom. It keeps pure rooms pure, and the path of the data readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import PROJECT

LIBRARY = PROJECT / "monitoring"
#: The rooms from the lowest to the highest. A room imports itself and lower rooms, which stand before it.
#: ``actions`` (on runs) and ``targets`` (several servers) are reserved: their packages do not exist yet.
LADDER = (
    "errors",
    "text",
    "model",
    "failures",
    "history",
    "checks",
    "config",
    "logs",
    "incidents",
    "actions",
    "notifications",
    "messages",
    "metrics",
    "doctor",
    "tuning",
    "targets",
    "usecases",
    "adapters",
    "wiring",
    "cli",
    "__main__",
)
#: What talks to the outside, and the rooms that may.
CLIENTS = ("prefect", "slack_sdk", "httpx", "requests", "urllib3", "urllib.request", "aiohttp")
OUTSIDE = ("adapters", "wiring", "cli")
SOURCES = sorted(LIBRARY.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offending(path: Path, *packages: str) -> list[str]:
    return [name for name in imports(path) if within(name, *packages)]


def named(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def test_every_module_is_in_a_room_of_the_ladder() -> None:
    assert {room_of(path) for path in SOURCES} - {"__init__"} <= set(LADDER)


def test_few_modules_are_outside_of_rooms() -> None:
    assert {path.name for path in LIBRARY.glob("*.py")} <= {
        "__init__.py",
        "__main__.py",
        "errors.py",
        "logs.py",
        "wiring.py",
    }


@pytest.mark.parametrize("path", [path for path in SOURCES if room_of(path) != "__init__"], ids=named)
def test_imports_run_down_the_ladder(path: Path) -> None:
    higher = LADDER[LADDER.index(room_of(path)) + 1 :]

    assert offending(path, *(f"monitoring.{room}" for room in higher)) == []


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_nothing_in_the_library_imports_the_flows(path: Path) -> None:
    assert offending(path, "flows", "demo", "tests") == []


@pytest.mark.parametrize("path", [path for path in SOURCES if room_of(path) not in OUTSIDE], ids=named)
def test_only_adapters_know_clients(path: Path) -> None:
    assert offending(path, *CLIENTS, "cyclopts") == []


@pytest.mark.parametrize("path", sorted((LIBRARY / "adapters").rglob("*.py")), ids=named)
def test_adapters_do_not_import_each_other(path: Path) -> None:
    adapters = LIBRARY / "adapters"
    own = f"monitoring.adapters.{path.relative_to(adapters).with_suffix('').parts[0]}"
    others = [name for name in offending(path, "monitoring.adapters") if not within(name, own)]

    assert [name for name in others if name != "monitoring.adapters"] == []


@pytest.mark.parametrize("path", sorted((LIBRARY / "checks").glob("*.py")), ids=named)
def test_checks_do_not_import_each_other(path: Path) -> None:
    shared = ("monitoring.checks.base", "monitoring.checks.findings", "monitoring.checks.facts")
    others = [name for name in offending(path, "monitoring.checks") if not within(name, *shared)]

    assert path.name == "registry.py" or [name for name in others if name != "monitoring.checks"] == []


@pytest.mark.parametrize("path", sorted((LIBRARY / "checks" / "facts").glob("*.py")), ids=named)
def test_facts_do_not_know_the_checks(path: Path) -> None:
    modules = {f"monitoring.checks.{check.stem}" for check in (LIBRARY / "checks").glob("*.py")}
    checks = modules - {f"monitoring.checks.{name}" for name in ("__init__", "base", "findings")}

    assert offending(path, *checks) == []


def test_the_rules_see_imports_at_all() -> None:
    assert "monitoring.adapters.prefect.client.api" in set(imports(LIBRARY / "wiring.py"))
