"""The dashboards and rules of this repository, as values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.paths import PROJECT

RULES = PROJECT / "dashboards/prometheus"
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.name: json.loads(path.read_text()) for path in sorted((PROJECT / "dashboards").glob("*.json"))
}
PAGE = (PROJECT / "docs/metrics-dashboards.md").read_text()


@dataclass(frozen=True)
class Panel:
    """A panel that asks Prometheus."""

    dashboard: str
    title: str
    description: str
    queries: tuple[str, ...]
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.title}"


@dataclass(frozen=True)
class Rule:
    """An alert, or a series that is recorded."""

    name: str
    alerts: bool
    query: str
    body: dict[str, Any]

    def __str__(self) -> str:
        return self.name


def panels() -> list[Panel]:
    """All panels but the rows."""
    return [
        Panel(
            name,
            body["title"],
            body.get("description", ""),
            tuple(target["expr"] for target in body["targets"]),
            body,
        )
        for name, dashboard in DASHBOARDS.items()
        for body in dashboard["panels"]
        if body["type"] != "row"
    ]


def rules() -> list[Rule]:
    """All rules, in the order in which Prometheus reads them."""
    return list(_rules())


def _rules() -> Iterator[Rule]:
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for body in group["rules"]:
                yield Rule(body.get("alert") or body["record"], "alert" in body, body["expr"], body)
