"""Parses ``watchdog.yaml`` into a configuration, and records the line of each setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from monitoring.config.problems import Loc, Problem, dotted, is_text, problems, quoted, shown
from monitoring.config.settings import Config
from monitoring.errors import ConfigError

#: No configuration comes near these bounds: whatever exceeds them is another kind of file, or an attack with aliases.
MAX_TEXT = 250_000
_MAX_NODES = 50_000
_MAX_DEPTH = 20
# More problems than this come from a single repeated mistake, or from the wrong file.
_MAX_PROBLEMS = 50

_TAG = "tag:yaml.org,2002:"
# Dates are read as text: no field is a date, and a tag or a name may look like a date.
_TEXT_TAGS = frozenset({_TAG + "str", _TAG + "timestamp"})
#: Such as of `channel: #alerts`, where the value is a comment.
_EMPTY = "no value; expected one, in quotes if it begins with #, or null to leave it unset"
_VALUE_TAGS = frozenset({_TAG + "null", _TAG + "bool", _TAG + "int", _TAG + "float"})


@dataclass(frozen=True)
class ConfigFile:
    """A parsed configuration, and the line of each setting by its dotted name."""

    config: Config = field(default_factory=Config)
    lines: Mapping[str, int] = field(default_factory=dict)


def parse(text: str, origin: str) -> ConfigFile:
    """Read a configuration.

    Args:
        text: YAML; empty text is a configuration that changes nothing.
        origin: Its name in errors: ``watchdog.yaml``.

    Raises:
        ConfigError: It cannot be used. The message has a line for each problem, with the line number in the text.
    """
    if len(text) > MAX_TEXT:
        raise ConfigError(f"{origin}: longer than {MAX_TEXT:,} characters; expected a configuration")
    root = _compose(text, origin)
    if root is None:
        return ConfigFile()
    reading = _Reading(origin)
    values = reading.value(root, ())
    if not reading.problems and not isinstance(values, dict):
        reading.problem((), root, "expected sections such as `late:` with their fields indented under them")
    found = list(reading.problems)
    reported: set[Loc] = set()
    try:
        config = Config.model_validate(values if isinstance(values, dict) else {})
    except ValidationError as error:
        rejected = [problem for problem in problems(error) if problem.loc not in reading.faulty]
        found += [(reading.line(problem.loc), reading.described(problem)) for problem in rejected]
        reported.update(problem.loc for problem in rejected)
    found += [(reading.line(loc), f"{_printable(dotted(loc))}: {_EMPTY}") for loc in reading.empty - reported]
    if found:
        lines = [f"{origin}:{line}: {words}" for line, words in sorted(found)[:_MAX_PROBLEMS]]
        if len(found) > len(lines):
            lines.append(f"{origin}: {len(found) - len(lines):,} more problems")
        raise ConfigError("\n".join(lines))
    return ConfigFile(config, {dotted(loc): place.line for loc, place in reading.places.items()})


def _compose(text: str, origin: str) -> yaml.Node | None:
    try:
        # compose only builds nodes and never constructs objects.
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
    """Turns nodes into values, and records the position of each."""

    origin: str
    places: dict[Loc, _Place] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    #: Places that already have a problem: another problem about the substituted value would confuse.
    faulty: set[Loc] = field(default_factory=set)
    #: Places with nothing behind the colon.
    empty: set[Loc] = field(default_factory=set)
    nodes: int = 0

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        self.nodes += 1
        if len(loc) > _MAX_DEPTH or self.nodes > _MAX_NODES:
            line = node.start_mark.line + 1
            raise ConfigError(f"{self.origin}:{line}: too large, nested too deeply, or an alias that contains itself")
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
            # A key that is not text cannot be the name of a field; pydantic would stop there and not report the rest.
            name = key.value.encode(errors="backslashreplace").decode()
            if name in values:
                place = (*loc, name)
                line = self.places[place].line
                self.problem(loc, key, f"{quoted(name)} is set a second time, after line {line}; expected once")
                continue
            values[name] = self._placed(key, child, (*loc, name))
        return values

    def _scalar(self, node: yaml.Node, loc: Loc) -> Any:
        if not is_text(node.value):
            self.problem(loc, node, f"{shown(loc, node.value)}: expected text")
            return None
        if node.tag in _TEXT_TAGS:
            return node.value
        if not node.value:
            self.empty.add(loc)
        if node.tag not in _VALUE_TAGS:
            self.problem(loc, node, f"unsupported tag {quoted(node.tag.replace(_TAG, '!!'))}; expected a plain value")
            return None
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (ValueError, LookupError):
            # `!!int many`, `0b_`: left as text, which the field then rejects with its own message.
            return node.value


def _printable(text: str) -> str:
    return text if text.isprintable() and len(text) <= 200 else quoted(text)
