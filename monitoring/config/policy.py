"""The policy of each deployment, and the source of each value.

From weakest to strongest: the defaults, the file, the file's rules in their order, the deployment's own tags
(``watchdog:max-run-time=2h``), the environment (``WATCHDOG_LATE__AFTER=20m``), the flow's parameters. Each layer
changes only the fields that it names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from monitoring.config.match import Match
from monitoring.config.policy_tags import is_policy_tag, read_tags, shown
from monitoring.config.settings import Config, Policy
from monitoring.model.fields import Section
from monitoring.model.matcher import Labels
from monitoring.text.durations import format_duration
from monitoring.text.redaction import Redactor

#: Fields of the models that are not settings: lists, and their conditions.
_NO_SETTINGS = frozenset({"match", "rules", "routes", "maintenance"})


@dataclass(frozen=True)
class Setting:
    """The value of a field, and where it was set, for people: ``watchdog.yaml line 12``."""

    value: Any
    source: str


#: Settings by the field's name with dots, ``late.after``. A stronger layer replaces a weaker one's.
Layer = Mapping[str, Setting]


def leaves(section: Section, *, unset: bool = False, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields that are not sections, the unset ones only if asked, as pairs of dotted name and value."""
    for name in type(section).model_fields:
        if name in _NO_SETTINGS or not (unset or name in section.model_fields_set):
            continue
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from leaves(value, unset=unset, prefix=f"{prefix}{name}.")
        else:
            yield prefix + name, value


def layer(section: Section, source: str, lines: Mapping[str, int] | None = None) -> Layer:
    """Make a layer from the fields that were set, with their lines in the source where known."""
    known = lines or {}
    return {
        name: Setting(value, f"{source} line {known[name]}" if name in known else source)
        for name, value in leaves(section)
    }


def format_value(value: Any) -> str:
    """Format a setting's value as in the file: ``15m``, ``true``, ``null``."""
    if isinstance(value, timedelta):
        return format_duration(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


#: The source of a value that nobody has set.
DEFAULT = "default"
_DEFAULTS: Layer = {name: Setting(value, DEFAULT) for name, value in leaves(Config(), unset=True)}
_POLICY_FIELDS = tuple(name for name, _ in leaves(Policy(), unset=True))


class Policies:
    """The effective policy of every deployment.

    Args:
        config: The configuration from the file, or its replacement.
        origin: Its name: ``watchdog.yaml``, ``defaults``.
        lines: The line of each setting, by dotted name, where known.
        weaker: The layer between the defaults and the configuration.
        stronger: The layers above its rules, weakest first.
    """

    def __init__(
        self,
        config: Config,
        *,
        origin: str = "configuration",
        lines: Mapping[str, int] | None = None,
        weaker: Layer | None = None,
        stronger: Iterable[Layer] = (),
    ) -> None:
        """Merge the layers."""
        self.origin = origin
        self._weak = {**_DEFAULTS, **(weaker or {}), **layer(config, origin, lines)}
        self._rules = [
            (rule.match.matcher, layer(rule, f"{origin} rule {number} ({_label(rule.match)})"))
            for number, rule in enumerate(config.rules, start=1)
        ]
        self._strong: dict[str, Setting] = {}
        for stronger_layer in stronger:
            self._strong.update(stronger_layer)
        #: By what decides them, so that deployments share them; and by deployment, as each check needs each policy.
        self._policies: dict[tuple[tuple[int, ...], tuple[str, ...]], Policy] = {}
        self._known: dict[tuple[str, tuple[str, ...], str | None], Policy] = {}
        #: All layers except the rules: the settings of the watchdog as a whole.
        lists = {"rules": config.rules, "routes": config.routes, "maintenance": config.maintenance}
        self.config = Config.model_validate({**_nested(self.settings()), **lists})
        self._redactor = Redactor(self.config.redact.patterns)

    def of(self, name: str = "", tags: tuple[str, ...] = (), pool: str | None = None) -> Policy:
        """The policy of a deployment, by ``flow/deployment``, tags and work pool; of a work pool, by ``pool`` alone."""
        whose = (name, tags, pool)
        if whose not in self._known:
            key = (self._matching(name, tags, pool), tuple(filter(is_policy_tag, tags)))
            if key not in self._policies:
                settings = {field: setting for field, setting in self._merged(*key).items() if field in _POLICY_FIELDS}
                self._policies[key] = Policy.model_validate(_nested(settings))
            self._known[whose] = self._policies[key]
        return self._known[whose]

    def settings(self) -> Layer:
        """The value and source of every field, without rules and tags."""
        return self._merged((), ())

    def explain(self, name: str, tags: tuple[str, ...] = (), pool: str | None = None) -> Layer:
        """The value and source of every field of a deployment's policy. The arguments are those of ``of``."""
        settings = self._merged(self._matching(name, tags, pool), tags)
        return {field: settings[field] for field in _POLICY_FIELDS}

    @property
    def keep_runs(self) -> timedelta:
        """How long the check's own finished runs are kept."""
        return self.config.state.keep_runs

    def unreadable_tags(self, tags: tuple[str, ...]) -> Sequence[tuple[str, str]]:
        """The policy tags that cannot be read, redacted, each with the reason."""
        problems = read_tags(tags).problems
        return [(self._redactor.redact(shown(tag)), self._redactor.redact(reason)) for tag, reason in problems]

    def _matching(self, name: str, tags: tuple[str, ...], pool: str | None) -> tuple[int, ...]:
        labels = Labels(deployment=name, tags=tags, pool=pool)
        return tuple(index for index, (matcher, _) in enumerate(self._rules) if matcher.matches(labels))

    def _merged(self, matching: tuple[int, ...], tags: tuple[str, ...]) -> Layer:
        merged = dict(self._weak)
        for index in matching:
            merged.update(self._rules[index][1])
        for field, (value, tag) in read_tags(tags).values.items():
            merged[field] = Setting(value, f"tag {tag}")
        merged.update(self._strong)
        return merged


def _label(match: Match) -> str:
    return ", ".join(f"{field} {value}" for field, value in leaves(match))


def _nested(settings: Layer) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, setting in settings.items():
        *sections, field = name.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[field] = setting.value
    return tree
