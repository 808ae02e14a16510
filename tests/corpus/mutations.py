"""The corpus put to the test: a check turned off, or a threshold moved by one step, must make a scenario fail.

A server is loaded once, and judged under each configuration that it could tell from its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from pydantic import ValidationError

from monitoring.checks.registry import CHECKS, run_checks
from monitoring.checks.server import Server
from monitoring.checks.watchdog import Watchdog
from monitoring.config.policy import format_value, leaves
from monitoring.config.settings import Config, Policy
from monitoring.usecases import assess as service
from tests.corpus.bench import Bench
from tests.corpus.judging import judge, prepare
from tests.corpus.scenario import Scenario, World

#: Settings that are no thresholds, and why no step of theirs is looked for.
NO_THRESHOLDS = {
    "owner": "a name that is shown",
    "escalate_after": "of incidents, not of what one look finds; see tests/unit/notifications/",
    **{
        f"{section}.hold": "when it is told, not what is found"
        for section in (*Policy.model_fields, "watchdog", "server")
    },
    "server.timeout": "how the API is asked, not what is found",
    "server.deadline": "how the API is asked, not what is found",
    "server.attempts": "how the API is asked, not what is found",
    "server.retry_budget": "how the API is asked, not what is found",
    "server.page_size": "how the API is asked, not what is found",
}
_OTHERS = {"info": "warning", "warning": "critical", "critical": "info", "success": "failure", "failure": "success"}
_SECOND = timedelta(seconds=1)
#: Steps of numbers that are no whole ones.
_STEPS = {
    "slow.deviations": 0.1,
    "slow.min_ratio": 0.01,
    "suspicious.quick_ratio": 0.01,
    # Task runs are whole ones: a smaller step makes no difference between a few and some.
    "suspicious.task_ratio": 1.0,
}


@dataclass(frozen=True, order=True)
class Mutation:
    """A change of one setting by one step: ``up``, ``down``, or to the ``other`` value; or a check that is ``gone``."""

    field: str
    step: str

    def __str__(self) -> str:
        return f"{self.field} {self.step}"

    @property
    def check(self) -> str:
        """The check whose setting it is; empty for what concerns them all."""
        section, dot, _ = self.field.partition(".")
        return section.replace("_", "-") if dot or self.step == "gone" else ""

    def of(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The configuration with this step taken; None where nothing moves.

        A default is moved only where the configuration leaves it; what has none, where it is set.
        """
        if self.step == "gone":
            return dict(config)
        default, value = (_value(Config.model_validate(given), self.field) for given in ({}, config))
        if default is not None and value != default:
            return None
        moved = "critical" if self.field == "severity" else _moved(self, value)
        if moved is None:
            return None
        changed: dict[str, Any] = deepcopy(dict(config))
        *sections, name = self.field.split(".")
        branch = changed
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[name] = format_value(moved) if isinstance(moved, timedelta) else moved
        try:
            Config.model_validate(changed)
        except ValidationError:
            return None
        return changed


def mutations() -> list[Mutation]:
    """Every check gone, and every step of every setting that decides what is found."""
    sections = [("", Policy()), ("watchdog.", Watchdog()), ("server.", Server())]
    fields = {name: value for prefix, section in sections for name, value in leaves(section, unset=True, prefix=prefix)}
    return [
        *(Mutation(check.name, "gone") for check in CHECKS),
        *(
            Mutation(name, step)
            for name, value in fields.items()
            if name not in NO_THRESHOLDS
            for step in (("other",) if isinstance(value, (bool, str)) or name == "severity" else ("up", "down"))
        ),
    ]


def survivors(place: Bench, scenarios: Iterable[Scenario], background: World) -> list[Mutation]:
    """The mutations that no scenario notices.

    Args:
        place: A real server.
        scenarios: Described servers, each of which is right as it stands.
        background: What is on all of them.
    """
    known = list(scenarios)
    alive = {
        mutation for mutation in mutations() if any(mutation.of(scenario.config) is not None for scenario in known)
    }
    for aims in (_aimed, _concerned):
        for scenario in known:
            candidates = sorted(mutation for mutation in alive if aims(mutation, scenario))
            if candidates:
                prepare(place, scenario, background)
                alive.difference_update(_noticed(place, scenario, candidates))
    return sorted(alive)


def _noticed(place: Bench, scenario: Scenario, candidates: Iterable[Mutation]) -> Iterator[Mutation]:
    for mutation in candidates:
        config = mutation.of(scenario.config)
        if config is None:
            continue
        left = [check for check in CHECKS if mutation != Mutation(check.name, "gone")]
        gone = patch.object(service, "run_checks", partial(run_checks, checks=left))
        with gone if mutation.step == "gone" else nullcontext():
            if judge(place, scenario, config).deviations:
                yield mutation


def _aimed(mutation: Mutation, scenario: Scenario) -> bool:
    """Whether a scenario was made for the setting."""
    return mutation.field in scenario.thresholds


def _concerned(mutation: Mutation, scenario: Scenario) -> bool:
    """Whether a scenario may tell."""
    return mutation.check in scenario.concerns if mutation.check else bool(scenario.expect)


def _value(section: Any, field: str) -> Any:
    for name in field.split("."):
        section = getattr(section, name)
    return section


def _moved(mutation: Mutation, value: Any) -> Any:
    sign = -1 if mutation.step == "down" else 1
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return _OTHERS.get(value)
    if isinstance(value, timedelta):
        moved = value + sign * _SECOND
        return moved if moved > timedelta(0) else None
    if isinstance(value, float):
        return round(value + sign * _STEPS[mutation.field], 6)
    return None if value is None else value + sign
