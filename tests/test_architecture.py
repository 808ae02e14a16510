"""The import rules: who may know whom. They keep the pure middle pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLIENTS = ("prefect", "slack_sdk", "httpx", "requests", "urllib3", "urllib.request", "aiohttp")
SOURCES = sorted((ROOT / "monitoring").rglob("*.py"))
MIDDLE = [
    path
    for path in SOURCES
    if not {"adapters", "cli", "render"} & set(path.relative_to(ROOT / "monitoring").parts[:1])
    and path.name not in ("service.py",)
]


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
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_nothing_in_the_library_imports_the_flows(path: Path) -> None:
    assert offending(path, "flows", "demo", "tests") == []


@pytest.mark.parametrize("name", ["model", "errors", "config", "durations"])
def test_the_foundations_import_nothing_above_them(name: str) -> None:
    allowed = {"config": ("monitoring.durations", "monitoring.model")}.get(name, ())
    found = offending(ROOT / f"monitoring/{name}.py", "monitoring")

    assert [module for module in found if not within(module, *allowed)] == []


@pytest.mark.parametrize("path", MIDDLE, ids=named)
def test_the_middle_knows_no_client_and_nothing_outside_of_it(path: Path) -> None:
    above = ("monitoring.adapters", "monitoring.cli", "monitoring.render", "monitoring.service")

    assert offending(path, *CLIENTS, *above, "jinja2", "rich", "cyclopts") == []


@pytest.mark.parametrize("path", sorted((ROOT / "monitoring/render").rglob("*.py")), ids=named)
def test_renderings_know_no_client_and_no_adapter(path: Path) -> None:
    assert offending(path, *CLIENTS, "monitoring.adapters", "monitoring.cli", "monitoring.service") == []


def test_the_use_cases_know_ports_and_no_adapters() -> None:
    above = ("monitoring.adapters", "monitoring.cli", "monitoring.render")

    assert offending(ROOT / "monitoring/service.py", *CLIENTS, *above) == []


@pytest.mark.parametrize("path", sorted((ROOT / "monitoring/adapters").rglob("*.py")), ids=named)
def test_adapters_do_not_import_each_other(path: Path) -> None:
    adapters = ROOT / "monitoring/adapters"
    own = f"monitoring.adapters.{path.relative_to(adapters).with_suffix('').parts[0]}"
    others = [name for name in offending(path, "monitoring.adapters") if not within(name, own)]

    assert [name for name in others if name != "monitoring.adapters"] == []
    assert offending(path, "monitoring.cli", "monitoring.service") == []


def test_the_rules_see_imports_at_all() -> None:
    assert "monitoring.adapters.prefect_server.api" in set(imports(ROOT / "flows/check.py"))
