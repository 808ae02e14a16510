"""Reads DogStatsD as its documentation has it (https://docs.datadoghq.com/extend/dogstatsd/datagram_shell)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from unicodedata import category

_NAME = r"[A-Za-z][A-Za-z0-9_.]{0,199}"
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_CONTROLS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_LINE = re.compile(rf"({_NAME}):({_NUMBER})\|(c|g)(?:\|#([^|]+))?")


class Line(NamedTuple):
    """One number."""

    name: str
    value: float
    kind: str
    tags: dict[str, str]


def read(datagrams: Iterable[bytes]) -> list[Line]:
    """Read datagrams; what breaks a rule is an error."""
    return [_line(line) for datagram in datagrams for line in datagram.decode().split("\n")]


def _line(line: str) -> Line:
    found = _LINE.fullmatch(line)
    assert found, f"no line of the protocol: {line!r}"
    name, value, kind, listed = found.groups()
    tags = listed.split(",") if listed else []
    for tag in tags:
        assert len(tag) <= 200, f"a tag of {len(tag)} characters: {tag!r}"
        assert re.match(r"[a-z]", tag), f"a tag begins with a letter: {tag!r}"
        assert ":" in tag[:-1], f"a tag has a key and a value: {tag!r}"
        assert not tag.endswith(":"), f"no tag ends with a colon: {tag!r}"
        assert not _CONTROLS & set(map(category, tag)), f"a tag has no control characters: {tag!r}"
    pairs = [tag.partition(":")[::2] for tag in tags]
    assert len(dict(pairs)) == len(pairs), f"a key stands twice: {line!r}"
    return Line(name, float(value), kind, dict(pairs))
