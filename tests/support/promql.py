"""Reads of a PromQL expression which metrics and labels it uses. It is no parser: Prometheus itself is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""
    (?P<space>   \s+ | \#[^\n]* )
  | (?P<string>  "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )
  | (?P<range>   \[ [^\]]* \] )
  | (?P<number>  \d+(?:\.\d+)? (?:ms|[smhdwy])? )
  | (?P<name>    [a-zA-Z_:][a-zA-Z0-9_:]* )
  | (?P<symbol>  =~ | !~ | != | == | <= | >= | [-+*/%^=<>(){},] )
    """,
    re.VERBOSE,
)
_OPERATORS = {"and", "or", "unless", "bool", "offset"}
_BEFORE_LABELS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_FUNCTIONS = {
    *("sum", "min", "max", "count", "avg", "topk"),
    *("absent_over_time", "changes", "histogram_quantile", "increase", "last_over_time", "rate", "round", "time"),
}


@dataclass
class Used:
    """What an expression uses."""

    #: The labels that are matched, by the series' name as Prometheus has it.
    matched: dict[str, set[str]] = field(default_factory=dict)
    #: The labels by which something is grouped or joined.
    grouped: set[str] = field(default_factory=set)


def used(expression: str) -> Used:
    """Find the series and labels of an expression.

    Raises:
        ValueError: It holds something that this does not know.
    """
    found = Used()
    tokens = [*_tokens(expression), ("end", "")]
    place = 0
    while place < len(tokens) - 1:
        kind, text = tokens[place]
        place += 1
        if kind != "name" or text in _OPERATORS:
            continue
        following = tokens[place][1]
        if text in _BEFORE_LABELS:
            names, place = _names(tokens, place, "(", ")")
            found.grouped.update(names)
        elif following == "(" or (text in _FUNCTIONS and following in _BEFORE_LABELS):
            if text not in _FUNCTIONS:
                raise ValueError(f"unknown function {text} in {expression}")
        else:
            labels = found.matched.setdefault(text, set())
            if following == "{":
                names, place = _names(tokens, place, "{", "}")
                labels.update(names)
    return found


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None or match.lastgroup is None:
            raise ValueError(f"cannot be read from {expression[place:]!r} on: {expression}")
        if match.lastgroup != "space":
            yield match.lastgroup, match.group()
        place = match.end()


def _names(tokens: list[tuple[str, str]], place: int, begin: str, end: str) -> tuple[list[str], int]:
    """The names between two brackets, and the place after them."""
    texts = [text for _, text in tokens]
    if texts[place] != begin:
        raise ValueError(f"{begin} is missing before {texts[place]!r}")
    last = texts.index(end, place)
    return [text for kind, text in tokens[place:last] if kind == "name"], last + 1
