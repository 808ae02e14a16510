"""The text of ``watchdog.yaml`` made a configuration, with the line of everything in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from monitoring.config.problems import Loc, Problem, dotted, is_text, problems, quoted, shown
from monitoring.config.settings import Config
from monitoring.errors import ConfigError

#: Bounds that no configuration comes near: what exceeds them is some other file, or an attack by aliases.
LARGEST_TEXT = 250_000
_MOST_NODES = 50_000
_DEEPEST = 20
# Whoever has more has one mistake that is everywhere, or the wrong file.
_MOST_TOLD = 50

_TAG = "tag:yaml.org,2002:"
# A date is text here: no field holds one, and a tag or a name may look like one.
_TEXT_TAGS = frozenset({_TAG + "str", _TAG + "timestamp"})
_VALUE_TAGS = frozenset({_TAG + "null", _TAG + "bool", _TAG + "int", _TAG + "float"})


@dataclass(frozen=True)
class ConfigFile:
    """A configuration that was read: what it says, and the line of each setting by its dotted name."""

    config: Config = field(default_factory=Config)
    lines: Mapping[str, int] = field(default_factory=dict)


def parse(text: str, origin: str) -> ConfigFile:
    """Read a configuration.

    Args:
        text: YAML; empty text is a configuration that changes nothing.
        origin: What to call it in errors: ``watchdog.yaml``.

    Raises:
        ConfigError: It cannot be used. One line a problem, with the line in the text.
    """
    if len(text) > LARGEST_TEXT:
        raise ConfigError(f"{origin}: longer than {LARGEST_TEXT:,} characters; expected a configuration")
    root = _compose(text, origin)
    if root is None:
        return ConfigFile()
    reading = _Reading(origin)
    values = reading.value(root, ())
    if not reading.problems and not isinstance(values, dict):
        reading.problem((), root, "expected sections such as `late:` with their fields indented under them")
    found = list(reading.problems)
    try:
        config = Config.model_validate(values if isinstance(values, dict) else {})
    except ValidationError as error:
        found += [
            (reading.line(problem.loc), reading.described(problem))
            for problem in problems(error)
            if problem.loc not in reading.faulty
        ]
    if found:
        told = [f"{origin}:{line}: {words}" for line, words in sorted(found)[:_MOST_TOLD]]
        if len(found) > len(told):
            told.append(f"{origin}: {len(found) - len(told):,} more problems")
        raise ConfigError("\n".join(told))
    return ConfigFile(config, {dotted(loc): place.line for loc, place in reading.places.items()})


def _compose(text: str, origin: str) -> yaml.Node | None:
    try:
        # compose builds nodes and nothing else: no object of any kind comes to life here.
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{origin}{where}: not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{origin}:{line}: not YAML: the character {quoted(chr(error.character))}") from None
    except RecursionError:
        raise ConfigError(f"{origin}: nested too deeply; expected sections with fields") from None
    if isinstance(root, yaml.ScalarNode) and root.tag == _TAG + "null":
        return None
    return root


@dataclass(frozen=True)
class _Place:
    line: int
    raw: str | None


@dataclass
class _Reading:
    """Turns nodes into values, and remembers where each stood."""

    origin: str
    places: dict[Loc, _Place] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    #: What has a problem already: another about the value that was put in its place would confuse.
    faulty: set[Loc] = field(default_factory=set)
    nodes: int = 0

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        self.nodes += 1
        if len(loc) > _DEEPEST or self.nodes > _MOST_NODES:
            line = node.start_mark.line + 1
            raise ConfigError(f"{self.origin}:{line}: too large or too deep, or an alias that holds itself")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self._placed(child, child, (*loc, index)) for index, child in enumerate(node.value)]
        return self._scalar(node, loc)

    def problem(self, loc: Loc, node: yaml.Node, words: str) -> None:
        self.faulty.add(loc)
        line = node.start_mark.line + 1
        self.problems.append((line, f"{_printable(dotted(loc))}: {words}" if loc else words))

    def line(self, loc: Loc) -> int:
        while loc and loc not in self.places:
            loc = loc[:-1]
        return self.places[loc].line if loc else 1

    def described(self, problem: Problem) -> str:
        place = self.places.get(problem.loc)
        value = f"{shown(problem.loc, place.raw)}: " if place and place.raw is not None and problem.may_show else ""
        return f"{_printable(dotted(problem.loc))}: {value}{problem.words}"

    def _placed(self, mark: yaml.Node, node: yaml.Node, loc: Loc) -> Any:
        raw = node.value if isinstance(node, yaml.ScalarNode) else None
        self.places[loc] = _Place(mark.start_mark.line + 1, raw)
        return self.value(node, loc)

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problem(loc, key, "expected the name of a field before the colon")
                continue
            # What is no text is no name of a field either; pydantic would stop at it and say nothing of the rest.
            name = key.value.encode(errors="backslashreplace").decode()
            if name in values:
                place = (*loc, name)
                line = self.places[place].line
                self.problem(loc, key, f"{quoted(name)} stands here a second time, after line {line}; expected once")
                continue
            values[name] = self._placed(key, child, (*loc, name))
        return values

    def _scalar(self, node: yaml.Node, loc: Loc) -> Any:
        if not is_text(node.value):
            self.problem(loc, node, f"{shown(loc, node.value)}: expected text")
            return None
        if node.tag in _TEXT_TAGS:
            return node.value
        if node.tag not in _VALUE_TAGS:
            self.problem(loc, node, f"the tag {quoted(node.tag.replace(_TAG, '!!'))}; expected a plain value")
            return None
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (ValueError, LookupError):
            # `!!int many`, `0b_`: left as text, which the field then refuses in its own words.
            return node.value


def _printable(text: str) -> str:
    return text if text.isprintable() and len(text) <= 200 else quoted(text)
